"""Text as C literals, from strings and from memory."""

from __future__ import annotations

from pystap.backend.bpf import emit, layout, strings
from pystap.backend.bpf.bounds import clamp
from pystap.backend.bpf.escapes import COUNT_SHIFT, ESCAPE_TEXT, escape_function
from pystap.backend.bpf.faulting import read_memory
from pystap.backend.bpf.format import source_room
from pystap.backend.bpf.intrinsics import string
from pystap.backend.bpf.memory import READ, READ_STRING, read_bytes
from pystap.backend.bpf.quoting import append_address, append_literal
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.strings import Builder, Room, copy, fill_zero
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value
    from pystap.ir import ops

_DECORATION: Final = 5  # two quotes and the dots


@string("text_str")
def _text_str(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    text = strings.reference(s, e.args[0])
    copy(s, text, source_room(s))
    builder = Builder(s, s.u.limits.maxstringlen)
    _escape(s, ESCAPE_TEXT, s.u.limits.maxstringlen)
    _finish(builder, room)


@string("text_strn")
def _text_strn(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    b = s.b
    text = strings.reference(s, e.args[0])
    most, quoted = emit.long(s, e.args[1]), emit.long(s, e.args[2])
    copy(s, text, source_room(s))
    builder = Builder(s, s.u.limits.maxstringlen)
    with b.if_else(quoted.ne(0)) as (literal, plain):
        with literal:
            append_quoted(s, ESCAPE_TEXT, most, b.const("i64", 0))
        with plain:
            _escape(s, ESCAPE_TEXT, _bounded(s, most, s.u.limits.maxstringlen - 1))
    _finish(builder, room)


def append_quoted(s: Scope, mode: Operand, most: Value, cut: Value) -> None:
    """Append the source area escaped in at most ``most`` bytes (0 and less: all that fits).

    It stands between quotes; dots follow when not all of it fits or ``cut`` is not 0.
    """
    append_literal(s, '"')
    short = _escape(s, mode, _bounded(s, most, s.u.limits.maxstringlen - 1 - _DECORATION))
    append_literal(s, '"')
    with s.b.if_((short | cut).ne(0)):
        append_literal(s, "...")


def _escape(s: Scope, mode: Operand, most: Operand) -> Value:
    return s.b.call(escape_function(s.u), s.header(layout.INDEX), mode, most)


def _bounded(s: Scope, wanted: Value, most: int) -> Value:
    """The number wanted, or ``most`` when it is more, 0 or less."""
    b = s.b
    return b.select(b.both(wanted.sgt(0), wanted.slt(most)), wanted, b.const("i64", most))


def _finish(builder: Builder, room: Room) -> None:
    if room.pad:
        fill_zero(builder.s, room.ptr, room.size)
    builder.finish(room)


# ---- from memory


@string("kernel_string_quoted", "user_string_quoted", "kernel_buffer_quoted", "user_buffer_quoted")
def _memory_quoted(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    u = s.u
    address, size, most = (emit.long(s, arg) for arg in e.args)
    space, what, _ = e.name.split("_")
    make = _emit_string if what == "string" else _emit_buffer
    name = u.function(
        f"quote_{space}_{what}",
        ["index", "address", "size", "most"],
        lambda b: make(u, b, space),
    )
    builder = Builder(s, u.limits.maxstringlen)
    s.b.call(name, s.header(layout.INDEX), address, size, most)
    _finish(builder, room)


def _begin(u: Unit, b: FunctionBuilder) -> tuple[Scope, Value]:
    """The scope, and how many bytes are read; the function ends for NULL."""
    index, address, size, _ = b.args
    s = runtime_scope(u, b, index)
    with b.if_(address.eq(0)):
        append_literal(s, "NULL")
        b.ret(0)
    most = u.limits.maxstringlen - 1
    return s, clamp(s, _bounded(s, size, most), most)


def _emit_string(u: Unit, b: FunctionBuilder, space: str) -> None:
    """Append the string at an address."""
    s, taken = _begin(u, b)
    _, address, _, most = b.args
    n = read_memory(u, b, READ_STRING[space], source_room(s).ptr, taken + 1, address)
    with b.if_(n.slt(0)):
        append_address(s, address)
        b.ret(0)
    cut = b.var("i64", 0)
    with b.if_(n.sgt(taken)):
        # As much as was asked for: the byte behind tells whether that was all.
        failed, byte = read_bytes(s, space, 1, address + taken)
        with b.if_(failed.ne(0)):
            append_address(s, address)
            b.ret(0)
        cut.set(byte)
    append_quoted(s, ESCAPE_TEXT, most, cut.get())
    b.ret(0)


def _emit_buffer(u: Unit, b: FunctionBuilder, space: str) -> None:
    """Append exactly as many bytes as asked for."""
    s, taken = _begin(u, b)
    _, address, size, most = b.args
    failed = read_memory(u, b, READ[space], source_room(s).ptr, taken, address)
    with b.if_(failed.ne(0)):
        append_address(s, address)
        b.ret(0)
    mode = (taken << COUNT_SHIFT) | ESCAPE_TEXT
    append_quoted(s, mode, most, size.sgt(taken).zext("i64"))
    b.ret(0)
