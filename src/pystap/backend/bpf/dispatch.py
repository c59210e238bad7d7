"""System calls: one program on the raw tracepoint hands each call to the handlers that want it.

The number of the call is looked at before anything else: nearly all hits are of calls nobody
asked for.
"""

from __future__ import annotations

from contextlib import nullcontext

from pystap.backend.bpf import helpers, process_table
from pystap.backend.bpf.context_values import Event, ProgramKind
from pystap.backend.bpf.facts import X86_CS
from pystap.backend.bpf.levels import level_of
from pystap.backend.bpf.programs import check_running, emit_handler
from pystap.probes.attach import SyscallEvent
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value
    from pystap.ir.module import Probe

_NUMBERS: Final = 1024  # system calls have numbers below this
_PART: Final = 1000  # operations of the handlers in one function, each
_ENTRY: Final = 20  # more, for how it is entered
_FEW: Final = 4  # numbers compared one by one; more are looked up in a bit map
_X86_USER32_CS: Final = 0x23  # of a process in 32-bit mode, whose numbers mean other calls


class _Group:
    """Probes that share a handler: number of the call -> probe; ``other`` takes any call."""

    __slots__ = ("alone", "event", "numbers", "other", "probe")

    def __init__(self, probe: Probe, event: SyscallEvent) -> None:
        self.probe = probe
        self.event = event
        self.numbers: dict[int, int] = {}
        self.other = -1
        self.alone = False  # no other call gets here


def emit_dispatcher(unit: Unit, name: str, edge: str, indexes: list[int]) -> None:
    """Emit the program for entries or returns of system calls."""
    kind: ProgramKind = "sys_enter" if edge == "enter" else "sys_exit"
    groups = _group(unit, indexes)
    with unit.m.function(name, "i64", [("ptr", "event")]) as b:
        event = Event(kind, b, b.args[0])
        number = event.value("sysnr", 0)
        wanted = {n for g in groups for n in g.numbers}
        if all(g.other < 0 for g in groups):
            with b.if_(_among(b, number, wanted) ^ 1):
                b.ret(0)
        with b.if_(event.register(X86_CS).eq(_X86_USER32_CS)):
            b.ret(0)
        check_running(unit, b)
        if len(groups) == 1:
            groups[0].alone = True
        parts = _parts(unit, groups)
        for part in parts:
            if len(parts) == 1:
                _emit_groups(unit, b, kind, part, number)
            else:
                b.call(_part_function(unit, kind, part), b.args[0], number)
        b.ret(0)


def _parts(unit: Unit, groups: list[_Group]) -> list[list[_Group]]:
    """The groups, divided where they are too much for one function (see :mod:`parts`)."""
    found: list[list[_Group]] = [[]]
    size = 0
    for group in groups:
        more = _ENTRY + unit.analysis.facts(unit.module.handlers[group.probe.handler]).size
        if found[-1] and size + more > _PART:
            found.append([])
            size = 0
        found[-1].append(group)
        size += more
    return found


def _part_function(unit: Unit, kind: ProgramKind, part: list[_Group]) -> str:
    def make(b: FunctionBuilder) -> None:
        _emit_groups(unit, b, kind, part, b.args[1])
        b.ret(0)

    return unit.subroutine(unit.fresh("calls"), [("ptr", "event"), ("i64", "number")], make)


def _emit_groups(
    unit: Unit, b: FunctionBuilder, kind: ProgramKind, groups: list[_Group], number: Value
) -> None:
    for group in groups:
        _emit_group(unit, b, kind, group, number)


def _group(unit: Unit, indexes: list[int]) -> list[_Group]:
    """Handlers in the order of their first probes.

    A second probe for the same call and handler makes a group of its own: both are hit.
    """
    groups: list[_Group] = []
    for index in indexes:
        probe = unit.module.probes[index]
        assert isinstance(probe.attach, SyscallEvent)
        group = _fitting(groups, probe, probe.attach)
        if probe.attach.numbers:
            group.numbers.update(dict.fromkeys(probe.attach.numbers, index))
        else:
            group.other = index
    return groups


def _fitting(groups: list[_Group], probe: Probe, attach: SyscallEvent) -> _Group:
    for group in groups:
        same = (group.probe.handler, group.probe.condition) == (probe.handler, probe.condition)
        same = same and group.event.who == attach.who
        free = group.other < 0 and (attach.numbers or not group.numbers)
        if same and free and not group.numbers.keys() & set(attach.numbers):
            return group
    groups.append(_Group(probe, attach))
    return groups[-1]


def _emit_group(
    unit: Unit, b: FunctionBuilder, kind: ProgramKind, group: _Group, number: Value
) -> None:
    level = level_of(group.probe.attach)

    def run() -> None:
        probe = _probe_index(b, group, number)
        fits = _fits_process(unit, b, group.event)
        with b.if_(fits) if fits is not None else nullcontext():
            emit_handler(unit, b, kind, b.args[0], group.probe, probe, level)

    if group.other >= 0 or group.alone:
        run()
        return
    with b.if_(_among(b, number, set(group.numbers))):
        run()


def _fits_process(unit: Unit, b: FunctionBuilder, event: SyscallEvent) -> Value | None:
    """``i1``: the call is one of a process that counts; None when all do."""
    if event.path:
        return process_table.runs_program(unit, b, event.path).ne(0)
    if not (event.pid or event.target_only):
        return None
    tgid = b.helper(helpers.GET_CURRENT_PID_TGID, "i64") >> 32
    if event.pid:
        return tgid.eq(event.pid)
    return process_table.belongs_to_target(unit, b, tgid).ne(0)


def _probe_index(b: FunctionBuilder, group: _Group, number: Value) -> Value:
    """Which probe a call hits, by its number."""
    probes = set(group.numbers.values())
    if group.other >= 0:
        return b.const("i64", group.other)
    if len(probes) == 1:
        return b.const("i64", probes.pop())
    table = bytearray(4 * _NUMBERS)
    for nr, index in group.numbers.items():
        table[4 * nr : 4 * nr + 4] = index.to_bytes(4, "little")
    row = b.barrier(number) & (_NUMBERS - 1)
    return b.load("i32", b.at(b.data(bytes(table)), 0, row, scale=4)).zext("i64")


def _among(b: FunctionBuilder, number: Value, wanted: set[int]) -> Value:
    """``i1``: a number is one of some numbers."""
    if len(wanted) <= _FEW:
        found = b.const("i1", 0)
        for nr in sorted(wanted):
            found = found | number.eq(nr)
        return found
    bits = bytearray(_NUMBERS // 8)
    for nr in wanted:
        bits[nr >> 3] |= 1 << (nr & 7)
    bit = b.barrier(number) & (_NUMBERS - 1)
    word = b.load("i64", b.at(b.data(bytes(bits)), 0, bit >> 6, scale=8))
    return b.both(number.ult(_NUMBERS), ((word >> (bit & 63)) & 1).ne(0))
