"""Kprobes with names, in the tracing file system (``kprobe_events``).

They can do what those of perf_event_open(2) cannot: wait for the module that they are in, and
bound the number of returns that are followed at a time.  Unlike those they stay when the process
that made them has ended.
"""

from __future__ import annotations

import errno
import os
import time

from pystap.kernel.tracefs import TracefsError, mount_tracefs, tracefs_path, tracepoint_id

_FILE = "kprobe_events"
_MOST = 4096  # returns at a time that the kernel takes here (KRETPROBE_MAXACTIVE_MAX)
_ATTEMPTS, _PAUSE = 50, 0.02  # for events that are still in use


def define(group: str, name: str, where: str, *, on_return: bool = False, most: int = 0) -> int:
    """Make an event at ``where`` (``[MODULE:]SYMBOL[+OFFSET]`` or an address); its number for
    perf_event_open.

    ``most`` bounds the returns that are followed at a time, 0 for the kernel's default; more than
    the kernel takes is what it takes.  Raises OSError.
    """
    kind = f"r{min(most, _MOST) or ''}" if on_return else "p"
    _write(f"{kind}:{group}/{name} {where}")
    try:
        return tracepoint_id(group, name)
    except TracefsError as error:
        raise OSError(errno.ENOENT, str(error)) from error


def remove(group: str) -> None:
    """Remove the events of a group; those in use are tried again for a second."""
    for attempt in range(_ATTEMPTS):
        left = _names(group)
        for name in left:
            try:
                _write(f"-:{group}/{name}")
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.ENOENT) or attempt == _ATTEMPTS - 1:
                    raise
        if not left:
            return
        time.sleep(_PAUSE if attempt else 0)


def _names(group: str) -> list[str]:
    with open(os.path.join(_root(), _FILE), encoding="latin-1") as file:
        heads = [line.split(" ", 1)[0].partition(":")[2].split("/") for line in file]
    return [head[1] for head in heads if len(head) > 1 and head[0] == group]


def _write(command: str) -> None:
    fd = os.open(os.path.join(_root(), _FILE), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(fd, command.encode("latin-1"))
    finally:
        os.close(fd)


def _root() -> str:
    return tracefs_path() or mount_tracefs()
