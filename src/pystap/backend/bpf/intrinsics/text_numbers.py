"""Digits, numbers and single bytes as strings."""

from __future__ import annotations

from pystap.backend.bpf import emit, layout, strings
from pystap.backend.bpf.errors import raise_error
from pystap.backend.bpf.format import source_room
from pystap.backend.bpf.intrinsics import long, string
from pystap.backend.bpf.intrinsics.text_search import byte_at
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.strings import Room, copy, fill_zero
from pystap.ir import errors
from pystap.output.formats import MAX_FIELD
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value
    from pystap.ir import ops

_AT, _VALUE, _BASE = (layout.SCRATCH + 8 * i for i in range(3))
_NO_DIGIT: Final = 255
_MOST_BASE: Final = 36


@long("isdigit")
def _isdigit(s: Scope, e: ops.Intrinsic) -> Value:
    text = strings.reference(s, e.args[0])
    first = s.b.load("i8", text.ptr).zext("i64")
    return (first - ord("0")).ult(10).zext("i64")


@string("byte_str")
def _byte_str(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    s.b.store(emit.long(s, e.args[0]) & 0xFF, room.ptr)
    if room.pad and room.size > 8:
        fill_zero(s, s.b.at(room.ptr, 8), room.size - 8)


@long("field_size")
def _field_size(s: Scope, e: ops.Intrinsic) -> Value:
    size, least = (emit.long(s, arg) for arg in e.args)
    with s.b.if_(s.b.either(size.slt(least), size.sgt(MAX_FIELD))):
        raise_error(s, errors.FIELD_SIZE, e.pos, size)
    return size


@long("strtol")
def _strtol(s: Scope, e: ops.Intrinsic) -> Value:
    text = strings.reference(s, e.args[0])
    base = emit.long(s, e.args[1])
    copy(s, text, source_room(s))
    name = s.u.function("text_number", ["index", "base"], lambda b: _emit_number(s.u, b))
    return s.b.call(name, s.header(layout.INDEX), base)


def _emit_number(u: Unit, b: FunctionBuilder) -> None:
    """The number at the beginning of the source area.

    A minus sign, a prefix 0x (bases 0 and 16) or 0 (base 0), digits; wraps.
    """
    s = runtime_scope(u, b, b.args[0])
    base = b.args[1]
    negative = b.load("i8", source_room(s).ptr).eq(ord("-"))
    at = negative.zext("i64")
    zero, mark, digit = (
        b.load("i8", b.at(source_room(s).ptr, at + i)).zext("i64") for i in range(3)
    )
    octal = zero.eq(ord("0"))
    marked = b.both(octal, (mark | 0x20).eq(ord("x")))
    marked = b.both(marked, _digit_of(s, digit).ult(16))
    marked = b.both(marked, b.either(base.eq(0), base.eq(16)))
    unmarked = b.select(base.eq(0), b.select(octal, b.const("i64", 8), 10), base)
    base = b.select(marked, b.const("i64", 16), unmarked)
    s.set_header(_AT, b.select(marked, at + 2, at))
    s.set_header(_VALUE, 0)
    s.set_header(_BASE, base)
    with b.if_((base - 2).ule(_MOST_BASE - 2)):
        run_loop(s, u.limits.maxstringlen, _digit_step, "number")
    value = s.header(_VALUE)
    b.ret(b.select(negative, -value, value))


def _digit_step(s: Scope, _: Value) -> None:
    char, at = byte_at(s, source_room(s), s.header(_AT))
    digit, base = _digit_of(s, char), s.header(_BASE)
    s.leave_if(digit.uge(base), "break")
    s.set_header(_VALUE, s.header(_VALUE) * base + digit)
    s.set_header(_AT, at + 1)


def _digit_of(s: Scope, char: Value) -> Value:
    """The value of a digit, letters in either case included; 255 for other bytes."""
    b = s.b
    number, letter = char - ord("0"), (char | 0x20) - ord("a")
    value = b.select(letter.ult(26), letter + 10, _NO_DIGIT)
    return b.select(number.ult(10), number, value)
