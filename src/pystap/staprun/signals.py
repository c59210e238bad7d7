"""Signals of staprun: beside those that end a session, SIGQUIT detaches, SIGUSR2 changes files."""

from __future__ import annotations

import signal

from pystap.session.signals import Signals


class RunSignals(Signals):
    """``detach`` becomes true at SIGQUIT, ``switch`` at each SIGUSR2."""

    __slots__ = ("_before_ours", "detach", "switch")

    def __init__(self) -> None:
        super().__init__()
        self.detach = False
        self.switch = False
        ours = {signal.SIGQUIT: self._on_quit, signal.SIGUSR2: self._on_switch}
        self._before_ours = {number: signal.signal(number, ours[number]) for number in ours}

    def close(self) -> None:
        """Give the previous handlers back."""
        for number, before in self._before_ours.items():
            signal.signal(number, before)
        super().close()

    def _on_quit(self, _number: int, _frame: object) -> None:
        self.detach = True

    def _on_switch(self, _number: int, _frame: object) -> None:
        self.switch = True
