"""Clocks and constants of the machine."""

from __future__ import annotations

from collections.abc import Callable

from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystap.backend.reference.environment import Environment
    from pystap.backend.reference.state import Context
    from pystap.ir.ops import Intrinsic


def _clock(read: Callable[[Environment], Any]) -> Callable[[Context, Intrinsic], Any]:
    return lambda context, _op: read(context.state.environment)


def _monotonic(env: Environment) -> int:
    return env.start_monotonic_ns + env.elapsed_ns


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "ktime_get_ns": _clock(_monotonic),
    "ktime_get_boot_ns": _clock(lambda env: env.start_boot_ns + env.elapsed_ns),
    "gettimeofday_ns": _clock(lambda env: env.start_realtime_ns + env.elapsed_ns),
    "get_cycles": _clock(lambda env: _monotonic(env) * env.cycles_per_us // 1000),
    "jiffies": _clock(lambda env: _monotonic(env) * env.hz // 1_000_000_000),
    "hz": _clock(lambda env: env.hz),
    "page_size": _clock(lambda env: env.page_size),
    "tz_gmtoff": _clock(lambda env: env.tz_gmtoff),
    "tz_name": _clock(lambda env: env.tz_name),
}
