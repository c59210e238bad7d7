"""Loading and unloading kernel modules: finit_module(2) and delete_module(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import time

from pystap.typing import Final

_FINIT_MODULE, _DELETE_MODULE = 313, 176  # x86-64, <asm/unistd_64.h>
_TRIES: Final = 100
_PAUSE: Final = 0.05  # seconds between tries to unload what is still in use

_REASONS: Final = {
    errno.EPERM: "root may load modules only where they are not disabled and the kernel is not "
    "locked down (see /sys/kernel/security/lockdown)",
    errno.ENOEXEC: "the module was built for another kernel; build it with -r RELEASE",
    errno.EEXIST: "a module of this name is loaded already",
    errno.ENOKEY: "the kernel loads only signed modules; sign it with --sign-module and enroll "
    "the key, or switch Secure Boot off",
    errno.EKEYREJECTED: "the kernel does not trust the key the module is signed with; enroll it "
    "with mokutil --import",
    errno.ENOENT: "the module needs symbols that this kernel does not have (see dmesg)",
    errno.ENOMEM: "there is not enough memory for the script's arrays and buffers",
}


class LoadError(Exception):
    """The kernel did not take a module; the message says why."""


def load(path: str, parameters: str = "") -> None:
    """Load the module in a file with parameters (``name=value ...``); raises LoadError."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LoadError(f"cannot open '{path}': {error.strerror}") from error
    try:
        failed = libc.syscall(_FINIT_MODULE, fd, parameters.encode(), 0)
    finally:
        os.close(fd)
    if failed:
        number = ctypes.get_errno()
        reason = _REASONS.get(number, os.strerror(number))
        raise LoadError(f"couldn't insert module '{path}': {os.strerror(number)}: {reason}")


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


def module_name(path: str) -> str:
    """The name the kernel gives the module of a file."""
    return os.path.basename(path).removesuffix(".ko").replace("-", "_")
