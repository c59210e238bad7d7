"""Slow timers: handlers that the session itself runs when their time has come."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.probes.attach import Timer


class TimerQueue:
    """Due times of the session's timers, without drift: each is a multiple of its period.

    All times are nanoseconds of CLOCK_MONOTONIC.  A timer that fell behind by whole periods
    (the machine slept, a handler took long) skips them, as a kernel timer does.
    """

    __slots__ = ("_due", "_run", "_timers")

    def __init__(self, timers: list[tuple[Timer, int]], run: Callable[[int], None]) -> None:
        """``timers`` pairs each timer with the index ``run`` is called with."""
        self._timers = timers
        self._run = run
        self._due: list[tuple[int, int]] = []  # (fires at, nominal time)

    def start(self, now: int) -> None:
        """Begin to count at ``now``."""
        self._due = [self._after(timer, now, now) for timer, _ in self._timers]

    def wait_ns(self, now: int) -> int | None:
        """Nanoseconds until the next timer is due; None without timers."""
        if not self._due:
            return None
        return max(0, min(fires for fires, _ in self._due) - now)

    def fire(self, now: int) -> None:
        """Run every timer that is due, earliest first."""
        ready = sorted(i for i in range(len(self._due)) if self._due[i][0] <= now)
        ready.sort(key=lambda i: self._due[i][0])
        for i in ready:
            timer, index = self._timers[i]
            self._due[i] = self._after(timer, self._due[i][1], now)
            self._run(index)

    @staticmethod
    def _after(timer: Timer, nominal: int, now: int) -> tuple[int, int]:
        nominal += timer.period_ns
        if nominal <= now:
            nominal += (now - nominal) // timer.period_ns * timer.period_ns + timer.period_ns
        if not timer.randomize_ns:
            return nominal, nominal
        return nominal + _random_within(timer.randomize_ns), nominal


def _random_within(span: int) -> int:
    """A uniform number in [-span, span]."""
    import os

    return int.from_bytes(os.urandom(8), "little") % (2 * span + 1) - span
