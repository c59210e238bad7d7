"""System calls as text."""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.reference.intrinsics.memory import USER
from pystap.backend.reference.longs import MASK
from pystap.backend.reference.memory import MemoryFault
from pystap.probes import syscall_decode
from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystap.backend.reference.state import Context
    from pystap.ir.ops import Intrinsic


class _CallerMemory:
    """Memory of the task that made the call, as the decoder wants it."""

    def __init__(self, context: Context, op: Intrinsic) -> None:
        self._context = context
        self._op = op

    def read(self, address: int, size: int) -> bytes | None:
        """Bytes, None where not all can be read."""
        try:
            return self._context.state.environment.user.read(address & MASK, size)
        except MemoryFault:
            return None

    def string_quoted(self, address: int, most: int, room: int) -> str:
        """The intrinsic ``user_string_quoted``."""
        return USER.string_quoted(self._context, self._op, address, most, room)

    def buffer_quoted(self, address: int, size: int, room: int) -> str:
        """The intrinsic ``user_buffer_quoted``."""
        return USER.buffer_quoted(self._context, self._op, address, size, room)


def _argstr(context: Context, op: Intrinsic, number: int, *args: int) -> str:
    return syscall_decode.argstr(number, args, _CallerMemory(context, op))


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "syscall_name": lambda _context, _op, number: syscall_decode.syscall_name(number),
    "syscall_argstr": _argstr,
    "syscall_retstr": lambda _context, _op, number, value: syscall_decode.retstr(number, value),
}
