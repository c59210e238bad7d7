"""Where probes attach, as tables and functions of the module."""

from __future__ import annotations

from pystap.backend.kmod.attach_files import proc_files
from pystap.backend.kmod.attach_kernel import (
    counters,
    follower,
    functions,
    hooks,
    perf_events,
    places,
    timers,
    watchpoints,
)
from pystap.backend.kmod.attach_points import points
from pystap.backend.kmod.attach_users import Files, processes, uprobes
from pystap.probes.attach import (
    Attach,
    KernelFunction,
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
    ProcFile,
    Watchpoint,
    NetfilterHook,
)


class _Table(NamedTuple):
    """An array of probes of a kind, and the calls that start and stop them all."""

    kind: str
    header: str  # of the runtime, when it is not always there
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
    process_lines = processes(module, files)
    tables = [
        _table("timer", timers(module), "stap_timers"),
        _table("counter", counters(module), "stap_counters"),
        _table("perf", perf_events(module, files), "stap_perf"),
        _table("entry", functions(module, False), "stap_functions", "false"),
        _table("exit", functions(module, True), "stap_functions", "true"),
        _table("watch", watchpoints(module, files), "stap_watches"),
        _table("hook", hooks(module), "stap_hooks"),
        _table("point", point_rows, "stap_tracepoints"),
        _table("uprobe", uprobes(module, files), "stap_uprobes"),
    ]
    used = [table for table in tables if table.rows]
    lines = [*files.declare(), *declared]
    for table in used:
        lines += [f'#include "{table.header}"'] if table.header else []
        lines += [f"static struct {table.kind}_probes[] = {{", *table.rows, "};"]
    file_lines, make_files = proc_files(module)
    follows = follower(module)
    lines += [*process_lines, *file_lines, *follows]
    starts, stops = [table.start for table in used], [table.stop for table in used]
    if follows:
        starts.append("register_module_notifier(&stap_modules)")
        stops.append("unregister_module_notifier(&stap_modules)")
    if process_lines:
        starts.append("stap_processes_start()")
        stops.append("stap_processes_stop()")
    if make_files:
        starts.append(make_files)
        stops.append("stap_procfs_stop()")
    return [
        *lines, *places(module, prefix), "", *_start(files.holds(), starts, prefix), "",
        *_stop(stops[::-1] + files.drops(), prefix),
    ]  # fmt: skip


_STRUCTURES: Final = {
    "timer": "timer_probe", "perf": "perf_probe", "entry": "function_probe",
    "exit": "function_probe", "point": "tracepoint_probe",
}  # fmt: skip
_HEADERS: Final = {
    "watch": "kernel_watch.h", "hook": "kernel_netfilter.h", "uprobe": "kernel_uprobes.h",
}  # fmt: skip


def _table(kind: str, rows: list[str], calls: str, *more: str) -> _Table:
    name = f"stap_{kind}_probes"
    words = ", ".join([name, f"ARRAY_SIZE({name})", *more])
    missed = "stap_probes_missed += " if more else ""
    return _Table(
        f"stap_{_STRUCTURES.get(kind, kind)} stap_{kind}", _HEADERS.get(kind, ""), rows,
        f"{calls}_start({words})", f"{missed}{calls}_stop({words})",
    )  # fmt: skip


def _start(first: list[str], calls: list[str], prefix: str) -> list[str]:
    lines = [f"static int {prefix}attach(void)", "{", "\tint error = 0;", ""]
    lines += [f"\t{call};" for call in first]
    for call in calls:
        lines += ["\tif (!error)", f"\t\terror = {call};"]
    return [*lines, "\treturn error;", "}"]


def _stop(calls: list[str], prefix: str) -> list[str]:
    return [f"static void {prefix}detach(void)", "{", *[f"\t{call};" for call in calls], "}"]
