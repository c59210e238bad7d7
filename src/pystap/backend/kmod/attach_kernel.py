"""Rows for timers, perf events, functions, memory and packets of the kernel."""

from __future__ import annotations

from pystap.backend.kmod.writer import quoted
from pystap.probes.attach import (
    KernelFunction,
    NetfilterHook,
    PerfEvent,
    Profile,
    Timer,
    Watchpoint,
)
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.kmod.attach_users import Files
    from pystap.ir.module import Module

_DATA: Final = -2  # in place of an instance: the symbol is no function
_ANCHORED: Final = -3  # or is only near it


def timers(module: Module) -> list[str]:
    """Rows for timers."""
    return [
        f"\t{{ .probe = {i}, .period = {p.attach.period_ns}ull, "
        f".randomize = {p.attach.randomize_ns}ull }},"
        for i, p in enumerate(module.probes)
        if isinstance(p.attach, Timer)
    ]


def perf_events(module: Module, files: Files) -> list[str]:
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
            case PerfEvent(counter="") as event:
                rows.append(
                    f"\t{{ .probe = {index}, .type = {event.type}, "
                    f".config = {event.config:#x}ull, .period = {event.period}ull, "
                    f".frequency = {event.hz}{_chosen(event, files)} }},"
                )
    return rows


def counter_probes(module: Module) -> list[tuple[int, PerfEvent]]:
    """Probes that are counters, with their indexes; @perf tells them by their number here."""
    return [
        (index, probe.attach)
        for index, probe in enumerate(module.probes)
        if isinstance(probe.attach, PerfEvent) and probe.attach.counter
    ]


def counter_index(module: Module, name: str) -> int:
    """The number of the counter of a name."""
    return [event.counter for _, event in counter_probes(module)].index(name)


def counters(module: Module) -> list[str]:
    """Rows for counters."""
    return [
        f"\t{{ .probe = {index}, .type = {event.type}, .config = {event.config:#x}ull }},"
        for index, event in counter_probes(module)
    ]


def _chosen(event: PerfEvent, files: Files) -> str:
    """The members that say whose samples count; empty when all do."""
    if not (event.path or event.target_only):
        return ""
    who = files.who(event.path, 0, event.target_only)
    return f", .fits = stap_who_fits, .who = &(struct stap_who){who}"


def functions(module: Module, returns: bool) -> list[str]:
    """Rows for entries or returns of functions of the kernel, and instructions within."""
    rows = []
    for index, probe in enumerate(module.probes):
        at = probe.attach
        if not isinstance(at, KernelFunction) or at.is_return != returns:
            continue
        symbol, instance = (at.anchor, _ANCHORED) if at.anchor else (at.symbol, at.instance)
        name = f"{at.module}:{symbol}" if at.module else symbol
        rows.append(
            f"\t{{ .probe = {index}, .place = {_place(name, instance, at.address)}, "
            f".apart = {at.apart}, "
            f".later = {'true' if at.later else 'false'}, .offset = {at.offset}, "
            f".maxactive = {at.maxactive} }},"
        )
    return rows


def follower(module: Module) -> list[str]:
    """What follows modules of the kernel that come and go; none without probes in any."""
    in_modules = {p.attach.is_return for p in module.probes
                  if isinstance(p.attach, KernelFunction) and p.attach.module}  # fmt: skip
    if not in_modules:
        return []
    tables = (("stap_entry_probes", False), ("stap_exit_probes", True))
    calls = [
        f"\t\tstap_probes_missed += stap_functions_follow({name}, ARRAY_SIZE({name}), "
        f"{'true' if returns else 'false'}, module->name, comes);"
        for name, returns in tables
        if returns in in_modules
    ]
    return [
        "static int stap_modules_change(struct notifier_block *self, unsigned long state,",
        "\t\t\t       void *data)", "{", "\tstruct module *module = data;",
        "\tbool comes = state == MODULE_STATE_COMING;", "",
        "\tif (comes || state == MODULE_STATE_GOING) {", *calls, "\t}", "\treturn 0;", "}", "",
        "static struct notifier_block stap_modules = {",
        "\t.notifier_call = stap_modules_change,", "};", "",
    ]  # fmt: skip


def watchpoints(module: Module, files: Files) -> list[str]:
    """Rows for watched memory."""
    rows = []
    for index, probe in enumerate(module.probes):
        at = probe.attach
        if isinstance(at, Watchpoint):
            reads = "true" if at.access == "rw" else "false"
            rows.append(
                f"\t{{ .probe = {index}, .place = {_place(at.symbol, _DATA, at.address)}, "
                f".length = {at.length}, .reads = {reads}, "
                f".who = {files.who('', 0, at.target_only)} }},"
            )
    return rows


def hooks(module: Module) -> list[str]:
    """Rows for places that packets come by."""
    return [
        f"\t{{ .probe = {i}, .family = {p.attach.family}, .number = {p.attach.hook}, "
        f".priority = ({p.attach.priority}) }},"
        for i, p in enumerate(module.probes)
        if isinstance(p.attach, NetfilterHook)
    ]


def places(module: Module, prefix: str) -> list[str]:
    """The declaration of the places that the session's process has to find."""
    wanted: list[str] = []
    counts: dict[str, int] = {}
    for probe in module.probes:
        at = probe.attach
        if isinstance(at, KernelFunction):
            table = "exit" if at.is_return else "entry"
            find = at.instance >= 0 and not at.address and not at.anchor
        elif isinstance(at, Watchpoint):
            table, find = "watch", bool(at.symbol)
        else:
            continue
        number = counts.get(table, 0)
        counts[table] = number + 1
        if find:
            wanted.append(f"&stap_{table}_probes[{number}].place")
    words = ", ".join([*wanted, "NULL"])
    return [f"static struct stap_place *const {prefix}places[] = {{ {words} }};"]


def _place(symbol: str, instance: int, address: int) -> str:
    return f"{{ {quoted(symbol)}, {instance}, {address:#x}ull }}"
