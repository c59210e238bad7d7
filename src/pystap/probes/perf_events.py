"""``perf.type(N).config(N)`` and the names for the kernel's own event numbers.

Numbers are those of linux/perf_event.h (``PERF_TYPE_*``, ``PERF_COUNT_*``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.attach import PerfEvent
from pystap.probes.base import Match, NoContext, ProbeEnv
from pystap.probes.shapes import ShapeMatch, bad_point, match_shapes
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

_SUFFIXES: Final = ("", ".sample(number)", ".hz(number)")
_TASK_SUFFIXES: Final = (".process", ".process(string)", ".counter(string)")


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

    def resolve(self, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:  # noqa: ARG002
        """One match for each event; raises for events this machine cannot count."""
        names = _names()
        found = match_shapes(point, self.patterns())
        wild = len(found) > 1
        matches = []
        for shape in found:
            kind, config, period, hz = _event(shape, names, point)
            problem = _unavailable(kind)
            if problem and not wild:
                raise bad_point(f"{point.text()}: {problem}", point.tok)
            if not problem:
                attach = PerfEvent(kind, config, period, hz)
                matches.append(Match([(shape.text(), attach)], NoContext("perf", registers=True)))
        return matches

    def patterns(self) -> Iterable[str]:
        """The shapes: by number, then by name."""
        heads = ("perf.type(number).config(number)", *(f"perf.{name}" for name in _names()))
        return [head + suffix for head in heads for suffix in _SUFFIXES]


def _event(
    shape: ShapeMatch, names: dict[str, tuple[int, int]], point: ast.ProbePoint
) -> tuple[int, int, int, int]:
    """Type, config, period and frequency (one of the two is 0)."""
    args = list(shape.args)
    head = shape.shape.removeprefix("perf.")
    suffix = next((s for s in _SUFFIXES[1:] if head.endswith(s)), "")
    value = args.pop() if suffix else None
    last = point.components[-1].tok
    if head.startswith("type("):
        kind, config = _number(args[1]), _number(args[2])
        _in_range("type", kind, 0, 0xFFFF_FFFF, point.tok)
        _in_range("config", config, 0, _MAX_CONFIG, point.tok)
    else:
        kind, config = names[head.removesuffix(suffix)]
    if not suffix:
        return kind, config, DEFAULT_PERIOD, 0
    if suffix.startswith(".hz"):
        return kind, config, 0, _in_range("hz", _number(value), 1, _MOST_HZ, last)
    return kind, config, _in_range("sample", _number(value), 1, _MAX_CONFIG, last), 0


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
