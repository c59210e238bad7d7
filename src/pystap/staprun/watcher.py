"""A process that unloads the module of a staprun that was killed.

The module itself ends its session as soon as the process attached to it is gone; but only another
process can unload it.  The watcher is not in staprun's session and has another name, so that what
ends the one does not hit the other.  When both are killed the module stays loaded, idle, and gives
way to the next one of its name.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal

from pystap.staprun.loading import LoadError, unload
from pystap.typing import Final

_PR_SET_NAME: Final = 15  # <linux/prctl.h>
_NAME: Final = b"stap-unload"
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Watcher:
    """Started for the module ``name``, of this process; :meth:`dismiss` it when the module is
    unloaded or to stay."""

    def __init__(self, name: str) -> None:
        watched = os.pidfd_open(os.getpid())
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _watch(watched, name)
            finally:
                os._exit(0)
        os.close(watched)

    def dismiss(self) -> None:
        """End it."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


def _watch(watched: int, name: str) -> None:
    """Wait for the end of a process, then unload its module."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_NAME, _NAME)
    # Whoever reads staprun's output must not wait for this process.
    os.closerange(0, watched)
    os.closerange(watched + 1, os.sysconf("SC_OPEN_MAX"))
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    poll.poll()
    try:
        unload(name)
    except LoadError:
        return  # it has gone already, or somebody else has attached to it
