"""Kernel stacks, and names of kernel addresses."""

from __future__ import annotations

from pystap.backend.bpf import emit, helpers
from pystap.backend.bpf.intrinsics import long, string
from pystap.backend.bpf.strings import Room, fill_zero
from pystap.ir import ops
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.context_values import Event
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import Value

_FRAMES: Final = 32  # MAXBACKTRACE and what the kernel's own machinery adds
_AREA: Final = "stack"
_SIZE: Final = 8 * (_FRAMES + 1)  # addresses, then their number
# Kernel code does not follow user code on a stack: there is none where these programs run.
_WITHOUT: Final = ("session",)
_FORMATS: Final = {"kernel_symbol": b"%ps\0", "kernel_symbol_data": b"%pS\0"}


def capture_stack(s: Scope, event: Event) -> None:
    """Emit the unwinding of the kernel stack at the event."""
    b = s.b
    area = s.area(_AREA, _SIZE)
    if event.kind in _WITHOUT:
        b.store(0, area, 8 * _FRAMES)
        return
    size = b.helper(helpers.GET_STACK, "i64", event.pointer, area, 8 * _FRAMES, 0)
    b.store(b.select(size.sgt(0), size >> 3, 0), area, 8 * _FRAMES)
    if event.kind == "kprobe":
        b.store(event.value("ip", 0), area)


@long("stack_frame")
def _frame(s: Scope, e: ops.Intrinsic) -> Value:
    b = s.b
    number = emit.long(s, e.args[0])
    area = s.area(_AREA, _SIZE)
    count = b.load("i64", area, 8 * _FRAMES)
    frame = b.load("i64", b.at(area, 0, b.barrier(number & (_FRAMES - 1)), scale=8))
    return b.select(number.ult(count), frame, 0)


@string("kernel_symbol", "kernel_symbol_data")
def _symbol(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    """The kernel's own names; an address without name becomes a hexadecimal number."""
    b = s.b
    word = s.word()
    b.store(emit.long(s, e.args[0]), word)
    if room.pad:
        fill_zero(s, room.ptr, room.size)
    b.helper(helpers.SNPRINTF, "i64", room.ptr, room.limit, b.data(_FORMATS[e.name]), word, 8)
