"""Signals that end a session: the first politely, a second SIGINT at once."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LEFT_AT_ONCE = 130  # 128 + SIGINT, as shells report it


class Signals:
    """Installed handlers; ``stop`` becomes true at the first of SIGINT, SIGTERM, SIGHUP."""

    __slots__ = ("_before", "_read", "_write", "stop")

    def __init__(self) -> None:
        self.stop = False
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._on_signal) for number in _STOPPING}

    def watch(self, epoll: select.epoll) -> None:
        """Let ``epoll`` wake up when a signal arrives."""
        epoll.register(self._read, 1)

    def close(self) -> None:
        """Give the previous handlers back."""
        signal.set_wakeup_fd(-1)
        for number, before in self._before.items():
            signal.signal(number, before)
        os.close(self._read)
        os.close(self._write)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self.stop and number == signal.SIGINT:
            os._exit(_LEFT_AT_ONCE)  # the kernel detaches what our descriptors hold
        self.stop = True
