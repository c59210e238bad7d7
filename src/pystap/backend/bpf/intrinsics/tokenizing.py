"""Taking a string apart at delimiters.

What is left to take apart stays in an area of the context: a word with the place in it, a word
with where the token begins, a set of delimiters (a bit for each byte), and the string, in which
NULs end the tokens that were taken.
"""

from __future__ import annotations

from pystap.backend.bpf import helpers, layout, strings
from pystap.backend.bpf.bounds import clamp
from pystap.backend.bpf.format import source_room
from pystap.backend.bpf.intrinsics import string
from pystap.backend.bpf.intrinsics.text_search import byte_at
from pystap.backend.bpf.layout import encode
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.strings import Room, Text, copy, fill_zero
from pystap.ir import ops
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value

_AREA: Final = "tokens"
_AT, _BEGIN, _SET, _TEXT = 0, 8, 16, 48
_NONE: Final = -1


@string("tokenize")
def _tokenize(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    b = s.b
    text, delimiters = (strings.reference(s, arg) for arg in e.args)
    with b.if_(b.load("i8", text.ptr).ne(0)):
        b.store(0, _area(s), _AT)
        copy(s, text, _rest(s))
    _next(s, e.args[1], delimiters, room)


@string("tokenize_next")
def _tokenize_next(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    _next(s, e.args[0], strings.reference(s, e.args[0]), room)


def _area(s: Scope) -> Value:
    return s.area(_AREA, _TEXT + s.u.max_string)


def _rest(s: Scope) -> Room:
    return Room(s.b.at(_area(s), _TEXT), s.u.max_string, s.u.limits.maxstringlen)


def _next(s: Scope, expr: ops.Expr, delimiters: Text, room: Room) -> None:
    u, b = s.u, s.b
    if isinstance(expr, ops.StrConst):
        bits = sum({1 << byte for byte in encode(expr.value, delimiters.bound)[:-1]})
        for i in range(4):
            b.store(bits >> 64 * i & (1 << 64) - 1, _area(s), _SET + 8 * i)
    else:
        copy(s, delimiters, source_room(s))
        name = u.function("token_set", ["index"], lambda fb: _emit_set(u, fb))
        b.call(name, s.header(layout.INDEX))
    name = u.function("token_next", ["index"], lambda fb: _emit_next(u, fb))
    begin = b.call(name, s.header(layout.INDEX))
    if room.pad:
        fill_zero(s, room.ptr, room.size)
    rest = _rest(s)
    token = b.at(rest.ptr, clamp(s, begin, rest.limit - 1))
    size = min(rest.limit, room.limit)
    b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", room.ptr, size, token)


def _emit_set(u: Unit, b: FunctionBuilder) -> None:
    """Make the set of the bytes in the source area."""
    s = runtime_scope(u, b, b.args[0])
    for i in range(4):
        b.store(0, _area(s), _SET + 8 * i)
    run_loop(s, u.limits.maxstringlen, _set_step, "set")
    b.ret(0)


def _set_step(s: Scope, index: Value) -> None:
    byte, _ = byte_at(s, source_room(s), index)
    s.leave_if(byte.eq(0), "break")
    where, bit = _place(s, byte)
    s.b.store(s.b.load("i64", where) | s.b.const("i64", 1) << bit, where)


def _place(s: Scope, byte: Value) -> tuple[Value, Value]:
    """Where the set has the bit of a byte: the address of its word, its number in there."""
    word = s.b.barrier(byte >> 6) & 3
    return s.b.at(_area(s), _SET, word, scale=8), byte & 63


def _emit_next(u: Unit, b: FunctionBuilder) -> None:
    """Go to the next token and end it by a NUL; where it begins."""
    s = runtime_scope(u, b, b.args[0])
    b.store(_NONE, _area(s), _BEGIN)
    run_loop(s, u.limits.maxstringlen, _token_step, "token")
    begin = b.load("i64", _area(s), _BEGIN)
    b.ret(b.select(begin.slt(0), b.load("i64", _area(s), _AT), begin))


def _token_step(s: Scope, _: Value) -> None:
    b = s.b
    area, rest = _area(s), _rest(s)
    byte, at = byte_at(s, rest, b.load("i64", area, _AT))
    s.leave_if(byte.eq(0), "break")
    b.store(at + 1, area, _AT)
    where, bit = _place(s, byte)
    outside = b.load("i64", area, _BEGIN).slt(0)
    with b.if_else((b.load("i64", where) >> bit & 1).ne(0)) as (delimiter, other):
        with delimiter:
            s.leave_if(outside, "continue")
            b.store(0, b.at(rest.ptr, at), ty="i8")
            s.leave("break")
        with other, b.if_(outside):
            b.store(at, area, _BEGIN)
