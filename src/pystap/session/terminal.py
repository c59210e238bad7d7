"""Standard input for scripts that take each byte as it is typed."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystap.typing import Any

_ROOM = 4096


class TypedInput:
    """Standard input; a terminal hands over bytes before the end of the line until ``close``."""

    fd = 0

    def __init__(self) -> None:
        self._before: list[Any] | None = None
        if os.isatty(self.fd):
            import termios

            self._before = termios.tcgetattr(self.fd)
            mode = termios.tcgetattr(self.fd)
            mode[3] &= ~termios.ICANON
            termios.tcsetattr(self.fd, termios.TCSADRAIN, mode)

    def read(self) -> bytes:
        """What is there; empty at the end of the input."""
        try:
            return os.read(self.fd, _ROOM)
        except OSError:  # a terminal that is another's now, or has gone
            return b""

    def close(self) -> None:
        """Give the terminal its mode back."""
        if self._before is not None:
            import termios

            termios.tcsetattr(self.fd, termios.TCSADRAIN, self._before)
            self._before = None
