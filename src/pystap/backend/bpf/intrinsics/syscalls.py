"""Names, arguments and results of system calls as text.

The tables are :func:`pystap.probes.syscall_table.encoded`; the text is that of
:mod:`pystap.probes.syscall_decode`.
"""

from __future__ import annotations

from pystap.backend.bpf import emit, helpers, layout
from pystap.backend.bpf.format import append_number
from pystap.backend.bpf.intrinsics import string
from pystap.backend.bpf.quoting import append_literal
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.strings import Builder, Room, fill_zero
from pystap.backend.bpf.syscall_kinds import append_kind, shown
from pystap.backend.bpf.syscall_tables import (
    ARGS,
    HEX,
    SIGNED,
    UNSIGNED,
    append_octal,
    find_enum,
    form,
    state,
)
from pystap.probes.syscall_table import (
    ARGUMENT_SHIFT,
    NAME_BYTES,
    NARROW,
    POINT_NAME,
    RESULTS,
    SLOT,
    SLOTS,
    encoded,
)
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value
    from pystap.ir import ops

_ARGUMENTS: Final = 6
_LEAST_ERROR: Final = -4095


def _finish(s: Scope, builder: Builder, room: Room) -> None:
    if room.pad:
        fill_zero(s, room.ptr, room.size)
    builder.finish(room)


@string("syscall_name")
def _name(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    b = s.b
    nr = emit.long(s, e.args[0])
    number = nr & (POINT_NAME - 1)
    builder = Builder(s, s.u.limits.maxstringlen)
    names = encoded(frozenset()).names
    at = b.barrier(number)
    at = b.barrier(b.select(at.ult(SLOTS), at, SLOTS - 1))
    point = b.select((nr & POINT_NAME).ne(0), b.const("i64", SLOTS), 0)
    name = b.at(b.data(names), (at + point) * NAME_BYTES)
    known = b.both(number.ult(SLOTS), b.load("i8", name).ne(0))
    with b.if_else(known) as (yes, no):
        with yes:
            size = min(NAME_BYTES, room.limit)
            b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", builder.area, size, name)
        with no:
            append_number(s, number, UNSIGNED)
    _finish(s, builder, room)


@string("syscall_retstr")
def _retstr(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    u = s.u
    nr, value = (emit.long(s, arg) for arg in e.args)
    builder = Builder(s, u.limits.maxstringlen)
    name = u.function("syscall_retstr", ["index", "nr", "value"], lambda b: _emit_retstr(u, b))
    s.b.call(name, s.header(layout.INDEX), nr, value)
    _finish(s, builder, room)


@string("syscall_argstr")
def _argstr(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    u, b = s.u, s.b
    nr, *args = (emit.long(s, arg) for arg in e.args)
    builder = Builder(s, u.limits.maxstringlen)
    here = state(s)
    for index, arg in enumerate(args):
        b.store(arg, here, ARGS + 8 * index)
    name = u.function("syscall_argstr", ["index", "nr"], lambda fb: _emit_argstr(u, fb))
    b.call(name, s.header(layout.INDEX), nr)
    _finish(s, builder, room)


# ---- run-time functions


def _scope(u: Unit, b: FunctionBuilder) -> Scope:
    return runtime_scope(u, b, b.args[0])


def _slot(u: Unit, b: FunctionBuilder, number: Value) -> Value:
    """Address of what is known of a call; that of number 511, unused, for unknown ones."""
    at = b.barrier(number)
    at = b.barrier(b.select(at.ult(SLOTS), at, SLOTS - 1))
    return b.at(b.data(form(u).slots), at * SLOT.size)


def _emit_retstr(u: Unit, b: FunctionBuilder) -> None:
    s = _scope(u, b)
    _, nr, value = b.args
    result = b.load("i8", _slot(u, b, nr & (POINT_NAME - 1)), 1).zext("i64")
    failed = b.both(value.slt(0), value.sge(_LEAST_ERROR))
    with b.if_(failed):
        append_number(s, value, SIGNED)
        _append_error(s, -value)
        b.ret(0)
    with b.switch(result) as shapes:
        with shapes.case(RESULTS.index("ptr")):
            append_number(s, value, HEX)
        with shapes.case(RESULTS.index("oct")):
            append_octal(s, value)
        with shapes.case(RESULTS.index("ulong")):
            append_number(s, value, UNSIGNED)
        with shapes.default():
            append_number(s, value, SIGNED)
    b.ret(0)


def _append_error(s: Scope, number: Value) -> None:
    """Append `` (ENOENT)``, or nothing for an error without a name."""
    b = s.b
    before = b.barrier(s.header(layout.BUILD, volatile=True))
    append_literal(s, " (")
    found = find_enum(s, form(s.u).implied["errno"], number)
    with b.if_else(found.ne(0)) as (named, unnamed):
        with named:
            append_literal(s, ")")
        with unnamed:
            builder = Builder(s, s.u.limits.maxstringlen, fresh=False)
            s.set_header(layout.BUILD, before)
            b.store(0, b.at(builder.area, builder.position()), ty="i8")


def _emit_argstr(u: Unit, b: FunctionBuilder) -> None:
    """All arguments, or the chosen one.  One after the other, for a loop would nest too deep."""
    s = _scope(u, b)
    index, nr = b.args
    number, chosen = nr & (POINT_NAME - 1), nr >> ARGUMENT_SHIFT
    slot = _slot(u, b, number)
    count = b.load("i8", slot).zext("i64")
    one = u.function(
        "syscall_argument", ["index", "kind", "value"], lambda fb: _emit_argument(u, fb)
    )
    for at in range(_ARGUMENTS):
        wanted = b.either(chosen.eq(0), chosen.eq(at + 1))
        with b.if_(b.both(wanted, count.ugt(at))):
            kind = b.load("i16", slot, 2 + 2 * at).zext("i64")
            b.call(one, index, kind, b.load("i64", state(s), ARGS + 8 * at))
    b.ret(0)


def _emit_argument(u: Unit, b: FunctionBuilder) -> None:
    s = _scope(u, b)
    _, packed, value = b.args
    kind, param = packed & (NARROW - 1), packed >> 8
    value = b.select((packed & NARROW).ne(0), value & 0xFFFF_FFFF, value)
    with b.if_(shown(s, kind, param)):
        with b.if_(s.header(layout.BUILD).ne(0)):
            append_literal(s, ", ")
        append_kind(s, kind, param, value)
    b.ret(0)
