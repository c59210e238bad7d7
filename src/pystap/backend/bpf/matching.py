"""Regular expressions: a search walks the pattern's tables, which are in read-only memory.

The tables are those of :mod:`pystap.ir.regex` in another form.  States are numbered by the place
of their row; a row has one more column, that of the NUL: it goes to DEAD or MATCHED, so that the
end of the string is a byte like any other.

Of patterns with groups the context keeps the subject and the registers of the last match.  Three
registers are added to those of the tables: HERE (the present offset), NOWHERE (always -1) and
FOUND (0 until there is a match).  So every action is a copy of one register into another.
"""

from __future__ import annotations

import struct
from functools import partial

from pystap.backend.bpf import emit, layout, strings
from pystap.backend.bpf.bounds import clamp
from pystap.backend.bpf.format import source_room
from pystap.backend.bpf.layout import round_up
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.strings import Room, copy, copy_words
from pystap.ir import ops
from pystap.ir.regex import HERE, MATCHED, UNSET, Dfa, TaggedDfa, compile_regex
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value

_ROW, _FIRST = layout.SCRATCH, layout.SCRATCH + 8
_BYTES_A_ROUND: Final = 4
_MORE_REGISTERS: Final = 3
_SUBJECT_AREA: Final = "subject"
_REGISTERS_AREA: Final = "registers"
_GROUPS_AREA: Final = "groups"


@emit.emits_long(ops.Match)
def _match(s: Scope, e: ops.Match) -> Value:
    text = strings.reference(s, e.operand)
    regex = s.u.module.regexes[e.regex]
    dfa = regex.dfa or compile_regex(regex.pattern, captures=False)[0]
    if isinstance(dfa, TaggedDfa):
        copy(s, text, subject(s))
        make = partial(_emit_tagged, s.u, dfa)
    else:
        copy(s, text, source_room(s))
        make = partial(_emit_plain, s.u, dfa)
    name = s.u.function(f"search.{e.regex}", ["index"], make)
    found = s.b.call(name, s.header(layout.INDEX)).ne(0)
    return (found ^ 1 if e.negated else found).zext("i64")


def _class_of(s: Scope, dfa: Dfa | TaggedDfa, byte: Value) -> Value:
    """Emit the look-up of a byte's column."""
    b = s.b
    columns = b.data(bytes([dfa.classes]) + dfa.class_of[1:])
    return b.load("i8", b.at(columns, byte.zext("i64"))).zext("i64")


# ---- whether there is a match


def _emit_plain(u: Unit, dfa: Dfa, b: FunctionBuilder) -> None:
    """Whether the source area's string holds a match."""
    s = runtime_scope(u, b, b.args[0])
    width = dfa.classes + 1
    s.set_header(_ROW, dfa.start * width)
    if dfa.start > MATCHED:
        rounds = -(-u.limits.maxstringlen // _BYTES_A_ROUND)
        run_loop(s, rounds, partial(_plain_round, dfa), "match")
    b.ret(s.header(_ROW).eq(MATCHED * width).zext("i64"))


def _plain_round(dfa: Dfa, s: Scope, index: Value) -> None:
    b = s.b
    width = dfa.classes + 1
    rows = b.data(_plain_rows(dfa))
    source = source_room(s)
    begin = b.at(source.ptr, clamp(s, index * _BYTES_A_ROUND, source.size - _BYTES_A_ROUND))
    row = s.header(_ROW)
    for i in range(_BYTES_A_ROUND):
        column = _class_of(s, dfa, b.load("i8", begin, i))
        cell = clamp(s, row + column, dfa.states * width - 1)
        row = b.load("i32", b.at(rows, 0, cell, scale=4)).zext("i64")
        s.set_header(_ROW, row)
        s.leave_if(row.ule(MATCHED * width), "break")


def _plain_rows(dfa: Dfa) -> bytes:
    width = dfa.classes + 1
    cells: list[int] = []
    for state in range(dfa.states):
        cells += (n * width for n in dfa.table[state * dfa.classes : (state + 1) * dfa.classes])
        cells.append(width * MATCHED if dfa.at_end[state] else 0)
    return struct.pack(f"<{len(cells)}I", *cells)


# ---- where its groups are


def subject(s: Scope) -> Room:
    """The area with the subject of the last match."""
    size = s.u.max_string
    return Room(s.area(_SUBJECT_AREA, size), size, s.u.limits.maxstringlen)


def most_groups(u: Unit) -> int:
    """The most groups of a pattern in the program, 0 when nothing asks for groups."""
    tables = (r.dfa for r in u.module.regexes)
    return max((d.groups for d in tables if isinstance(d, TaggedDfa)), default=0)


def registers(s: Scope) -> Value:
    """Address of the registers of the last match: begin and end of each group, -1: unset."""
    tables = (r.dfa for r in s.u.module.regexes)
    most = max((d.registers for d in tables if isinstance(d, TaggedDfa)), default=0)
    return s.area(_REGISTERS_AREA, 8 * (most + _MORE_REGISTERS))


def groups(s: Scope) -> Value:
    """Address of a word: the number of groups of the last match, 0 when it failed."""
    return s.area(_GROUPS_AREA, 8)


def forget(s: Scope) -> None:
    """Begin a handler: there is no last match."""
    if most_groups(s.u):
        s.b.store(0, groups(s))


class _Lists:
    """Lists of moves between registers, each once."""

    def __init__(self, dfa: TaggedDfa) -> None:
        self.dfa = dfa
        self.count = dfa.registers + _MORE_REGISTERS
        self.here, self.nowhere, self.found = range(dfa.registers, self.count)
        self.numbers: dict[tuple[tuple[int, int], ...], int] = {(): 0}

    def number(self, *parts: int, accepts: bool) -> int:
        """Number of the joined lists of the tables; ``accepts``: there is a match."""
        sources = {HERE: self.here, UNSET: self.nowhere}
        moves = [(to, sources.get(of, of)) for n in parts for to, of in self.dfa.moves[n]]
        if accepts:
            moves.append((self.found, self.nowhere))
        return self.numbers.setdefault(tuple(moves), len(self.numbers))

    def content(self) -> tuple[bytes, bytes]:
        """Place and length of each list, and all moves; u32 pairs."""
        places, moves = bytearray(), bytearray()
        for listed in self.numbers:
            places += struct.pack("<II", len(moves) // 8, len(listed))
            for move in listed:
                moves += struct.pack("<II", *move)
        return bytes(places), bytes(moves) or bytes(8)


class _TaggedTables:
    """The tables of a pattern with groups: rows of (row, list) pairs, lists, first registers."""

    def __init__(self, dfa: TaggedDfa) -> None:
        self.dfa = dfa
        lists = _Lists(dfa)
        self.lists = lists
        cells = bytearray()
        width = dfa.classes + 1
        for state in range(dfa.states):
            for cell in range(state * dfa.classes, (state + 1) * dfa.classes):
                then = dfa.table[cell]
                moves = [dfa.actions[cell]]
                accepts = dfa.accept[then] >= 0
                if accepts:
                    moves.append(dfa.accept[then])
                cells += struct.pack("<II", then * width, lists.number(*moves, accepts=accepts))
            end = dfa.at_end[state]
            last = lists.number(end, accepts=True) if end >= 0 else 0
            cells += struct.pack("<II", 0, last)
        self.rows = bytes(cells)
        self.places, self.moves = lists.content()
        self.first = self._first()

    def _first(self) -> bytes:
        """Registers when the search begins."""
        dfa, lists = self.dfa, self.lists
        values = [-1] * lists.count
        values[lists.here] = values[lists.found] = 0
        begin = [dfa.start_moves]
        if dfa.accept[dfa.start] >= 0:
            begin.append(dfa.accept[dfa.start])
            values[lists.found] = -1
        sources = {HERE: lists.here, UNSET: lists.nowhere}
        for number in begin:
            for to, of in dfa.moves[number]:
                values[to] = values[sources.get(of, of)]
        return struct.pack(f"<{len(values)}q", *values)


def _emit_tagged(u: Unit, dfa: TaggedDfa, b: FunctionBuilder) -> None:
    """Whether the subject holds a match; its groups are kept."""
    s = runtime_scope(u, b, b.args[0])
    tables = _TaggedTables(dfa)
    s.set_header(_ROW, dfa.start * (dfa.classes + 1))
    copy_words(s, b.data(tables.first), registers(s), round_up(len(tables.first)))
    if dfa.start:
        run_loop(s, u.limits.maxstringlen, partial(_tagged_step, tables), "match")
    found = b.load("i64", registers(s), 8 * tables.lists.found).ne(0)
    b.store(b.select(found, b.const("i64", dfa.groups), 0), groups(s))
    b.ret(found.zext("i64"))


def _tagged_step(tables: _TaggedTables, s: Scope, index: Value) -> None:
    b = s.b
    text = subject(s)
    at = clamp(s, index, text.limit - 1)
    byte = b.load("i8", b.at(text.ptr, at))
    column = _class_of(s, tables.dfa, byte)
    cell = clamp(s, s.header(_ROW) + column, len(tables.rows) // 8 - 1)
    entry = b.at(b.data(tables.rows), 0, cell, scale=8)
    row = b.load("i32", entry).zext("i64")
    s.set_header(_ROW, row)
    number = b.load("i32", entry, 4).zext("i64")
    with b.if_(number.ne(0)):
        # Behind the byte, but not behind the NUL.
        b.store(at + byte.ne(0).zext("i64"), registers(s), 8 * tables.lists.here)
        place = clamp(s, number, len(tables.places) // 8 - 1)
        listed = b.at(b.data(tables.places), 0, place, scale=8)
        s.set_header(_FIRST, b.load("i32", listed).zext("i64"))
        count = b.load("i32", listed, 4).zext("i64")
        run_loop(s, count, partial(_move, tables), "moves")
    s.leave_if(row.eq(0), "break")


def _move(tables: _TaggedTables, s: Scope, index: Value) -> None:
    b = s.b
    at = clamp(s, s.header(_FIRST) + index, len(tables.moves) // 8 - 1)
    move = b.at(b.data(tables.moves), 0, at, scale=8)
    to, of = (
        b.at(registers(s), 0, clamp(s, word, tables.lists.count - 1), scale=8)
        for word in (b.load("i32", move, i).zext("i64") for i in (0, 4))
    )
    b.store(b.load("i64", of), to)
