"""Functions that tracepoints call, system calls among them, and the rows that name them."""

from __future__ import annotations

from pystap.backend.kmod.attach_kernel import counter_probes
from pystap.backend.kmod.writer import quoted
from pystap.probes.attach import SyscallEvent, Tracepoint
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.kmod.attach_users import Files
    from pystap.ir.module import Module

_LAST: Final = 0xFFFF  # behind a list of probes


def points(module: Module, files: Files) -> tuple[list[str], list[str]]:
    """Lines for file scope, and the rows of tracepoints."""
    lines, rows = _tracepoints(module)
    counters = counter_probes(module)
    if counters:
        rows.append(_row(counters[0][0], "sched_switch", "stap_counters_switch"))
    for edge in ("enter", "exit"):
        calls = {i: p.attach for i, p in enumerate(module.probes)
                 if isinstance(p.attach, SyscallEvent) and p.attach.edge == edge}  # fmt: skip
        if calls:
            lines += _system_calls(edge, calls, files)
            rows.append(_row(min(calls), f"sys_{edge}", f"stap_calls_{edge}"))
    return lines, rows


def _row(probe: int, name: str, function: str, module: str = "") -> str:
    place = f", .module = {quoted(module)}" if module else ""
    return f"\t{{ .probe = {probe}, .name = {quoted(name)}, .function = {function}{place} }},"


def _tracepoints(module: Module) -> tuple[list[str], list[str]]:
    by_point: dict[tuple[str, str, int], list[int]] = {}
    for index, probe in enumerate(module.probes):
        if isinstance(probe.attach, Tracepoint):
            key = (probe.attach.module, probe.attach.name, probe.attach.arguments)
            by_point.setdefault(key, []).append(index)
    lines, rows = [], []
    for (module_name, name, count), indexes in by_point.items():
        function = f"stap_point_{module_name}_{name}" if module_name else f"stap_point_{name}"
        params = "".join(f", u64 a{i}" for i in range(count))
        values = ", ".join(f"a{i}" for i in range(count)) or "0"
        lines += [
            f"static void {function}(void *data{params})", "{",
            f"\tu64 args[] = {{ {values} }};",
            "\tstruct stap_event event = { .args = args, .has_stack = true };", "",
            *[f"\tstap_probe_hit({index}, &event);" for index in indexes], "}", "",
        ]  # fmt: skip
        rows.append(_row(indexes[0], name, function, module_name))
    return lines, rows


def _system_calls(edge: str, calls: dict[int, SyscallEvent], files: Files) -> list[str]:
    """What finds the probes of a call by its number, and the function for the tracepoint."""
    everywhere = [index for index, call in calls.items() if not call.numbers]
    by_number: dict[int, list[int]] = {}
    for number in sorted({n for call in calls.values() for n in call.numbers}):
        by_number[number] = [i for i, c in calls.items() if not c.numbers or number in c.numbers]
    lists = {tuple(everywhere): 0}
    for found in by_number.values():
        lists.setdefault(tuple(found), len(lists))
    lines = []
    for indexes, name in lists.items():
        words = ", ".join(str(index) for index in (*indexes, _LAST))
        lines.append(f"static const u16 stap_calls_{edge}_{name}[] = {{ {words} }};")
    whos = [f"\t[{i}] = {files.who(*c.who)}," for i, c in calls.items() if any(c.who)]
    if whos:
        lines += [f"static struct stap_who stap_calls_{edge}_who[{max(calls) + 1}] = {{",
                  *whos, "};"]  # fmt: skip
    cases = [
        f"\tcase {number}: return stap_calls_{edge}_{lists[tuple(found)]};"
        for number, found in by_number.items()
    ]
    return [
        *lines, "", f"static const u16 *stap_calls_{edge}_of(long number)", "{",
        "\tswitch (number) {", *cases, "\t}", f"\treturn stap_calls_{edge}_0;", "}", "",
        *_function(edge, bool(whos)),
    ]  # fmt: skip


def _function(edge: str, chosen: bool) -> list[str]:
    """The function for the tracepoint."""
    condition = f"\t\tif (stap_who_fits(&stap_calls_{edge}_who[*probe]))"
    number, result = ("value", "0") if edge == "enter" else ("regs->orig_ax", "value")
    return [
        f"static void stap_calls_{edge}(void *data, struct pt_regs *regs, long value)", "{",
        f"\tconst u16 *probe = stap_calls_{edge}_of({number});",
        "\tu64 args[6];", "\tstruct stap_event event;", "",
        f"\tif (*probe == {_LAST})", "\t\treturn;",
        f"\tstap_syscall_event(&event, args, regs, {number}, {result});",
        f"\tfor (; *probe != {_LAST}; probe++)", *([condition] if chosen else []),
        f"{chr(9) * (3 if chosen else 2)}stap_probe_hit(*probe, &event);", "}", "",
    ]  # fmt: skip
