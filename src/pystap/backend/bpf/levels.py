"""Which context level a probe's handler runs at."""

from __future__ import annotations

from pystap.backend.bpf.artifact import LEVEL_EVENT, LEVEL_IRQ, LEVEL_SESSION
from pystap.probes.attach import (
    Attach,
    PerfEvent,
    ProcFile,
    Profile,
    SessionEvent,
    Timer,
    Watchpoint,
)
from pystap.typing import Final

SLOW_TIMER_NS: Final = 10_000_000  # timers from here on are run by the session


def level_of(attach: Attach) -> int:
    """``LEVEL_SESSION``, ``LEVEL_IRQ`` or ``LEVEL_EVENT``."""
    if isinstance(attach, (SessionEvent, ProcFile)):
        return LEVEL_SESSION
    if isinstance(attach, Timer):
        return LEVEL_SESSION if attach.period_ns >= SLOW_TIMER_NS else LEVEL_IRQ
    if isinstance(attach, (Profile, PerfEvent, Watchpoint)):
        return LEVEL_IRQ
    return LEVEL_EVENT
