"""Replacing a string within another."""

from __future__ import annotations

from pystap.backend.bpf import layout, strings
from pystap.backend.bpf.bounds import clamp
from pystap.backend.bpf.format import source_room
from pystap.backend.bpf.intrinsics import string
from pystap.backend.bpf.intrinsics.text_search import (
    AT,
    FITS,
    byte_at,
    needle_room,
    search_step,
    set_needle,
)
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.strings import Builder, Room, Text, copy, fill_zero
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value
    from pystap.ir import ops

_REPLACEMENT_AREA: Final = "replacement"
_COPIED: Final = layout.SCRATCH + 16  # how much of the text is in the result already


@string("str_replace")
def _str_replace(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    u = s.u
    text, old, new = (strings.reference(s, arg) for arg in e.args)
    copy(s, text, source_room(s))
    copy(s, new, _replacement(s))
    set_needle(s, e.args[1], old)
    name = u.function("replace_text", ["index"], lambda b: _emit_replace(u, b))
    s.b.call(name, s.header(layout.INDEX))
    if room.pad:
        fill_zero(s, room.ptr, room.size)
    Builder(s, u.limits.maxstringlen, fresh=False).finish(room)


def _replacement(s: Scope) -> Room:
    size = s.u.max_string
    return Room(s.area(_REPLACEMENT_AREA, size), size, s.u.limits.maxstringlen)


def _emit_replace(u: Unit, b: FunctionBuilder) -> None:
    """Build the source area's string, the needle replaced wherever it is."""
    s = runtime_scope(u, b, b.args[0])
    builder = Builder(s, u.limits.maxstringlen)
    for word in (AT, FITS, _COPIED):
        s.set_header(word, 0)
    with b.if_(b.load("i8", needle_room(s).ptr).ne(0)):
        # A byte is passed once, costs one shorter fit at most, and ends at most one needle.
        run_loop(s, 3 * u.limits.maxstringlen, _step, "replace")
    rest = b.const("i64", u.limits.maxstringlen)
    builder.append_part(_uncopied(s), rest)
    b.ret(0)


def _step(s: Scope, _: Value) -> None:
    b = s.b
    limit = s.u.limits.maxstringlen
    expected, fits = byte_at(s, needle_room(s), s.header(FITS))
    with b.if_(expected.eq(0)):
        builder = Builder(s, limit, fresh=False)
        at = s.header(AT)
        builder.append_part(_uncopied(s), at - fits - s.header(_COPIED))
        replacement = _replacement(s)
        builder.append(Text(replacement.ptr, replacement.limit, replacement.size))
        s.set_header(_COPIED, at)
        s.set_header(FITS, 0)
        s.leave_if(s.header(layout.BUILD).uge(limit - 1), "break")
        s.leave("continue")
    search_step(s, expected, fits)


def _uncopied(s: Scope) -> Value:
    """Address of the first byte of the text that is not in the result yet."""
    source = source_room(s)
    return s.b.at(source.ptr, clamp(s, s.header(_COPIED), source.limit - 1))
