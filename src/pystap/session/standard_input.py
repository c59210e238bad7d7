"""Standard input as a source of events: ``input.char`` and ``input.line``."""

from __future__ import annotations

from pystap.backend.bpf.artifact import FILE_LENGTH, FILE_TEXT
from pystap.session.terminal import TypedInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class StandardInput:
    """Hands every byte of standard input to the handlers; a terminal gives them as they are typed.

    ``memory`` is the map of the text that handlers are handed.
    """

    fd = TypedInput.fd

    def __init__(self, handlers: list[Callable[[], None]], memory: memoryview) -> None:
        self._handlers = handlers
        self._memory = memory
        self._input = TypedInput()

    def serve(self) -> bool:
        """Take what is there; false at the end of the input."""
        data = self._input.read()
        for byte in data:
            self._memory[FILE_LENGTH : FILE_LENGTH + 8] = (1).to_bytes(8, "little")
            self._memory[FILE_TEXT : FILE_TEXT + 2] = bytes((byte, 0))
            for run in self._handlers:
                run()
        return bool(data)

    def close(self) -> None:
        """Give the terminal its mode back."""
        self._input.close()
