"""Many tracepoints switched on and off under a running scheduler."""

from __future__ import annotations

import pytest

from stap import stap

pytestmark = pytest.mark.lab


def test_all_tracepoints_of_the_scheduler() -> None:
    script = """
        global hits
        probe kernel.trace("sched_*") { hits++ }
        probe timer.s(2) { exit() }
        probe end { println(hits > 0) }
    """
    done = stap("-e", script, timeout=300)
    assert (done.out, done.err, done.status) == ("1\n", "", 0)
