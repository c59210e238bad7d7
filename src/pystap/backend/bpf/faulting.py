"""Reading a program's memory that is not there yet.

Files are mapped into memory page by page when they are touched: what a program is about to read
for the first time (its constants, say) is not there for a probe, and most programs of the kernel
cannot wait for it.  Those on user-space instructions can where the kernel lets them sleep.  They
are made so when all of a script's handlers can, because handlers share code.
"""

from __future__ import annotations

from functools import lru_cache

from pystap.backend.bpf import helpers
from pystap.backend.bpf.levels import SLOW_TIMER_NS
from pystap.probes.attach import ProcFile, SessionEvent, Timer, Uprobe
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value
    from pystap.probes.attach import Attach

SLEEPABLE_UPROBE = "sleepable_uprobe"  # of pystap.kernel.features


@lru_cache(maxsize=1)
def sleeps(unit: Unit) -> bool:
    """Whether the programs of uprobes are loaded as ones that may sleep."""
    places = [probe.attach for probe in unit.module.probes]
    return (
        any(isinstance(place, Uprobe) for place in places)
        and all(_may_sleep(place) for place in places)
        and unit.facts.has(SLEEPABLE_UPROBE)
    )


def _may_sleep(place: Attach) -> bool:
    """Whether the session or a uprobe runs a handler; the others run where nothing may wait."""
    if isinstance(place, Timer):
        return place.period_ns >= SLOW_TIMER_NS
    return isinstance(place, (SessionEvent, ProcFile, Uprobe))


def read_memory(
    unit: Unit,
    b: FunctionBuilder,
    helper: int,
    room: Value,
    size: Operand,
    address: Value,
) -> Value:
    """Emit a call of one of the helpers that read memory; its result, negative for a fault.

    User-space memory is brought in where that is possible, then read again.
    """
    result = b.helper(helper, "i64", room, size, address)
    if helper not in (helpers.PROBE_READ_USER, helpers.PROBE_READ_USER_STR) or not sleeps(unit):
        return result
    got = b.var("i64", result)
    with b.if_(result.slt(0)):
        for touched in (address, address + size - 1):
            b.helper(helpers.COPY_FROM_USER, "i64", room, 1, touched)
        got.set(b.helper(helper, "i64", room, size, address))
    return got.get()
