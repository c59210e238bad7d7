"""Strings and numbers at addresses."""

from __future__ import annotations

from pystap.backend.bpf import emit, memory, strings
from pystap.backend.bpf.errors import raise_error
from pystap.backend.bpf.faulting import read_memory
from pystap.backend.bpf.intrinsics import long, string
from pystap.backend.bpf.strings import Room
from pystap.ir import errors, ops
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import Value

_STRING_FAULTS: Final = {
    "kernel": errors.KERNEL_STRING_FAULT,
    "user": errors.USER_STRING_FAULT,
}
_SIZES: Final = (1, 2, 4, 8)


def _space(e: ops.Intrinsic) -> str:
    return e.name.partition("_")[0]


def _read_string(s: Scope, space: str, room: Room, address: Value, most: Value) -> Value:
    """Read at most ``most`` bytes of text; the helper's result, negative for a fault."""
    b = s.b
    most = b.barrier(b.select(most.slt(0), 0, most))
    size = b.barrier(b.select(most.ult(room.limit), most, room.limit - 1)) + 1
    if room.pad:
        strings.fill_zero(s, room.ptr, room.size)
    else:
        b.store(0, room.ptr)
    return read_memory(s.u, b, memory.READ_STRING[space], room.ptr, size, address)


@string("kernel_string", "user_string")
def _string(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    b = s.b
    address, most = (emit.long(s, a) for a in e.args)
    failed = b.both(_read_string(s, _space(e), room, address, most).slt(0), most.sgt(0))
    with b.if_(failed):
        raise_error(s, _STRING_FAULTS[_space(e)], e.pos, address)


@string("kernel_string_or", "user_string_or")
def _string_or(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    b = s.b
    address, most = (emit.long(s, a) for a in e.args[:2])
    instead = strings.reference(s, e.args[2])
    failed = b.both(_read_string(s, _space(e), room, address, most).slt(0), most.sgt(0))
    with b.if_(failed):
        strings.copy(s, instead, room)


@long("kernel_read_or", "user_read_or")
def _read_or(s: Scope, e: ops.Intrinsic) -> Value:
    b = s.b
    address, size, instead = (emit.long(s, a) for a in e.args)
    result = b.var("i64", instead)
    wanted = e.args[1]
    sizes = (wanted.value,) if isinstance(wanted, ops.Const) else _SIZES
    with b.switch(size) as sw:
        for count in sizes:
            if count not in _SIZES:
                continue
            with sw.case(count):
                failed, word = memory.read_bytes(s, _space(e), count, address)
                result.set(b.select(failed.eq(0), word, result.get()))
    return result.get()


@long("user_write")
def _user_write(s: Scope, e: ops.Intrinsic) -> Value:
    b = s.b
    address, size, value = (emit.long(s, a) for a in e.args)
    wanted = e.args[1]
    sizes = (wanted.value,) if isinstance(wanted, ops.Const) else _SIZES
    with b.switch(size) as sw:
        for count in sizes:
            with sw.case(count):
                memory.write(s, "user", address, count, value, e.pos)
    return b.const("i64", 0)
