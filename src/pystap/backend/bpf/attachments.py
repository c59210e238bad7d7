"""Which programs there are: probes grouped by how they attach."""

from __future__ import annotations

from pystap.backend.bpf import dispatch, helpers, process_events, process_table
from pystap.backend.bpf.context_values import ProgramKind
from pystap.backend.bpf.facts import CompileError
from pystap.backend.bpf.levels import SLOW_TIMER_NS, level_of
from pystap.backend.bpf.programs import PROBE_INDEX_CALL, check_running, emit_handler
from pystap.probes.attach import (
    KernelFunction,
    LsmHook,
    NetfilterHook,
    PerfEvent,
    ProcessEvent,
    ProcFile,
    Profile,
    SessionEvent,
    SyscallEvent,
    Timer,
    Tracepoint,
    Uprobe,
    Watchpoint,
    counter_of,
    of_target,
)
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder
    from pystap.ir.module import Probe

_PERF_EVENT, _TRACING, _SYSCALL = 7, 26, 31
_LSM: Final = 29
_TRACE_RAW_TP: Final = 23
_TRACE_FENTRY: Final = 24
_LSM_MAC: Final = 27
_TRACE_ITER: Final = 28


class Entry(NamedTuple):
    """A program to be made of the function ``function``.

    ``probe`` is the index put in where the code asks for it (-1: nowhere).
    """

    function: str
    type: int
    attach: str
    probes: tuple[int, ...]
    probe: int = -1
    expected_attach: int = 0
    target: str = ""
    btf_id: int = 0
    btf_module: str = ""
    sleepable: bool = False


def emit_programs(unit: Unit) -> list[Entry]:
    """Emit the code of all probes of the module.

    Raises :class:`CompileError` for a probe that cannot be attached.
    """
    entries: list[Entry] = []
    uprobes: dict[tuple[int, int, bool, int, bool, str], list[int]] = {}
    paired = {index for pair in unit.paired for index in pair}
    for index, probe in enumerate(unit.module.probes):
        match probe.attach:
            case SessionEvent("never"):
                pass
            case SessionEvent():
                entries.append(_session(unit, index, probe, check=False))
            case ProcFile():
                entries.append(_session(unit, index, probe, check=True))
            case Timer(period) if period >= SLOW_TIMER_NS:
                entries.append(_session(unit, index, probe, check=True))
            case Timer():
                entries.append(_perf(unit, index, probe, "timer"))
            case Profile():
                entries.append(_perf(unit, index, probe, "profile"))
            case PerfEvent(counter=counter) if counter:
                pass
            case PerfEvent():
                entries.append(_perf(unit, index, probe, "perf"))
            case Watchpoint():
                entries.append(_perf(unit, index, probe, "watchpoint"))
            case LsmHook():
                entries.append(_hook(unit, index, probe))
            case NetfilterHook():
                function = shared_function(unit, "fentry", index, probe, check=True)
                entries.append(
                    Entry(function, _TRACING, "netfilter", (index,), index, _TRACE_FENTRY)
                )
            case Tracepoint():
                entries.append(_tracepoint(unit, index, probe))
            case Uprobe() if index in paired:
                pass  # likewise
            case Uprobe(is_return=is_return, pid=pid, target_only=target, program=program):
                key = (probe.handler, probe.condition, is_return, pid, target, program)
                uprobes.setdefault(key, []).append(index)
            case SyscallEvent() | ProcessEvent() | KernelFunction():
                pass  # below, those that share a program together
    if any(isinstance(probe.attach, KernelFunction) for probe in unit.module.probes):
        from pystap.backend.bpf.kernel_functions import emit_kernel_functions

        entries += emit_kernel_functions(unit)
    entries += _uprobes(unit, list(uprobes.values()))
    for edge in ("enter", "exit"):
        calls = [
            i
            for i, p in enumerate(unit.module.probes)
            if isinstance(p.attach, SyscallEvent) and p.attach.edge == edge
        ]
        if calls:
            entries.append(_system_calls(unit, edge, calls))
    entries += _processes(unit)
    if any(counter_of(probe.attach) for probe in unit.module.probes):
        entries.append(_accounting(unit))
    _check_all_served(unit, entries)
    if unit.user_parts:
        from pystap.backend.bpf.user_objects import emit_identify

        identify = Entry(emit_identify(unit), _SYSCALL, "identify", (0,), sleepable=True)
        entries.append(identify)
    return entries


def _check_all_served(unit: Unit, entries: list[Entry]) -> None:
    """A probe that no program serves would be silently without effect."""
    served = {index for entry in entries for index in entry.probes}
    for index, probe in enumerate(unit.module.probes):
        if index not in served and probe.attach != SessionEvent("never"):
            kind = type(probe.attach).__name__
            raise CompileError(f"the bpf runtime cannot attach {probe.point} ({kind})")


def shared_function(
    unit: Unit, kind: ProgramKind, index: int, probe: Probe, *, check: bool
) -> str:
    """The function of a handler for a kind of program, its probe to be put in later.

    With ``check`` it does nothing unless the session runs.
    """
    level = level_of(probe.attach)
    key = (kind, probe.handler, probe.condition, level, check)
    found = unit.entries.get(key)
    if found is None:
        found = unit.entries[key] = f"probe.{index}"
        with unit.m.function(found, "i64", [("ptr", "event")]) as b:
            if check:
                check_running(unit, b)
            number = b.helper(PROBE_INDEX_CALL, "i64")
            b.ret(emit_handler(unit, b, kind, b.args[0], probe, number, level))
    return found


def _session(unit: Unit, index: int, probe: Probe, *, check: bool) -> Entry:
    if isinstance(probe.attach, ProcFile):
        from pystap.backend.bpf.intrinsics.files import file_map

        file_map(unit)  # the session uses it even if the handler does not
    function = shared_function(unit, "session", index, probe, check=check)
    return Entry(function, _SYSCALL, "session", (index,), index, sleepable=True)


def _accounting(unit: Unit) -> Entry:
    """The program that tells apart what counters count in each task."""
    from pystap.backend.bpf.intrinsics.counters import counter_probes, emit_accounting

    emit_accounting(unit, "accounting")
    found = unit.facts.tracepoint("sched_switch").btf_id
    return Entry(
        "accounting", _TRACING, "tp_btf", tuple(counter_probes(unit)), -1, _TRACE_RAW_TP,
        "sched_switch", found,
    )  # fmt: skip


def _perf(unit: Unit, index: int, probe: Probe, attach: str) -> Entry:
    where = probe.attach
    path = where.path if isinstance(where, PerfEvent) else ""
    if path or of_target(where):
        function = f"probe.{index}"
        with unit.m.function(function, "i64", [("ptr", "event")]) as b:
            check_running(unit, b)
            check_process(unit, b, path, target_only=of_target(where))
            number = b.helper(PROBE_INDEX_CALL, "i64")
            emit_handler(unit, b, "perf", b.args[0], probe, number, level_of(where))
            b.ret(0)
    else:
        function = shared_function(unit, "perf", index, probe, check=True)
    return Entry(function, _PERF_EVENT, attach, (index,), index)


def _tracepoint(unit: Unit, index: int, probe: Probe) -> Entry:
    where = probe.attach
    assert isinstance(where, Tracepoint)
    found = unit.facts.tracepoint(where.name)
    function = shared_function(unit, "tp_btf", index, probe, check=True)
    return Entry(
        function, _TRACING, "tp_btf", (index,), index, _TRACE_RAW_TP, where.name,
        found.btf_id, found.module,
    )  # fmt: skip


def _hook(unit: Unit, index: int, probe: Probe) -> Entry:
    """A program on a security hook; while it does not run it gives 0, which lets all pass."""
    where = probe.attach
    assert isinstance(where, LsmHook)
    function = shared_function(unit, "tp_btf", index, probe, check=True)
    found = unit.facts.hook(where.name).btf_id
    return Entry(function, _LSM, "lsm", (index,), index, _LSM_MAC, where.name, found)


def _uprobes(unit: Unit, groups: list[list[int]]) -> list[Entry]:
    if not groups and not unit.paired:
        return []
    from pystap.backend.bpf.user_places import tell_mechanisms

    entries = [_uprobe(unit, indexes) for indexes in groups]
    if unit.paired:
        from pystap.backend.bpf.uprobe_programs import session_entries

        entries += session_entries(unit)
    tell_mechanisms(unit, entries)
    return entries


def _uprobe(unit: Unit, indexes: list[int]) -> Entry:
    from pystap.backend.bpf.user_places import uprobe_entry

    probe = unit.module.probes[indexes[0]]
    assert isinstance(probe.attach, Uprobe)
    kind: ProgramKind = "uretprobe" if probe.attach.is_return else "uprobe"
    name = f"probe.{indexes[0]}"
    with unit.m.function(name, "i64", [("ptr", "event")]) as b:
        check_running(unit, b)
        where = probe.attach
        check_process(unit, b, where.program, where.pid, where.target_only)
        number = b.helper(helpers.GET_ATTACH_COOKIE, "i64", b.args[0], pure=True)
        emit_handler(unit, b, kind, b.args[0], probe, number, level_of(probe.attach))
        b.ret(0)
    return uprobe_entry(unit, name, indexes)


def check_process(
    unit: Unit, b: FunctionBuilder, program: str, pid: int = 0, target_only: bool = False
) -> None:
    """Emit the end of the program unless the probe is about the current process.

    The kernel goes by memory, which a process may share with one it has just started.
    """
    if program:
        with b.if_(process_table.runs_program(unit, b, program).eq(0)):
            b.ret(0)
    if not (pid or target_only):
        return
    tgid = b.helper(helpers.GET_CURRENT_PID_TGID, "i64") >> 32
    if pid:
        with b.if_(tgid.ne(pid)):
            b.ret(0)
    if target_only:
        with b.if_(process_table.belongs_to_target(unit, b, tgid).eq(0)):
            b.ret(0)


def _processes(unit: Unit) -> list[Entry]:
    """Programs that follow processes, the one that looks for those there are last."""
    probes = [
        i
        for i, p in enumerate(unit.module.probes)
        if isinstance(p.attach, ProcessEvent) or of_target(p.attach)
    ]
    entries = []
    for function, target in process_events.emit_process_programs(unit):
        served = tuple(probes) or (0,)
        if target == process_events.TASK_ITERATOR:
            found = unit.facts.function(target)
            entry = Entry(function, _TRACING, "iterator", served, -1, _TRACE_ITER, target, found)
        else:
            found = unit.facts.tracepoint(target).btf_id
            entry = Entry(function, _TRACING, "tp_btf", served, -1, _TRACE_RAW_TP, target, found)
        entries.append(entry)
    return entries


def _system_calls(unit: Unit, edge: str, indexes: list[int]) -> Entry:
    name = f"sys_{edge}"
    dispatch.emit_dispatcher(unit, name, edge, indexes)
    found = unit.facts.tracepoint(name)
    return Entry(name, _TRACING, "tp_btf", tuple(indexes), -1, _TRACE_RAW_TP, name, found.btf_id)
