"""Where probes attach, as tables and functions of the module."""

from __future__ import annotations

from pystap.backend.kmod.writer import quoted
from pystap.ir.module import Module
from pystap.probes.attach import (
    Attach,
    KernelFunction,
    PerfEvent,
    Profile,
    SessionEvent,
    SyscallEvent,
    Timer,
    Tracepoint,
)
from pystap.typing import Final, NamedTuple

_SERVED: Final = (
    SessionEvent,
    Timer,
    Profile,
    PerfEvent,
    Tracepoint,
    SyscallEvent,
    KernelFunction,
)


class _Table(NamedTuple):
    """An array of probes of a kind and what starts and stops it."""

    kind: str
    name: str
    rows: list[str]
    start: str
    stop: str


def unserved(attach: Attach) -> bool:
    """Whether this runtime has no way to attach a probe."""
    if isinstance(attach, SyscallEvent) and any(attach.who):
        return True
    return not isinstance(attach, _SERVED)


def attachments(module: Module, prefix: str) -> list[str]:
    """Lines for the tables, the functions of tracepoints, and what starts and stops them all."""
    functions, points = _tracepoints(module)
    entries, exits = _functions(module, False), _functions(module, True)
    tables = [
        _Table(
            "stap_timer_probe",
            "stap_timer_probes",
            _timers(module),
            "stap_timers_start",
            "stap_timers_stop",
        ),
        _Table(
            "stap_perf_probe",
            "stap_perf_probes",
            _perf_events(module),
            "stap_perf_start",
            "stap_perf_stop",
        ),
        _Table(
            "stap_function_probe",
            "stap_entry_probes",
            entries,
            "stap_functions_start",
            "stap_functions_stop",
        ),
        _Table(
            "stap_function_probe",
            "stap_exit_probes",
            exits,
            "stap_functions_start",
            "stap_functions_stop",
        ),
        _Table(
            "stap_tracepoint_probe",
            "stap_point_probes",
            points,
            "stap_tracepoints_start",
            "stap_tracepoints_stop",
        ),
    ]
    used = [table for table in tables if table.rows]
    lines = list(functions)
    for table in used:
        lines += [f"static struct {table.kind} {table.name}[] = {{", *table.rows, "};"]
    return [*lines, "", *_start(used, prefix), "", *_stop(used, prefix)]


def _start(tables: list[_Table], prefix: str) -> list[str]:
    lines = [f"static int {prefix}attach(void)", "{", "\tint error = 0;", ""]
    for table in tables:
        lines += ["\tif (!error)", f"\t\terror = {table.start}({_arguments(table)});"]
    return [*lines, "\treturn error;", "}"]


def _stop(tables: list[_Table], prefix: str) -> list[str]:
    lines = [f"static void {prefix}detach(void)", "{"]
    for table in reversed(tables):
        counts = "stap_probes_missed += " if table.kind == "stap_function_probe" else ""
        lines.append(f"\t{counts}{table.stop}({_arguments(table)});")
    return [*lines, "}"]


def _arguments(table: _Table) -> str:
    words = [table.name, f"ARRAY_SIZE({table.name})"]
    if table.kind == "stap_function_probe":
        words.append("true" if table.name == "stap_exit_probes" else "false")
    return ", ".join(words)


def _timers(module: Module) -> list[str]:
    return [
        f"\t{{ .probe = {i}, .period = {p.attach.period_ns}ull, "
        f".randomize = {p.attach.randomize_ns}ull }},"
        for i, p in enumerate(module.probes)
        if isinstance(p.attach, Timer)
    ]


def _perf_events(module: Module) -> list[str]:
    rows = []
    for index, probe in enumerate(module.probes):
        match probe.attach:
            case Profile(hz):
                period = f"{10**9 // hz}ull" if hz else "1000000000ull / HZ"
                rows.append(
                    f"\t{{ .probe = {index}, .type = PERF_TYPE_SOFTWARE, "
                    f".config = PERF_COUNT_SW_CPU_CLOCK, .period = {period} }},"
                )
            case PerfEvent(kind, config, every, hz):
                rows.append(
                    f"\t{{ .probe = {index}, .type = {kind}, .config = {config:#x}ull, "
                    f".period = {every}ull, .frequency = {hz} }},"
                )
    return rows


def _functions(module: Module, returns: bool) -> list[str]:
    rows = []
    for index, probe in enumerate(module.probes):
        at = probe.attach
        if not isinstance(at, KernelFunction) or at.is_return != returns:
            continue
        name = f"{at.module}:{at.symbol}" if at.module else at.symbol
        where = f".address = {at.address:#x}ull" if at.address else f".symbol = {quoted(name)}"
        rows.append(
            f"\t{{ .probe = {index}, {where}, .offset = {at.offset}, "
            f".maxactive = {at.maxactive} }},"
        )
    return rows


def _tracepoints(module: Module) -> tuple[list[str], list[str]]:
    """The functions that tracepoints call, and the rows of their table."""
    by_point: dict[tuple[str, int], list[int]] = {}
    for index, probe in enumerate(module.probes):
        if isinstance(probe.attach, Tracepoint):
            key = (probe.attach.name, probe.attach.arguments)
            by_point.setdefault(key, []).append(index)
    functions, rows = [], []
    for (name, count), indexes in by_point.items():
        params = "".join(f", u64 a{i}" for i in range(count))
        values = ", ".join(f"a{i}" for i in range(count)) or "0"
        functions += [
            f"static void stap_point_{name}(void *data{params})", "{",
            f"\tu64 args[] = {{ {values} }};",
            "\tstruct stap_event event = { .args = args, .has_stack = true };", "",
            *[f"\tstap_probe_hit({index}, &event);" for index in indexes], "}", "",
        ]  # fmt: skip
        rows.append(_point_row(indexes[0], name, f"stap_point_{name}"))
    for edge, function in (("enter", "stap_syscalls_entered"), ("exit", "stap_syscalls_left")):
        found = _system_calls(module, edge)
        if found:
            functions += _system_call_function(edge, function, found)
            rows.append(_point_row(found[0][0], f"sys_{edge}", f"stap_calls_{edge}"))
    return functions, rows


def _point_row(probe: int, name: str, function: str) -> str:
    return f"\t{{ .probe = {probe}, .name = {quoted(name)}, .function = {function} }},"


def _system_calls(module: Module, edge: str) -> list[tuple[int, int]]:
    """Probe and number (-1: all) of the probes at one edge."""
    return [
        (index, number)
        for index, probe in enumerate(module.probes)
        if isinstance(probe.attach, SyscallEvent) and probe.attach.edge == edge
        for number in probe.attach.numbers or (-1,)
    ]


def _system_call_function(edge: str, function: str, found: list[tuple[int, int]]) -> list[str]:
    rows = ", ".join(f"{{ {probe}, {number} }}" for probe, number in found)
    return [
        f"static const struct stap_syscall_probe stap_calls_{edge}_probes[] = {{ {rows} }};", "",
        f"static void stap_calls_{edge}(void *data, struct pt_regs *regs, long value)", "{",
        f"\t{function}(stap_calls_{edge}_probes, {len(found)}, regs, value);", "}", "",
    ]  # fmt: skip
