"""The tables of system calls in a program: names of flags and numbers, looked up in the kernel."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from pystap.backend.bpf import layout
from pystap.backend.bpf.format import append_number
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.quoting import append_literal
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.strings import Builder, Text
from pystap.probes.syscall_numbers import decoded_numbers
from pystap.probes.syscall_table import ENTRY, TABLE, Encoded, encoded
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value

# Styles of numbers, see pystap.backend.bpf.format.
SIGNED: Final = 10 | 1 << 8
UNSIGNED: Final = 10
HEX: Final = 16 | 1 << 15
_OCTAL: Final = 8 | 1 << 14
ZERO_FILLED: Final = 10 | 1 << 12

# The state of decoding one call, in bytes: arguments, words, and a structure from user space.
ARGS: Final = 0
REST, FIRST, COUNT, VALUE, START, FOUND, SPARE, POINTER = range(48, 112, 8)
STRUCTURE: Final = 112
STRUCTURE_BYTES: Final = 136
_STATE_BYTES: Final = STRUCTURE + STRUCTURE_BYTES

_MOST_ROUNDS: Final = 256  # more than any table has entries


_forms: WeakKeyDictionary[Unit, Encoded] = WeakKeyDictionary()


def form(u: Unit) -> Encoded:
    """The tables for the calls that a program can meet."""
    found = _forms.get(u)
    if found is None:
        found = _forms[u] = encoded(decoded_numbers(u.module))
    return found


def state(s: Scope) -> Value:
    """Address of the state of decoding."""
    return s.area("syscall", _STATE_BYTES)


def append_octal(s: Scope, value: Value) -> None:
    """Append ``0644``, or ``0``."""
    with s.b.if_else(value.eq(0)) as (zero, other):
        with zero:
            append_literal(s, "0")
        with other:
            append_number(s, value, _OCTAL)


def append_flags(s: Scope, table: Operand, value: Value, octal: int = 0) -> None:
    """Append names of a table of flags joined by ``|``, and the rest in hexadecimal or octal."""
    u = s.u
    name = u.function(
        "syscall_flags", ["index", "table", "value", "octal"], lambda b: _emit_flags(u, b)
    )
    s.b.call(name, s.header(layout.INDEX), table, value, octal)


def append_enum(s: Scope, table: Operand, value: Value) -> None:
    """Append the name of a number (by its 32 bits), or the number as an int."""
    u = s.u
    name = u.function("syscall_enum", ["index", "table", "value"], lambda b: _emit_enum(u, b))
    s.b.call(name, s.header(layout.INDEX), table, value)


def append_int(s: Scope, value: Value) -> None:
    """Append the lower 32 bits as a signed number."""
    append_number(s, (value << 32).sar(32), SIGNED)


def find_enum(s: Scope, table: Operand, value: Value) -> Value:
    """Append the name of a number if it has one; the result tells (1) that it had."""
    u = s.u
    name = u.function("syscall_find", ["index", "table", "value"], lambda b: _emit_find(u, b))
    return s.b.call(name, s.header(layout.INDEX), table, value)


# ---- run-time functions


def _scope(u: Unit, b: FunctionBuilder) -> Scope:
    return runtime_scope(u, b, b.args[0])


def _select_table(s: Scope, table: Value) -> None:
    """Put the place of a table's entries into the state."""
    b = s.b
    rows = form(s.u).tables
    count = len(rows) // TABLE.size
    at = b.barrier(table)
    at = b.barrier(b.select(at.ult(count), at, 0))
    row = b.at(b.data(rows), at * TABLE.size)
    here = state(s)
    b.store(b.load("i16", row).zext("i64"), here, FIRST)
    b.store(b.load("i16", row, 2).zext("i64"), here, COUNT)


def _entry(s: Scope, index: Value) -> Value:
    """Address of an entry of the table in the state; leaves the loop behind the last one."""
    b = s.b
    here = state(s)
    s.leave_if(index.uge(b.load("i64", here, COUNT)), "break")
    tables = form(s.u)
    at = b.barrier(b.load("i64", here, FIRST) + index)
    at = b.barrier(b.select(at.ult(tables.entry_count), at, 0))
    return b.at(b.data(tables.entries), at * ENTRY.size)


def _append_label(s: Scope, entry: Value) -> None:
    b = s.b
    tables = form(s.u)
    at = b.barrier(b.load("i16", entry, 16).zext("i64"))
    at = b.barrier(b.select(at.ult(len(tables.texts)), at, 0))
    size = tables.longest + 1
    label = Text(b.at(b.data(tables.texts + bytes(size)), at), size, size)
    Builder(s, s.u.limits.maxstringlen, fresh=False).append(label)


def _emit_flags(u: Unit, b: FunctionBuilder) -> None:
    s = _scope(u, b)
    _, table, value, octal = b.args
    _select_table(s, table)
    here = state(s)
    b.store(value, here, VALUE)
    b.store(value, here, REST)
    b.store(0, here, FOUND)
    run_loop(s, _MOST_ROUNDS, _append_flag, "flags")
    rest = b.load("i64", here, REST)
    found = b.load("i64", here, FOUND)
    with b.if_(b.either(rest.ne(0), found.eq(0))):
        with b.if_(found.ne(0)):
            append_literal(s, "|")
        with b.if_else(octal.ne(0)) as (as_octal, as_hex):
            with as_octal:
                append_octal(s, rest)
            with as_hex:
                append_number(s, rest, HEX)
    b.ret(0)


def _append_flag(s: Scope, index: Value) -> None:
    """One entry: shown when its bits are set and not taken by one before.

    The entry without a mask is the last: what is shown when nothing else was.
    """
    b = s.b
    entry = _entry(s, index)
    here = state(s)
    mask, wanted = b.load("i64", entry), b.load("i64", entry, 8)
    value, rest = b.load("i64", here, VALUE), b.load("i64", here, REST)
    found = b.load("i64", here, FOUND)
    free = b.either((rest & mask).ne(0), wanted.eq(0))
    fits = b.both((value & mask).eq(wanted), free)
    last = b.both(mask.eq(0), b.either(found.ne(0), rest.ne(0)))
    s.leave_if(b.either(fits ^ 1, last), "continue")
    with b.if_(found.ne(0)):
        append_literal(s, "|")
    _append_label(s, entry)
    b.store(1, here, FOUND)
    b.store(rest & ~mask, here, REST)


def _emit_enum(u: Unit, b: FunctionBuilder) -> None:
    s = _scope(u, b)
    _, table, value = b.args
    found = find_enum(s, table, value)
    with b.if_(found.eq(0)):
        append_int(s, value)
    b.ret(0)


def _emit_find(u: Unit, b: FunctionBuilder) -> None:
    s = _scope(u, b)
    _, table, value = b.args
    _select_table(s, table)
    here = state(s)
    b.store(value & 0xFFFF_FFFF, here, VALUE)
    b.store(0, here, FOUND)
    run_loop(s, _MOST_ROUNDS, _compare_entry, "names")
    b.ret(b.load("i64", here, FOUND))


def _compare_entry(s: Scope, index: Value) -> None:
    b = s.b
    entry = _entry(s, index)
    here = state(s)
    s.leave_if(b.load("i64", entry, 8).ne(b.load("i64", here, VALUE)), "continue")
    _append_label(s, entry)
    b.store(1, here, FOUND)
    s.leave("break")
