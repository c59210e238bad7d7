"""Which security modules the running kernel uses."""

from __future__ import annotations

import ctypes
import os

_FILE = "/sys/kernel/security/lsm"
# Numbers of the system calls, the same on all architectures (<asm-generic/unistd.h>).
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CLOEXEC, _CREATE = 1, 6  # FSOPEN_CLOEXEC, FSCONFIG_CMD_CREATE of <linux/mount.h>

_libc = ctypes.CDLL(None, use_errno=True)


def security_modules() -> list[str] | None:
    """Names of the active modules in their order; None when the kernel does not tell.

    They are in securityfs, which is mounted for a moment, out of everybody's sight, where it is
    not mounted yet.
    """
    try:
        with open(_FILE, encoding="ascii") as file:
            return file.read().strip().split(",")
    except FileNotFoundError:
        return _from_own_mount()


def _from_own_mount() -> list[str] | None:
    context = _libc.syscall(_FSOPEN, b"securityfs", _CLOEXEC)
    if context < 0:
        return None
    try:
        if _libc.syscall(_FSCONFIG, context, _CREATE, None, None, 0) < 0:
            return None
        mounted = _libc.syscall(_FSMOUNT, context, _CLOEXEC, 0)
        if mounted < 0:
            return None
        try:
            fd = os.open("lsm", os.O_RDONLY, dir_fd=mounted)
        except OSError:
            return None
        finally:
            os.close(mounted)
        with open(fd, encoding="ascii") as file:
            return file.read().strip().split(",")
    finally:
        os.close(context)
