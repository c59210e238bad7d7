"""Reads of kernel and user memory."""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.reference.longs import MASK
from pystap.backend.reference.memory import Memory, MemoryFault
from pystap.backend.reference.text import quoted
from pystap.ir import errors
from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystap.backend.reference.state import Context
    from pystap.ir.ops import Intrinsic


class _Space:
    """The intrinsics of one address space."""

    def __init__(self, name: str) -> None:
        kernel = name == "kernel"
        self._name = name
        self._string_fault = errors.KERNEL_STRING_FAULT if kernel else errors.USER_STRING_FAULT
        self._read_fault = errors.KERNEL_READ_FAULT if kernel else errors.USER_READ_FAULT
        self._write_fault = errors.KERNEL_WRITE_FAULT if kernel else errors.USER_WRITE_FAULT

    def implementations(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        parts: dict[str, Callable[..., Any]] = {
            "string": self.string,
            "string_or": self.string_or,
            "string_quoted": self.string_quoted,
            "buffer_quoted": self.buffer_quoted,
            "bytes": self.raw,
            "read_or": self.read_or,
        }
        return {f"{self._name}_{part}": run for part, run in parts.items()}

    def string(self, context: Context, op: Intrinsic, address: int, most: int) -> str:
        """The text at an address; a fault is a run-time error."""
        try:
            return self._text(context, address, most)
        except MemoryFault:
            message = self._string_fault % (address & MASK)
            raise context.fault(message, op.pos) from None

    def string_or(
        self, context: Context, _op: Intrinsic, address: int, most: int, instead: str
    ) -> str:
        """The text at an address, or another text on a fault."""
        try:
            return self._text(context, address, most)
        except MemoryFault:
            return instead

    def string_quoted(
        self, context: Context, _op: Intrinsic, address: int, most: int, room: int
    ) -> str:
        """The text at an address as a C literal; one byte more is read to see whether it was
        cut.  NULL and bad addresses as such."""
        if address == 0:
            return "NULL"
        most = _clamp(context, most)
        try:
            text = self._text(context, address, most + 1)
        except MemoryFault:
            return f"{address & MASK:#x}"
        limit = context.state.module.limits.maxstringlen
        return quoted(text[:most], room, limit, cut=len(text) > most)

    def buffer_quoted(
        self, context: Context, _op: Intrinsic, address: int, size: int, room: int
    ) -> str:
        """Exactly ``size`` bytes as a C literal; NULL and bad addresses as such."""
        if address == 0:
            return "NULL"
        taken = _clamp(context, size)
        try:
            data = self._memory(context).read(address & MASK, taken)
        except MemoryFault:
            return f"{address & MASK:#x}"
        limit = context.state.module.limits.maxstringlen
        return quoted(data.decode("latin-1"), room, limit, cut=size > taken)

    def raw(self, context: Context, op: Intrinsic, address: int, size: int) -> str:
        """Bytes, NULs included, at most a page of them."""
        if size > context.state.environment.page_size:
            raise context.fault(errors.MEMORY_DUMP_SIZE % size, op.pos)
        try:
            return self._memory(context).read(address & MASK, max(size, 0)).decode("latin-1")
        except MemoryFault:
            message = self._read_fault % (address & MASK)
            raise context.fault(message, op.pos) from None

    def read_or(
        self, context: Context, _op: Intrinsic, address: int, size: int, instead: int
    ) -> int:
        """An unsigned number of 1, 2, 4 or 8 bytes, or another on a fault."""
        try:
            return int.from_bytes(self._memory(context).read(address & MASK, size), "little")
        except MemoryFault:
            return instead

    def write(self, context: Context, op: Intrinsic, address: int, size: int, value: int) -> None:
        """Change 1, 2, 4 or 8 bytes; a fault is a run-time error."""
        data = (value & MASK).to_bytes(8, "little")[:size]
        try:
            self._memory(context).write(address & MASK, data)
        except MemoryFault:
            message = self._write_fault % (address & MASK)
            raise context.fault(message, op.pos) from None

    def _text(self, context: Context, address: int, most: int) -> str:
        limit = context.state.module.limits.maxstringlen
        return self._memory(context).text(address & MASK, min(max(most, 0), limit))

    def _memory(self, context: Context) -> Memory:
        environment = context.state.environment
        return environment.kernel if self._name == "kernel" else environment.user


def _clamp(context: Context, size: int) -> int:
    """How much of a wanted length is read: 0 and less, or too much, mean all a string holds."""
    most = context.state.module.limits.maxstringlen - 1
    return size if 0 < size < most else most


USER: Final = _Space("user")
IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    **_Space("kernel").implementations(),
    **USER.implementations(),
    "user_write": USER.write,
}
