"""Which system each trace event belongs to, whether tracefs is mounted or not.

Without a mount a detached one is made (fsopen, fsconfig, fsmount): only this process can reach it,
by file descriptor, and it is gone when that is closed.  Needs CAP_SYS_ADMIN and Linux 5.2.
"""

from __future__ import annotations

import ctypes
import os

from pystap.kernel.tracefs import tracefs_path
from pystap.typing import Final, TypeAlias

_Word: TypeAlias = ctypes.c_char_p | ctypes.c_void_p | ctypes.c_long | ctypes.c_ulong

# System calls added since Linux 5.1 have one number on every architecture (asm-generic/unistd.h).
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CLOEXEC: Final = 1  # FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC, linux/mount.h
_CMD_CREATE: Final = 6  # FSCONFIG_CMD_CREATE


def event_systems() -> dict[str, str] | None:
    """The system of each trace event (``sched`` of ``sched_switch``), None without tracefs."""
    listed = read_tracefs("available_events")
    if listed is None:
        return None
    systems: dict[str, str] = {}
    for line in listed.decode("latin-1").split():
        system, _, name = line.partition(":")
        systems.setdefault(name, system)
    return systems


def read_tracefs(name: str) -> bytes | None:
    """A file of tracefs, None where it cannot be read."""
    mounted = tracefs_path()
    if mounted is not None:
        return _content(f"{mounted}/{name}", None)
    root = _detached_mount()
    if root is None:
        return None
    try:
        return _content(name, root)
    finally:
        os.close(root)


def _content(path: str, root: int | None) -> bytes | None:
    """A file's content, None where it cannot be read (as is usual without privilege)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=root)
    except OSError:
        return None
    with open(fd, "rb") as file:
        return file.read()


def _detached_mount() -> int | None:
    """A descriptor of the root directory of a tracefs of our own."""
    context = _syscall(_FSOPEN, ctypes.c_char_p(b"tracefs"), ctypes.c_ulong(_CLOEXEC))
    if context < 0:
        return None
    try:
        none, zero = ctypes.c_void_p(None), ctypes.c_ulong(0)
        command = ctypes.c_ulong(_CMD_CREATE)
        if _syscall(_FSCONFIG, ctypes.c_long(context), command, none, none, zero) < 0:
            return None
        flags = ctypes.c_ulong(_CLOEXEC)
        root = _syscall(_FSMOUNT, ctypes.c_long(context), flags, zero)
        return None if root < 0 else root
    finally:
        os.close(context)


def _syscall(nr: int, *args: _Word) -> int:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    return int(call(ctypes.c_long(nr), *args))
