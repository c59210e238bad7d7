"""Text as C literals: the run-time function behind ``%#s``, text_str() and the quoting readers."""

from __future__ import annotations

from pystap.backend.bpf import layout
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.strings import Builder
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value

ESCAPE_STRING: Final = 0  # %#s: quotes, backslashes, control characters
ESCAPE_CHARACTER: Final = 1  # %#c: what is not printable ASCII, single quotes, backslashes
ESCAPE_TEXT: Final = 2  # text_str(): what is not printable ASCII, quotes, backslashes
# With a number of bytes shifted by this in the mode, so many are escaped, NULs included.
COUNT_SHIFT: Final = 8

_LETTERS: Final = int.from_bytes(b"abtnvfr", "little")  # of bytes 7 to 13
_MODE, _ROOM, _SHORT = (layout.SCRATCH + 8 * i for i in range(3))


def escape_function(u: Unit) -> str:
    """The function (context index, mode, room) that appends the source area escaped.

    It uses at most ``room`` bytes; its result tells (1) that something did not fit.  ``%#s`` and
    ``%#c`` are cut anywhere, like all that sprintf makes; the others between escapes.
    """
    return u.function("escape", ["index", "mode", "room"], lambda b: _emit(u, b))


def _emit(u: Unit, b: FunctionBuilder) -> None:
    index, mode, room = b.args
    s = runtime_scope(u, b, index)
    builder = Builder(s, u.limits.maxstringlen, fresh=False)
    s.set_header(_MODE, mode)
    left = b.const("i64", builder.limit - 1) - s.header(layout.BUILD)
    left = b.select(left.slt(0), b.const("i64", 0), left)  # it may be full to beyond the end
    s.set_header(_ROOM, b.select(room.slt(left), room, left))
    s.set_header(_SHORT, 0)
    run_loop(s, u.limits.maxstringlen, _append_one, "escape")
    b.store(0, b.at(builder.area, builder.position()), ty="i8")
    b.ret(s.header(_SHORT))


def _append_one(s: Scope, index: Value) -> None:
    from pystap.backend.bpf.format import source_room

    b = s.b
    source = source_room(s)
    at = b.barrier(index)
    at = b.barrier(b.select(at.ult(source.limit), at, source.limit - 1))
    byte = b.load("i8", b.at(source.ptr, at)).zext("i64")
    # A %#c of byte 0 is an escape, too; any other text ends there unless its bytes are counted.
    character = s.header(_MODE).eq(ESCAPE_CHARACTER)
    count = s.header(_MODE) >> COUNT_SHIFT
    ends = b.both(b.select(count.eq(0), byte.eq(0), index.uge(count)), character ^ 1)
    s.leave_if(b.either(ends, b.both(character, index.ne(0))), "break")
    piece, size = _piece(s, byte)
    room = s.header(_ROOM)
    short = size.sgt(room)
    part = b.select(_mode(s).ult(ESCAPE_TEXT), room, b.const("i64", 0))
    kept = b.select(short, part, size)
    builder = Builder(s, s.u.limits.maxstringlen, fresh=False)
    where = b.barrier(builder.position())
    b.store(piece.trunc("i32"), b.at(builder.area, where), align=1)
    s.set_header(layout.BUILD, where + kept)
    s.set_header(_ROOM, room - kept)
    with b.if_(short):
        s.set_header(_SHORT, 1)
        s.leave("break")


def _mode(s: Scope) -> Value:
    """What is escaped, without the number of bytes."""
    return s.header(_MODE) & ((1 << COUNT_SHIFT) - 1)


def _piece(s: Scope, byte: Value) -> tuple[Value, Value]:
    """What stands for a byte: up to four characters in a word, and how many."""
    b = s.b
    mode = _mode(s)
    quote = b.select(mode.eq(ESCAPE_CHARACTER), b.const("i64", ord("'")), ord('"'))
    marked = b.either(byte.eq(quote), byte.eq(ord("\\")))
    high = b.both(byte.ugt(127), mode.ne(ESCAPE_STRING))
    odd = b.either(b.either(byte.ult(32), byte.eq(127)), high)
    lettered = b.both(byte.uge(7), byte.ule(13))
    letter = b.const("i64", _LETTERS) >> ((byte - 7) & 7) * 8
    letter = b.select(marked, byte, letter & 0xFF)
    octal = (
        ord("\\")
        | (((byte >> 6) + ord("0")) << 8)
        | ((((byte >> 3) & 7) + ord("0")) << 16)
        | (((byte & 7) + ord("0")) << 24)
    )
    short = b.either(marked, lettered)
    piece = b.select(short, (letter << 8) | ord("\\"), octal)
    size = b.select(short, b.const("i64", 2), 4)
    escaped = b.either(marked, odd)
    return b.select(escaped, piece, byte), b.select(escaped, size, 1)
