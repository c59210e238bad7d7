"""Slow timers: no drift, no pile-up, randomisation within its bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pystap.probes.attach import Timer
from pystap.session.timers import TimerQueue


def queue(*timers: Timer) -> tuple[TimerQueue, list[int]]:
    fired: list[int] = []
    return TimerQueue([(t, i) for i, t in enumerate(timers)], fired.append), fired


def test_without_timers_there_is_nothing_to_wait_for() -> None:
    timers, _ = queue()
    timers.start(0)
    assert timers.wait_ns(123) is None


def test_fires_at_multiples_of_the_period() -> None:
    timers, fired = queue(Timer(100))
    timers.start(1000)
    assert timers.wait_ns(1000) == 100
    timers.fire(1099)
    assert fired == []
    timers.fire(1103)
    assert fired == [0]
    assert timers.wait_ns(1103) == 97


def test_earlier_timer_runs_first() -> None:
    timers, fired = queue(Timer(100), Timer(60))
    timers.start(0)
    timers.fire(110)
    assert fired == [1, 0]


@given(st.integers(1, 10**9), st.lists(st.integers(1, 10**10), max_size=30))
def test_never_more_often_than_the_period(period: int, steps: list[int]) -> None:
    timers, fired = queue(Timer(period))
    timers.start(0)
    now = 0
    for step in steps:
        now += step
        timers.fire(now)
        wait = timers.wait_ns(now)
        assert wait is not None
        assert 0 < wait <= period
    assert len(fired) <= now // period


@given(st.integers(100, 10**6), st.integers(1, 99))
def test_randomised_times_stay_near_the_nominal_ones(period: int, span: int) -> None:
    timers, _ = queue(Timer(period, span))
    timers.start(0)
    wait = timers.wait_ns(0)
    assert wait is not None
    assert period - span <= wait <= period + span
