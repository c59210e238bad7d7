"""Rows for timers, perf events and functions of the kernel."""

from __future__ import annotations

from pystap.backend.kmod.writer import quoted
from pystap.probes.attach import KernelFunction, PerfEvent, Profile, Timer
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.ir.module import Module


def timers(module: Module) -> list[str]:
    """Rows for timers."""
    return [
        f"\t{{ .probe = {i}, .period = {p.attach.period_ns}ull, "
        f".randomize = {p.attach.randomize_ns}ull }},"
        for i, p in enumerate(module.probes)
        if isinstance(p.attach, Timer)
    ]


def perf_events(module: Module) -> list[str]:
    """Rows for perf events, the profile timer among them."""
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


def functions(module: Module, returns: bool) -> list[str]:
    """Rows for entries or returns of functions of the kernel, and instructions within."""
    rows = []
    for index, probe in enumerate(module.probes):
        at = probe.attach
        if not isinstance(at, KernelFunction) or at.is_return != returns:
            continue
        name = f"{at.module}:{at.symbol}" if at.module else at.symbol
        where = f".address = {at.address:#x}ull" if at.address else f".symbol = {quoted(name)}"
        rows.append(
            f"\t{{ .probe = {index}, {where}, .instance = {at.instance}, .offset = {at.offset}, "
            f".maxactive = {at.maxactive} }},"
        )
    return rows


def function_tables(module: Module, prefix: str) -> list[str]:
    """The declaration of the tables of functions, which the session's process may have to find."""
    tables = []
    for name, returns in (("stap_entry_probes", False), ("stap_exit_probes", True)):
        if functions(module, returns):
            tables.append(f"{{ {name}, ARRAY_SIZE({name}) }}")
    return [
        f"static const struct stap_function_table {prefix}function_tables[] = "
        f"{{ {', '.join([*tables, '{ NULL, 0 }'])} }};"
    ]
