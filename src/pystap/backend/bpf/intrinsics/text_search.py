"""Lengths, parts and characters of strings, and strings within strings."""

from __future__ import annotations

from pystap.backend.bpf import emit, helpers, layout, strings
from pystap.backend.bpf.bounds import clamp
from pystap.backend.bpf.errors import raise_error
from pystap.backend.bpf.format import source_room, string_length
from pystap.backend.bpf.intrinsics import long, string
from pystap.backend.bpf.layout import encode
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.strings import Room, Text, copy, fill_zero
from pystap.ir import errors, ops
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value

_NEEDLE_AREA: Final = "needle"  # the text that is looked for
_BORDERS_AREA: Final = "borders"  # u16 for each of its prefixes
_LITERAL_BORDERS: Final = 256  # longest needle whose borders are made by the compiler
# State of a search: the place in the text that is searched, and how much of the needle fits
# before it.
AT, FITS = (layout.SCRATCH + 8 * i for i in range(2))


@long("strlen")
def _strlen(s: Scope, e: ops.Intrinsic) -> Value:
    text = strings.reference(s, e.args[0])
    return string_length(s, text.ptr, text.bound)


@long("stringat")
def _stringat(s: Scope, e: ops.Intrinsic) -> Value:
    b = s.b
    text = strings.reference(s, e.args[0])
    index = emit.long(s, e.args[1])
    with b.if_(index.uge(s.u.limits.maxstringlen)):
        raise_error(s, errors.STRING_INDEX, e.pos)
    return b.load("i8", b.at(text.ptr, step_into(s, text, index))).zext("i64")


@string("substr")
def _substr(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    b = s.b
    text = strings.reference(s, e.args[0])
    start, length = emit.long(s, e.args[1]), emit.long(s, e.args[2])
    if room.pad:
        fill_zero(s, room.ptr, room.size)
    source = b.at(text.ptr, step_into(s, text, b.select(start.slt(0), 0, start)))
    nothing = b.either(start.slt(0), length.slt(0))
    size = clamp(s, b.select(nothing, 0, length), min(text.bound, room.limit) - 1) + 1
    b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", room.ptr, size, source)


def step_into(s: Scope, text: Text, offset: Value) -> Value:
    """The offset, or that of the NUL in a string that is shorter (unsigned)."""
    b = s.b
    size = clamp(s, offset, text.bound - 1) + 1
    sink = s.area("sink", s.u.max_string)
    n = b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", sink, size, text.ptr)
    return clamp(s, b.select(n.sgt(0), n - 1, 0), text.bound - 1)


# ---- a string within another: Knuth, Morris and Pratt's search


@long("isinstr")
def _isinstr(s: Scope, e: ops.Intrinsic) -> Value:
    return _find(s, e).sge(0).zext("i64")


@long("strpos")
def _strpos(s: Scope, e: ops.Intrinsic) -> Value:
    return _find(s, e)


def _find(s: Scope, e: ops.Intrinsic) -> Value:
    """Index of the second string in the first, -1 when it is not there."""
    text, needle = (strings.reference(s, arg) for arg in e.args)
    copy(s, text, source_room(s))
    set_needle(s, e.args[1], needle)
    name = s.u.function("find_text", ["index"], lambda b: _emit_find(s.u, b))
    return s.b.call(name, s.header(layout.INDEX))


def set_needle(s: Scope, expr: ops.Expr, text: Text) -> None:
    """Prepare the search for a string: it and its borders go to their areas."""
    u, b = s.u, s.b
    area = needle_room(s)
    copy(s, text, area)
    if isinstance(expr, ops.StrConst) and text.bound <= _LITERAL_BORDERS:
        data = b"".join(
            n.to_bytes(2, "little") for n in _borders(encode(expr.value, text.bound)[:-1])
        )
        if data:
            data += bytes(-len(data) % 8)
            strings.copy_words(s, b.data(data), _borders_area(s), len(data))
        return
    name = u.function("text_borders", ["index"], lambda fb: _emit_borders(u, fb))
    b.call(name, s.header(layout.INDEX))


def needle_room(s: Scope) -> Room:
    """The area for the string that is looked for."""
    size = s.u.max_string
    return Room(s.area(_NEEDLE_AREA, size), size, s.u.limits.maxstringlen)


def _borders_area(s: Scope) -> Value:
    return s.area(_BORDERS_AREA, 2 * s.u.max_string)


def _borders(needle: bytes) -> list[int]:
    """For each prefix the length of the longest shorter prefix that it also ends with."""
    borders = [0] * len(needle)
    k = 0
    for i in range(1, len(needle)):
        while k and needle[i] != needle[k]:
            k = borders[k - 1]
        k += needle[i] == needle[k]
        borders[i] = k
    return borders


def byte_at(s: Scope, room: Room, index: Value) -> tuple[Value, Value]:
    """A byte of an area, and its index as the verifier knows it."""
    index = clamp(s, index, room.limit - 1)
    return s.b.load("i8", s.b.at(room.ptr, index)).zext("i64"), index


def _border(s: Scope, length: Value) -> Value:
    """Address of the border of the needle's prefix of a length above 0."""
    most = s.u.limits.maxstringlen - 1
    return s.b.at(_borders_area(s), 0, clamp(s, length - 1, most), scale=2)


def _emit_borders(u: Unit, b: FunctionBuilder) -> None:
    """Make the borders of the string in the needle area."""
    s = runtime_scope(u, b, b.args[0])
    b.store(0, _borders_area(s), ty="i16")
    s.set_header(AT, 1)
    s.set_header(FITS, 0)
    with b.if_(b.load("i8", needle_room(s).ptr).ne(0)):
        run_loop(s, 2 * u.limits.maxstringlen, _border_step, "borders")
    b.ret(0)


def _border_step(s: Scope, _: Value) -> None:
    b = s.b
    needle = needle_room(s)
    char, at = byte_at(s, needle, s.header(AT))
    s.leave_if(char.eq(0), "break")
    expected, fits = byte_at(s, needle, s.header(FITS))
    same = char.eq(expected)
    with b.if_else(b.either(same, fits.eq(0))) as (settled, shorter):
        with settled:
            border = fits + same.zext("i64")
            s.set_header(FITS, border)
            s.set_header(AT, at + 1)
            b.store(border.trunc("i16"), _border(s, at + 1))
        with shorter:
            s.set_header(FITS, b.load("i16", _border(s, fits)).zext("i64"))


def _emit_find(u: Unit, b: FunctionBuilder) -> None:
    """Index of the needle area's string in the source area's, -1 when it is not there."""
    s = runtime_scope(u, b, b.args[0])
    s.set_header(AT, 0)
    s.set_header(FITS, 0)
    run_loop(s, 2 * u.limits.maxstringlen + 1, _find_step, "find")
    end, fits = byte_at(s, needle_room(s), s.header(FITS))
    b.ret(b.select(end.eq(0), s.header(AT) - fits, -1))


def _find_step(s: Scope, _: Value) -> None:
    expected, fits = byte_at(s, needle_room(s), s.header(FITS))
    s.leave_if(expected.eq(0), "break")
    search_step(s, expected, fits)


def search_step(s: Scope, expected: Value, fits: Value) -> None:
    """Compare the next byte of the source area with the one that is expected after ``fits``."""
    b = s.b
    char, at = byte_at(s, source_room(s), s.header(AT))
    s.leave_if(char.eq(0), "break")
    same = char.eq(expected)
    with b.if_else(b.either(same, fits.eq(0))) as (forward, shorter):
        with forward:
            s.set_header(AT, at + 1)
            s.set_header(FITS, fits + same.zext("i64"))
        with shorter:
            s.set_header(FITS, b.load("i16", _border(s, fits)).zext("i64"))
