"""How long handlers take: protection against overload, and the report of ``-t``.

The time of a run is taken where it is needed: of every run for the report, of every run of a
handler with loops, and of one in :data:`_SAMPLED` others, which stands for all of them.  Reading
the clock takes as long as a small handler does.  Handlers that run without context cost less
than could overload a CPU and are not timed.
"""

from __future__ import annotations

from pystap.backend.bpf import helpers, layout
from pystap.backend.bpf.artifact import (
    CONTROL_CYCLES_PER_US,
    CONTROL_ERRORS,
    CONTROL_STATE,
    HITS_COUNT,
    HITS_M2,
    HITS_MAX,
    HITS_MEAN,
    HITS_MIN,
    HITS_SUM,
    HITS_WORDS,
    STATE_ERROR,
    STATE_RUNNING,
)
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.ir import errors
from pystap.output.records import NO_ID
from pystap.probes.attach import SessionEvent
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value
    from pystap.ir.module import Probe

_SAMPLED: Final = 17  # odd, so that handlers that take turns are all met
_AREA: Final = "timing"
_START, _SINCE, _SPENT, _TURN = (8 * i for i in range(4))  # of the area
_SIZE: Final = 32


class Stopwatch:
    """Times the runs of one handler as far as somebody wants to know."""

    def __init__(self, s: Scope, probe: Probe, loops: bool) -> None:
        """``loops``: one run may take much longer than another."""
        limits = s.u.limits
        self._watched = bool(limits.overload_interval) and not isinstance(
            probe.attach, SessionEvent
        )
        self._reported = bool(limits.timing)
        self._always = loops or self._reported

    def start(self, s: Scope) -> None:
        """Emit the begin of a run."""
        b = s.b
        if not (self._watched or self._reported):
            return
        area = s.area(_AREA, _SIZE)
        if self._always:
            b.store(b.helper(helpers.KTIME_GET_NS, "i64"), area, _START)
            return
        turn = b.load("i64", area, _TURN)
        with b.if_else(turn.eq(0)) as (now, later):
            with now:
                b.store(_SAMPLED - 1, area, _TURN)
                b.store(b.helper(helpers.KTIME_GET_NS, "i64"), s.area(_AREA, _SIZE), _START)
            with later:
                b.store(turn - 1, area, _TURN)

    def stop(self, s: Scope, ran: Value | None) -> None:
        """Emit the end of a run; for the report ``ran`` tells whether there was one."""
        b, u = s.b, s.u
        if ran is not None:
            with b.if_(ran.ne(0)):
                name = u.function("note_hit", ["context", "probe"], lambda fb: _note_hit(u, fb))
                b.call(name, s.header(layout.INDEX), s.header(layout.PROBE))
        if self._watched:
            weight = 1 if self._always else _SAMPLED
            name = u.function("watch_load", ["context", "weight"], lambda fb: _watch_load(u, fb))
            with b.if_(b.load("i64", s.area(_AREA, _SIZE), _START).ne(0)):
                b.call(name, s.header(layout.INDEX), weight)


# ---- overload


def _watch_load(u: Unit, b: FunctionBuilder) -> None:
    """Add a run to what this CPU spends in handlers; too much in an interval ends the session."""
    index, weight = b.args
    s = runtime_scope(u, b, index)
    area = s.area(_AREA, _SIZE)
    now = b.helper(helpers.KTIME_GET_NS, "i64")
    start = b.load("i64", area, _START)
    spent = b.load("i64", area, _SPENT) + (now - start) * weight
    b.store(0, area, _START)
    b.store(spent, area, _SPENT)
    with b.if_(b.load("i64", area, _SINCE).eq(0)):
        b.store(start, area, _SINCE)
    interval = _cycles(s, now - b.load("i64", area, _SINCE))
    with b.if_(interval.ugt(u.limits.overload_interval)):
        b.store(now, area, _SINCE)
        b.store(0, area, _SPENT)
        used = _cycles(s, spent)
        with b.if_(used.ugt(u.limits.overload_threshold)):
            _overloaded(s, used, interval)
    b.ret(0)


def _cycles(s: Scope, ns: Value) -> Value:
    """Nanoseconds as cycles of the nominal rate, in two steps against overflow."""
    rate = s.b.load("i64", s.control(CONTROL_CYCLES_PER_US))
    return ns // 1000 * rate + ns % 1000 * rate // 1000


def _overloaded(s: Scope, used: Value, interval: Value) -> None:
    """End the session with the message, which only one CPU gives."""
    from pystap.backend.bpf.errors import emit_item
    from pystap.backend.bpf.output import flush

    b = s.b
    message = s.u.message(errors.OVERLOAD.replace("%t", str(s.u.limits.overload_threshold)))
    before = b.cmpxchg(s.control(CONTROL_STATE), STATE_RUNNING, STATE_ERROR)
    with b.if_(before.eq(STATE_RUNNING)):
        b.atomic_rmw("add", s.control(CONTROL_ERRORS), 1)
        s.set_header(layout.ERROR_VALUE, used)
        s.set_header(layout.ERROR_VALUE + 8, interval)
        s.set_header(layout.ERROR_POS, NO_ID)
        s.set_header(layout.CALLS, 0)
        emit_item(s, b.const("i64", message + 1))
        s.set_header(layout.WAKE, 1)
        flush(s)


# ---- the report


def hits_map(u: Unit) -> int:
    """The map of hits: HITS_WORDS words a probe and CPU."""
    probes = max(len(u.module.probes), 1)
    return u.add_map("hits", "hits", helpers.MAP_PERCPU_ARRAY, 4, 8 * HITS_WORDS, probes)


def _note_hit(u: Unit, b: FunctionBuilder) -> None:
    """Add a run to what is known of its probe; on one CPU, runs of a probe do not overlap."""
    index, probe = b.args
    s = runtime_scope(u, b, index)
    start = b.load("i64", s.area(_AREA, _SIZE), _START)
    value = b.helper(helpers.KTIME_GET_NS, "i64") - start
    key = s.word()
    b.store(probe.trunc("i32"), key)
    where = b.helper(helpers.MAP_LOOKUP, "ptr", b.map_fd(hits_map(u)), key)
    with b.if_(where.eq(0)):
        b.ret(0)
    count = b.load("i64", where, 8 * HITS_COUNT) + 1
    b.store(count, where, 8 * HITS_COUNT)
    b.store(b.load("i64", where, 8 * HITS_SUM) + value, where, 8 * HITS_SUM)
    least = b.load("i64", where, 8 * HITS_MIN)
    # Words begin as 0, so the least is kept as its complement.
    b.store(_larger(b, least, ~value), where, 8 * HITS_MIN)
    b.store(_larger(b, b.load("i64", where, 8 * HITS_MAX), value), where, 8 * HITS_MAX)
    mean = b.load("i64", where, 8 * HITS_MEAN)
    delta = value - mean
    mean = mean + delta.sdiv(b.select(count.eq(0), b.const("i64", 1), count))
    b.store(mean, where, 8 * HITS_MEAN)
    m2 = b.load("i64", where, 8 * HITS_M2)
    b.store(m2 + delta * (value - mean), where, 8 * HITS_M2)
    b.ret(0)


def _larger(b: FunctionBuilder, one: Value, other: Operand) -> Value:
    """The greater of two unsigned numbers."""
    return b.select(one.ult(other), other, one)
