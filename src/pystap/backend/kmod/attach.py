"""Where probes attach, as tables and functions of the module."""

from __future__ import annotations

from pystap.backend.kmod.attach_kernel import function_tables, functions, perf_events, timers
from pystap.backend.kmod.attach_points import points
from pystap.backend.kmod.attach_users import Files, processes, uprobes
from pystap.probes.attach import (
    Attach,
    KernelFunction,
    PerfEvent,
    ProcessEvent,
    Profile,
    SessionEvent,
    SyscallEvent,
    Timer,
    Tracepoint,
    Uprobe,
)
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.ir.module import Module

_SERVED: Final = (
    SessionEvent,
    Timer,
    Profile,
    PerfEvent,
    Tracepoint,
    SyscallEvent,
    KernelFunction,
    Uprobe,
    ProcessEvent,
)


class _Table(NamedTuple):
    """An array of probes of a kind, and the calls that start and stop them all."""

    kind: str
    rows: list[str]
    start: str
    stop: str


def unserved(attach: Attach) -> bool:
    """Whether this runtime has no way to attach a probe."""
    return not isinstance(attach, _SERVED)


def attachments(module: Module, prefix: str) -> list[str]:
    """Lines for the tables, the functions of tracepoints, and what starts and stops them all."""
    files = Files()
    declared, point_rows = points(module, files)
    uprobe_rows = uprobes(module, files)
    process_lines = processes(module, files)
    tables = [
        _table("timer", timers(module), "stap_timers"),
        _table("perf", perf_events(module), "stap_perf"),
        _table("entry", functions(module, False), "stap_functions", "false"),
        _table("exit", functions(module, True), "stap_functions", "true"),
        _table("point", point_rows, "stap_tracepoints"),
        _table("uprobe", uprobe_rows, "stap_uprobes"),
    ]
    lines = [*files.declare(), *declared]
    if uprobe_rows:
        lines.append('#include "kernel_uprobes.h"')
    used = [table for table in tables if table.rows]
    for table in used:
        lines += [f"static struct {table.kind}_probes[] = {{", *table.rows, "};"]
    starts, stops = [table.start for table in used], [table.stop for table in used]
    if process_lines:
        lines += process_lines
        starts.append("stap_processes_start()")
        stops.append("stap_processes_stop()")
    return [
        *lines, *function_tables(module, prefix), "", *_start(starts, prefix), "",
        *_stop(stops[::-1] + files.drops(), prefix),
    ]  # fmt: skip


def _table(kind: str, rows: list[str], calls: str, *more: str) -> _Table:
    kinds = {
        "entry": "function_probe", "exit": "function_probe", "point": "tracepoint_probe",
        "uprobe": "uprobe",
    }  # fmt: skip
    name = f"stap_{kind}_probes"
    words = ", ".join([name, f"ARRAY_SIZE({name})", *more])
    missed = "stap_probes_missed += " if more else ""
    return _Table(
        f"stap_{kinds.get(kind, kind + '_probe')} stap_{kind}", rows,
        f"{calls}_start({words})", f"{missed}{calls}_stop({words})",
    )  # fmt: skip


def _start(calls: list[str], prefix: str) -> list[str]:
    lines = [f"static int {prefix}attach(void)", "{", "\tint error = 0;", ""]
    for call in calls:
        lines += ["\tif (!error)", f"\t\terror = {call};"]
    return [*lines, "\treturn error;", "}"]


def _stop(calls: list[str], prefix: str) -> list[str]:
    return [f"static void {prefix}detach(void)", "{", *[f"\t{call};" for call in calls], "}"]
