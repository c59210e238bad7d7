"""``timer.*``: periodic events on one CPU, and the profiling timers that fire on every CPU."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pystap.lang import ast
from pystap.probes.attach import Attach, Profile, Timer
from pystap.probes.base import Match, NoContext, ProbeEnv
from pystap.probes.shapes import ShapeMatch, bad_point, component_tok, match_shapes
from pystap.typing import Final

_NS_PER_S: Final = 1_000_000_000
_UNITS: Final[dict[str, int]] = {
    "s": _NS_PER_S,
    "sec": _NS_PER_S,
    "ms": 1_000_000,
    "msec": 1_000_000,
    "us": 1_000,
    "usec": 1_000,
    "ns": 1,
    "nsec": 1,
}

# A longer timer is a mistake in the unit; this is also what fits the kernel's clocks.
_LONGEST_NS: Final = 1_000_000 * _NS_PER_S
_MOST_JIFFIES: Final = 1_000_000
_MOST_HZ: Final = 1_000_000
_MOST_PROFILE_HZ: Final = 100_000

_SHAPES: Final = (
    *(f"timer.{unit}(number)" for unit in _UNITS),
    *(f"timer.{unit}(number).randomize(number)" for unit in _UNITS),
    "timer.jiffies(number)",
    "timer.jiffies(number).randomize(number)",
    "timer.hz(number)",
    "timer.profile",
    "timer.profile.tick",
    "timer.profile.freq.hz(number)",
)


class Timers:
    """Timer probe points."""

    roots = ("timer",)

    def resolve(self, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:  # noqa: ARG002
        """One match for each shape; raises when an interval is out of range."""
        return [_match(found, point) for found in match_shapes(point, _SHAPES)]

    def patterns(self) -> Iterable[str]:
        """The shapes themselves."""
        return _SHAPES


def _match(found: ShapeMatch, point: ast.ProbePoint) -> Match:
    attach = _attach(found, point)
    kind = "profile" if isinstance(attach, Profile) else "timer"
    return Match([(found.text(), attach)], NoContext(kind, registers=kind == "profile"))


def _attach(found: ShapeMatch, point: ast.ProbePoint) -> Attach:
    numbers = [arg for arg in found.args if isinstance(arg, int)]
    unit = found.names()[1]
    if unit == "profile":
        if numbers:
            _check(numbers[0], 1, _MOST_PROFILE_HZ, "frequency", point, -1)
        return Profile(numbers[0] if numbers else 0)
    if unit == "hz":
        _check(numbers[0], 1, _MOST_HZ, "frequency", point, 1)
        return Timer(_NS_PER_S // numbers[0])
    scale, most = _scale(unit)
    _check(numbers[0], 1, most, "interval", point, 1)
    randomize = numbers[1] if len(numbers) > 1 else 0
    if len(numbers) > 1:
        _check(randomize, 0, numbers[0] - 1, "randomize value", point, 2)
    return Timer(numbers[0] * scale, randomize * scale)


def _scale(unit: str) -> tuple[int, int]:
    """Nanoseconds of one unit, and the most units there may be."""
    if unit == "jiffies":
        return jiffy_ns(), _MOST_JIFFIES
    return _UNITS[unit], _LONGEST_NS // _UNITS[unit]


def _check(
    value: int, least: int, most: int, what: str, point: ast.ProbePoint, component: int
) -> None:
    if least <= value <= most:
        return
    tok = component_tok(point, component)
    raise bad_point(f"timer {what} {value} is out of range ({least}..{most})", tok)


def jiffy_ns() -> int:
    """Length of the kernel's timer tick in nanoseconds.

    The resolution of CLOCK_MONOTONIC_COARSE, which advances with the tick, is just that.
    """
    import time

    coarse = 6  # CLOCK_MONOTONIC_COARSE, linux/time.h
    return round(time.clock_getres(coarse) * _NS_PER_S) or _NS_PER_S // os.sysconf("SC_CLK_TCK")


FAMILY: Final = Timers()
