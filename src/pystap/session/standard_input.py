"""Standard input as a source of events: ``input.char`` and ``input.line``."""

from __future__ import annotations

import os

from pystap.backend.bpf.artifact import FILE_LENGTH, FILE_TEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.typing import Any

_ROOM = 4096


class StandardInput:
    """Hands every byte of standard input to the handlers; a terminal gives them as they are typed.

    ``memory`` is the map of the text that handlers are handed.
    """

    fd = 0

    def __init__(self, handlers: list[Callable[[], None]], memory: memoryview) -> None:
        self._handlers = handlers
        self._memory = memory
        self._before: list[Any] | None = _type_by_byte()

    def serve(self) -> bool:
        """Take what is there; false at the end of the input."""
        try:
            data = os.read(self.fd, _ROOM)
        except OSError:  # a terminal that is another's now, or has gone
            data = b""
        for byte in data:
            self._memory[FILE_LENGTH : FILE_LENGTH + 8] = (1).to_bytes(8, "little")
            self._memory[FILE_TEXT : FILE_TEXT + 2] = bytes((byte, 0))
            for run in self._handlers:
                run()
        return bool(data)

    def close(self) -> None:
        """Give the terminal its mode back."""
        if self._before is not None:
            import termios

            termios.tcsetattr(self.fd, termios.TCSADRAIN, self._before)
            self._before = None


def _type_by_byte() -> list[Any] | None:
    """Let a terminal hand over bytes before the end of the line; its mode before."""
    if not os.isatty(0):
        return None
    import termios

    before = termios.tcgetattr(0)
    mode = termios.tcgetattr(0)
    mode[3] &= ~termios.ICANON
    termios.tcsetattr(0, termios.TCSADRAIN, mode)
    return before
