"""``perf.type(N).config(N)`` and the names for the kernel's own event numbers.

Numbers are those of linux/perf_event.h (``PERF_TYPE_*``, ``PERF_COUNT_*``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from fnmatch import fnmatchcase

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.attach import PerfEvent
from pystap.probes.base import Match, NoContext, ProbeEnv
from pystap.probes.programs import find_programs
from pystap.probes.shapes import ShapeMatch, bad_point, component_tok, match_shapes, point_text
from pystap.typing import Final

_HARDWARE, _SOFTWARE, _HW_CACHE = 0, 1, 3

_SW: Final = (
    "cpu_clock", "task_clock", "page_faults", "context_switches", "cpu_migrations",
    "page_faults_min", "page_faults_maj", "alignment_faults", "emulation_faults",
)  # fmt: skip
_HW: Final = (
    "cpu_cycles", "instructions", "cache_references", "cache_misses", "branch_instructions",
    "branch_misses", "bus_cycles", "stalled_cycles_frontend", "stalled_cycles_backend",
    "ref_cpu_cycles",
)  # fmt: skip
_CACHES: Final[dict[str, tuple[str, ...]]] = {
    "l1d": ("read", "write", "prefetch"),
    "l1i": ("read", "prefetch"),
    "ll": ("read", "write", "prefetch"),
    "dtlb": ("read", "write", "prefetch"),
    "itlb": ("read",),
    "bpu": ("read",),
    "node": ("read", "write"),
}
_CACHE_OPS: Final = ("read", "write", "prefetch")
_CACHE_RESULTS: Final = ("access", "miss")

# Samples of an event are a million apart unless the probe point says otherwise.
DEFAULT_PERIOD: Final = 1_000_000
_MOST_HZ: Final = 100_000
_MAX_CONFIG: Final = (1 << 63) - 1

# Where the kernel lists what can count (one directory for each PMU, with its type number).
_PMUS: Final = "/sys/bus/event_source/devices"

_SAMPLES: Final = ("", ".sample(number)", ".hz(number)")
_TASKS: Final = ("", ".process", ".process(string)")
_SUFFIXES: Final = (
    *(sample + task for sample in _SAMPLES for task in _TASKS),
    *(f"{task}.counter(string)" for task in _TASKS),
)


def _names() -> dict[str, tuple[int, int]]:
    """Name after ``perf.`` -> type and config."""
    names = {f"sw.{name}": (_SOFTWARE, n) for n, name in enumerate(_SW)}
    names |= {f"hw.{name}": (_HARDWARE, n) for n, name in enumerate(_HW)}
    for cache, (unit, operations) in enumerate(_CACHES.items()):
        for op in operations:
            for result, result_name in enumerate(_CACHE_RESULTS):
                config = cache | _CACHE_OPS.index(op) << 8 | result << 16
                names[f"hw_cache.{unit}.{op}.{result_name}"] = (_HW_CACHE, config)
    return names


class PerfEvents:
    """Probe points on the kernel's performance events."""

    roots = ("perf",)

    def resolve(self, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
        """One match for each event; raises for events this machine cannot count."""
        names = _names()
        second = point.components[1].name if len(point.components) > 1 else "*"
        heads = [head for head in _heads(names) if fnmatchcase(head.split(".")[1], second)]
        found = match_shapes(point, _shapes(heads or _heads(names)))
        wild = len(found) > 1
        matches = []
        for shape in found:
            event = _event(shape, names, point)
            problem = _unavailable(event.type)
            if problem and not wild:
                raise bad_point(f"{point.text()}: {problem}", point.tok)
            if not problem:
                matches += _of_processes(shape, event, point, env)
        return matches

    def patterns(self) -> Iterable[str]:
        """The shapes by number; events by name have the same ones."""
        return _shapes(_heads(()))


def _heads(names: Iterable[str]) -> list[str]:
    return ["perf.type(number).config(number)", *(f"perf.{name}" for name in names)]


def _shapes(heads: Iterable[str]) -> list[str]:
    return [head + suffix for head in heads for suffix in _SUFFIXES]


def _event(
    shape: ShapeMatch, names: dict[str, tuple[int, int]], point: ast.ProbePoint
) -> PerfEvent:
    """The event of a shape, whatever processes it is about."""
    args = shape.by_name()
    if "type" in args:
        kind, config = _number(args["type"]), _number(args["config"])
        _in_range("type", kind, 0, 0xFFFF_FFFF, point.tok)
        _in_range("config", config, 0, _MAX_CONFIG, point.tok)
    else:
        suffix = max((s for s in _SUFFIXES if shape.shape.endswith(s)), key=len)
        kind, config = names[shape.shape.removeprefix("perf.").removesuffix(suffix)]
    event = PerfEvent(kind, config, DEFAULT_PERIOD)
    last = point.components[-1].tok
    if "counter" in args:
        if not args["counter"]:
            raise bad_point("a perf counter without a name", last)
        return event._replace(period=0, counter=str(args["counter"]))
    if "hz" in args:
        return event._replace(period=0, hz=_in_range("hz", _number(args["hz"]), 1, _MOST_HZ, last))
    if "sample" in args:
        period = _in_range("sample", _number(args["sample"]), 1, _MAX_CONFIG, last)
        return event._replace(period=period)
    return event


def _of_processes(
    shape: ShapeMatch, event: PerfEvent, point: ast.ProbePoint, env: ProbeEnv
) -> list[Match]:
    """The event in the processes that a shape names: those of programs, the target's, any."""
    context = NoContext("perf", registers=True)
    names = shape.names()
    if "process" not in names:
        return [Match([(shape.text(), event)], context)]
    at = names.index("process")
    path = shape.args[at]
    if path is None:
        if not env.has_target:
            raise bad_point(
                "which process? process without a path needs -c or -x",
                component_tok(point, at),
            )
        return [Match([(shape.text(), event._replace(target_only=True))], context)]
    matches = []
    for program in find_programs(str(path), env.sysroot, point.tok):
        args = [*shape.args[:at], program.name, *shape.args[at + 1 :]]
        text = point_text(names, args)
        notes = [program.note] if program.note else []
        matches.append(Match([(text, event._replace(path=program.path))], context, notes))
    return matches


def _number(arg: int | str | None) -> int:
    assert isinstance(arg, int)  # the shape says so
    return arg


def _in_range(what: str, value: int, least: int, most: int, tok: Token) -> int:
    if not least <= value <= most:
        raise bad_point(f"perf {what} {value} is out of range ({least}..{most})", tok)
    return value


def _unavailable(kind: int) -> str:
    """Why events of a type cannot be counted here, empty when they can."""
    if kind == _SOFTWARE:
        return ""
    if kind in (_HARDWARE, _HW_CACHE):
        # The generic hardware types are served by whichever CPU PMU registered.
        cpu_pmu = ("cpu", "cpu_core", "cpu_atom", "armv8_pmuv3", "armv8_pmuv3_0")
        if any(os.path.isdir(f"{_PMUS}/{name}") for name in cpu_pmu):
            return ""
        return "this machine offers no hardware performance counters (no CPU PMU)"
    if kind in _registered_types():
        return ""
    return f"the kernel knows no event source of type {kind} (see {_PMUS}/*/type)"


def _registered_types() -> set[int]:
    types: set[int] = set()
    try:
        names = os.listdir(_PMUS)
    except FileNotFoundError:
        return types
    for name in names:
        try:
            with open(f"{_PMUS}/{name}/type") as file:
                types.add(int(file.read()))
        except FileNotFoundError:
            continue  # it went away while we looked
    return types


FAMILY: Final = PerfEvents()
