"""Undoing what the kernel does not undo by itself when a session is killed."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Guard:
    """A process that does something when this one has ended without closing the guard.

    ``undo`` runs in that process; it must need nothing but what it was made with.
    """

    __slots__ = ("_pid", "_pipe")

    def __init__(self, undo: Callable[[], None]) -> None:
        read, self._pipe = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(read)
            return
        try:
            os.setsid()
            os.dup2(read, 0)
            os.closerange(1, os.sysconf("SC_OPEN_MAX"))  # nothing is kept alive by this copy
            if not os.read(0, 1):
                undo()
        finally:
            os._exit(0)

    def close(self) -> None:
        """It is done: the guard has nothing to do."""
        if self._pipe < 0:
            return
        os.write(self._pipe, b"x")
        os.close(self._pipe)
        os.waitpid(self._pid, 0)
        self._pipe = -1
