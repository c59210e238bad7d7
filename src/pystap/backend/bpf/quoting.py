"""Text in memory as C literals: what the ``_quoted`` readers append to the builder area."""

from __future__ import annotations

from pystap.backend.bpf import layout
from pystap.backend.bpf.escapes import COUNT_SHIFT, ESCAPE_TEXT, escape_function
from pystap.backend.bpf.faulting import read_memory
from pystap.backend.bpf.format import append_number, source_room
from pystap.backend.bpf.memory import READ, READ_STRING
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.strings import Builder
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value

_HEX: Final = 16 | 1 << 15  # style of pystap.backend.bpf.format: hexadecimal with its prefix


def append_literal(s: Scope, text: str) -> None:
    """Append known text, eight bytes a call: that is less code than anything in place."""
    u = s.u
    name = u.function("append_word", ["index", "word", "size"], lambda b: _emit_word(u, b))
    data = text.encode("latin-1")
    for at in range(0, len(data), 8):
        word = data[at : at + 8]
        s.b.call(name, s.header(layout.INDEX), int.from_bytes(word, "little"), len(word))


def _emit_word(u: Unit, b: FunctionBuilder) -> None:
    s = runtime_scope(u, b, b.args[0])
    _, word, size = b.args
    builder = Builder(s, u.limits.maxstringlen, fresh=False)
    at = b.barrier(builder.position())
    here = b.at(builder.area, at)
    b.store(word, here, align=1)
    b.store(0, here, 8, ty="i8")
    s.set_header(layout.BUILD, at + size)
    b.ret(0)


def append_address(s: Scope, address: Value) -> None:
    """Append an address as ``0x7f...``."""
    append_number(s, address, _HEX)


def append_string_quoted(s: Scope, space: str, address: Value, most: int, room: int) -> None:
    """Append the string at an address, at most ``most`` bytes of it and ``room`` escaped.

    ``NULL`` for a null pointer, the address where it cannot be read.
    """
    b = s.b
    most = min(most, s.u.limits.maxstringlen - 2)
    source = source_room(s)
    with b.if_else(address.eq(0)) as (null, other):
        with null:
            append_literal(s, "NULL")
        with other:
            # One byte more than is shown, and the NUL.
            read = read_memory(s.u, b, READ_STRING[space], source.ptr, most + 2, address)
            with b.if_else(read.slt(1)) as (bad, good):
                with bad:
                    append_address(s, address)
                with good:
                    b.store(0, source.ptr, most, ty="i8")
                    append_source_quoted(s, ESCAPE_TEXT, room, read.sgt(most + 1))


def append_buffer_quoted(
    s: Scope, space: str, address: Value, size: Value, most: int, room: int
) -> Value:
    """Append ``size`` (1 to ``most``) bytes at an address, NULs included.

    The address where they cannot be read; ``i1``: they could.
    """
    b = s.b
    source = source_room(s)
    count = b.barrier(size)
    count = b.barrier(b.select(count.ult(most), count, most))
    read = read_memory(s.u, b, READ[space], source.ptr, count, address)
    with b.if_else(read.ne(0)) as (bad, good):
        with bad:
            append_address(s, address)
        with good:
            mode = (count << COUNT_SHIFT) | ESCAPE_TEXT
            append_source_quoted(s, mode, room, b.const("i1", 0))
    return read.eq(0)


def append_source_quoted(s: Scope, mode: Operand, room: int, cut: Value) -> None:
    """Append the source area between quotes; dots follow when it was ``cut`` or did not fit."""
    b = s.b
    append_literal(s, '"')
    left = b.const("i64", s.u.limits.maxstringlen - 1) - s.header(layout.BUILD)
    short = b.call(escape_function(s.u), s.header(layout.INDEX), mode, room)
    # Where the builder is full, nothing follows the last whole escape.
    with b.if_else(b.both(short.ne(0), left.slt(room))) as (full, fits):
        with full:
            Builder(s, s.u.limits.maxstringlen, fresh=False).close()
        with fits:
            append_literal(s, '"')
            with b.if_(b.either(short.ne(0), cut)):
                append_literal(s, "...")
