"""Undoing what the kernel does not undo by itself when a process is killed."""

from __future__ import annotations

import ctypes
import os
import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_NAME = 15  # <linux/prctl.h>
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Guard:
    """A process that does something when this one has ended without closing the guard.

    ``undo`` runs in that process, which has no open files; it must need nothing but what it was
    made with.  The process is not in our session and has another name (15 characters at most), so
    that what ends the one does not hit the other.
    """

    __slots__ = ("_pid",)

    def __init__(self, undo: Callable[[], None], name: str = "stap-undo") -> None:
        watched = os.pidfd_open(os.getpid())
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _wait_for_end(watched, name)
                undo()
            finally:
                os._exit(0)
        os.close(watched)

    def close(self) -> None:
        """It is done: the guard has nothing to do."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


def _wait_for_end(watched: int, name: str) -> None:
    """As the guard: wait for the end of a process, which its descriptor tells."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode("ascii"))
    # Whoever reads the output of the process must not wait for its guard.
    os.closerange(0, watched)
    os.closerange(watched + 1, os.sysconf("SC_OPEN_MAX"))
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    poll.poll()
