"""Loading and unloading kernel modules: finit_module(2) and delete_module(2)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import time

from pystap.session.outfile import write_all
from pystap.staprun.modulefile import ModuleFile
from pystap.typing import Final

_FINIT_MODULE, _DELETE_MODULE = 313, 176  # x86-64, <asm/unistd_64.h>
_CAP_SYS_MODULE: Final = 16  # <linux/capability.h>
_TRIES: Final = 100
_PAUSE: Final = 0.05  # seconds between tries to unload what is still in use

_REASONS: Final = {
    errno.EPERM: "root may load modules only where they are not disabled and the kernel is not "
    "locked down (see /sys/kernel/security/lockdown)",
    errno.ENOEXEC: "the module was built for another kernel; build it with -r RELEASE",
    errno.EEXIST: "a module of this name is loaded already; staprun -A attaches to it if it is "
    "detached, -d removes it, -R loads another one beside it",
    errno.ENOENT: "the module needs symbols that this kernel does not have (see dmesg)",
    errno.ENOMEM: "the script's arrays and buffers need more than half of the memory that is "
    "available; smaller ones: -D MAXMAPENTRIES, array sizes, -s",
    errno.EDQUOT: "the script's arrays and buffers need more memory than STP_MAXMEMORY allows",
}
_UNSIGNED: Final = (
    "the kernel loads signed modules only; sign this one with stap --sign-module, "
    "or switch Secure Boot off"
)
_UNTRUSTED: Final = (
    "the kernel does not trust the key this module is signed with; enroll its certificate with "
    "mokutil --import and restart, or switch Secure Boot off"
)


class LoadError(Exception):
    """The kernel did not take a module, or cannot; the message says why."""


def check_privilege() -> None:
    """Raise LoadError unless this process may load modules."""
    with open("/proc/self/status", encoding="ascii") as file:
        rows = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    if not int(rows["CapEff"], 16) >> _CAP_SYS_MODULE & 1:
        raise LoadError(
            "loading a kernel module needs root (the capability CAP_SYS_MODULE); "
            f"this is user {os.geteuid()} without it"
        )


def check_release(module: ModuleFile) -> None:
    """Raise LoadError when a module was built for another kernel than this one."""
    here = os.uname().release
    if module.release != here:
        raise LoadError(
            f"'{module.path}' was built for kernel {module.release}, this is {here}; "
            f"build it with stap -r {here} -p4 -m {module.name}"
        )


def load(module: ModuleFile, name: str, parameters: list[str]) -> None:
    """Load a module under a name, its own or another, with parameters (``name=value``)."""
    fd = _open(module, name)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        failed = libc.syscall(_FINIT_MODULE, fd, " ".join(parameters).encode(), 0)
    finally:
        os.close(fd)
    if failed:
        number = ctypes.get_errno()
        text = os.strerror(number)
        reason = _REASONS.get(number)
        if number in (errno.ENOKEY, errno.EKEYREJECTED):
            reason = _UNTRUSTED if module.is_signed else _UNSIGNED
        if number == errno.EINVAL and parameters:
            reason = f"it does not take the values given: {' '.join(parameters)}"
        because = f": {reason}" if reason else ""
        raise LoadError(f"couldn't insert module '{module.path}': {text}{because}")


def _open(module: ModuleFile, name: str) -> int:
    if name == module.name:
        return os.open(module.path, os.O_RDONLY | os.O_CLOEXEC)
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    write_all(fd, module.renamed(name))
    # The kernel takes no file that is open for writing.
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(fd)


def unload(name: str) -> None:
    """Unload a module; waits a while for those who still use it.  Raises LoadError."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = 0
    for _ in range(_TRIES):
        if libc.syscall(_DELETE_MODULE, name.encode(), os.O_NONBLOCK) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EBUSY, errno.EWOULDBLOCK):
            break
        time.sleep(_PAUSE)
    raise LoadError(f"couldn't remove module '{name}': {os.strerror(number)}")


def unload_left(name: str) -> None:
    """Unload a module that was left behind, unless it has gone or is somebody else's by now."""
    with contextlib.suppress(LoadError):
        unload(name)


def unique_name(name: str) -> str:
    """A name for another module of the same text: with this process's number."""
    mine = f"_{os.getpid()}"
    return name[: 55 - len(mine)] + mine
