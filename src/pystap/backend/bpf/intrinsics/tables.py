"""Look-ups in the named tables: sorted entries in read-only memory.

Searches are made of arithmetic instead of branches: the verifier follows a single path.
"""

from __future__ import annotations

import struct

from pystap.backend.bpf import emit, helpers, layout, strings
from pystap.backend.bpf.bounds import clamp
from pystap.backend.bpf.facts import CompileError
from pystap.backend.bpf.intrinsics import long, string
from pystap.backend.bpf.layout import round_up
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.quoting import append_address, append_literal
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.strings import Builder, Room, Text, fill_zero
from pystap.ir.tables import TABLES, FlagTable, NameTable
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value
    from pystap.ir import ops

_WORD: Final = (1 << 64) - 1
_MOST_KEY: Final = (1 << 63) - 1
_MULTIPLIER: Final = 0x9E37_79B9_7F4A_7C15
_VALUE, _REST = layout.SCRATCH, layout.SCRATCH + 8


def _table(e: ops.Intrinsic) -> NameTable | FlagTable:
    table = TABLES.get(str(e.const[0]))
    wanted = FlagTable if e.name == "flags_str" else NameTable
    if not isinstance(table, wanted):
        raise CompileError(f"there is no table '{e.const[0]}' for {e.name}")
    return table


class _Sorted:
    """Entries that begin with a key of 63 bits, in order of it, as many as a power of two."""

    def __init__(self, entries: dict[int, bytes]) -> None:
        self.stride = 8 + max(map(len, entries.values()))
        self.count = 1 << (len(entries) - 1).bit_length()
        rows = [key.to_bytes(8, "little") + rest for key, rest in sorted(entries.items())]
        filler = _MOST_KEY.to_bytes(8, "little").ljust(self.stride, b"\xff")
        self.content = b"".join(rows) + filler * (self.count - len(rows))

    def search(self, b: FunctionBuilder, key: Value) -> Value:
        """Emit the search: address of the last entry whose key is not above ``key``.

        The first entry counts as such in any case; ``key`` has 63 bits.
        """
        # The address moves, not an index: older verifiers know the bounds of sums, but not of
        # the "or" that LLVM would make of an index's bits.
        entry = b.data(self.content)
        step = self.count // 2
        while step:
            found = b.load("i64", entry, step * self.stride)
            below = b.barrier((found - key - 1) >> 63)
            entry = b.barrier(b.at(entry, below * (step * self.stride)))
            step //= 2
        return entry


# ---- names of numbers


@string("table_str")
def _table_str(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    b = s.b
    table = _table(e)
    assert isinstance(table, NameTable)
    number = emit.long(s, e.args[0])
    texts, places = _texts(list(table.names.values()))
    name = s.u.function(
        f"name_of.{e.const[0]}", ["number"], lambda fb: _emit_name_of(fb, table, places)
    )
    place = clamp(s, b.call(name, number), len(texts) - 1)
    if room.pad:
        fill_zero(s, room.ptr, room.size)
    text = b.at(b.data(texts), place)
    b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", room.ptr, room.limit, text)


def _texts(names: list[str]) -> tuple[bytes, dict[str, int]]:
    """Names one behind the other, an empty one first, and where each begins."""
    texts, places = bytearray(b"\0"), {}
    for name in names:
        places[name] = len(texts)
        texts += name.encode("latin-1") + b"\0"
    return bytes(texts), places


def _emit_name_of(b: FunctionBuilder, table: NameTable, places: dict[str, int]) -> None:
    """Where the name of a number begins among the texts; 0 when it has none."""
    lowest, highest = min(table.names), max(table.names)
    entries = _Sorted(
        {n - lowest: places[name].to_bytes(8, "little") for n, name in table.names.items()}
    )
    key = b.args[0] - lowest
    with b.if_(key.ugt(highest - lowest)):
        b.ret(0)
    entry = entries.search(b, key)
    b.ret(b.select(b.load("i64", entry).eq(key), b.load("i64", entry, 8), 0))


# ---- numbers of names


@long("table_num")
def _table_num(s: Scope, e: ops.Intrinsic) -> Value:
    b = s.b
    table = _table(e)
    assert isinstance(table, NameTable)
    text = strings.reference(s, e.args[0])
    size = round_up(max(map(len, table.numbers)) + 1)
    area = _name_area(s, size)
    fill_zero(s, area, size)
    # Of a name that is too long there is one byte more than any has.
    most = min(text.bound, size + 1)
    b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", area, most, text.ptr)
    name = s.u.function(
        f"number_of.{e.const[0]}", ["index"], lambda fb: _emit_number_of(s.u, fb, table, size)
    )
    return b.call(name, s.header(layout.INDEX))


def _name_area(s: Scope, size: int) -> Value:
    return s.area("name", size + 8)


def _emit_number_of(u: Unit, b: FunctionBuilder, table: NameTable, size: int) -> None:
    """The number of the name in its area, which has zeros up to ``size``; -1: none."""
    area = _name_area(runtime_scope(u, b, b.args[0]), size)
    rows: dict[int, bytes] = {}
    for name, number in table.numbers.items():
        text = name.encode("latin-1").ljust(size, b"\0")
        row = (number & _WORD).to_bytes(8, "little") + text
        if rows.setdefault(_hash(text), row) is not row:
            raise CompileError(f"names of a table collide: {name}")
    key = b.const("i64", 0)
    for at in range(0, size, 8):
        key = (key ^ b.load("i64", area, at)) * _MULTIPLIER
        key = key ^ (key >> 32)
    entry = _Sorted(rows).search(b, key >> 1)
    differ = b.const("i64", 0)
    for at in range(0, size, 8):
        differ = differ | (b.load("i64", area, at) ^ b.load("i64", entry, 16 + at))
    b.ret(b.select(differ.eq(0), b.load("i64", entry, 8), -1))


def _hash(text: bytes) -> int:
    """63 bits that depend on all bytes."""
    key = 0
    for (word,) in struct.iter_unpack("<Q", text):
        key = (key ^ word) * _MULTIPLIER & _WORD
        key ^= key >> 32
    return key >> 1


# ---- flags


@string("flags_str")
def _flags_str(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    u = s.u
    table = _table(e)
    assert isinstance(table, FlagTable)
    value = emit.long(s, e.args[0])
    builder = Builder(s, u.limits.maxstringlen)
    name = u.function(
        f"flags.{e.const[0]}", ["index", "value"], lambda b: _emit_flags(u, b, table)
    )
    s.b.call(name, s.header(layout.INDEX), value)
    if room.pad:
        fill_zero(s, room.ptr, room.size)
    builder.finish(room)


def _emit_flags(u: Unit, b: FunctionBuilder, table: FlagTable) -> None:
    """Append the names of the flags of a value, and the rest of it."""
    index, value = b.args
    s = runtime_scope(u, b, index)
    s.set_header(_VALUE, value)
    s.set_header(_REST, value)
    run_loop(s, len(table.flags), lambda inner, at: _append_flag(inner, at, table), "flag")
    rest = s.header(_REST)
    nothing = s.header(layout.BUILD).eq(0)
    with b.if_(rest.ne(0)):
        with b.if_(nothing ^ 1):
            append_literal(s, "|")
        append_address(s, rest)
        b.ret(0)
    with b.if_(nothing):
        append_literal(s, table.zero or "0x0")
    b.ret(0)


def _append_flag(s: Scope, index: Value, table: FlagTable) -> None:
    b = s.b
    texts, places = _texts(["|" + flag.name for flag in table.flags])
    entries = b"".join(
        struct.pack("<QQQ", f.mask, f.value, places["|" + f.name]) for f in table.flags
    )
    entry = b.at(b.data(entries), clamp(s, index, len(table.flags) - 1) * 24)
    mask, wanted = b.load("i64", entry), b.load("i64", entry, 8)
    rest = s.header(_REST)
    s.leave_if((s.header(_VALUE) & mask).ne(wanted), "continue")
    s.leave_if(b.both((rest & mask).eq(0), wanted.ne(0)), "continue")
    s.set_header(_REST, rest & ~mask)
    first = s.header(layout.BUILD).eq(0).zext("i64")  # without the bar
    place = clamp(s, b.load("i64", entry, 16) + first, len(texts) - 1)
    longest = max(len(flag.name) for flag in table.flags) + 2
    Builder(s, s.u.limits.maxstringlen, fresh=False).append(
        Text(b.at(b.data(texts), place), longest, longest)
    )
