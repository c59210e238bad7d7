"""staprun in the background (``-D``)."""

from __future__ import annotations

import os

from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Background:
    """The daemon's tie to the process that was started, which waits until all is under way."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def release(self) -> None:
        """All is under way: from now on nobody reads what we say."""
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.close(null)
        os.write(self._pipe, b"g")
        os.close(self._pipe)
        self._pipe = -1


def in_background(work: Callable[[Background], int]) -> int:
    """Do ``work`` in a daemon; the exit status of this process, which tells the daemon's pid.

    When the daemon ends before it is under way, its status is this one's.
    """
    mine, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(mine)
            os.setsid()
            status = work(Background(theirs))
        finally:
            os._exit(status)
    os.close(theirs)
    under_way = os.read(mine, 1)
    os.close(mine)
    if not under_way:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(1, f"{pid}\n".encode())
    return 0
