"""Counters of the kernel's performance events, told apart by task.

The events count on every CPU, whatever runs there.  A program on ``sched_switch`` gives a task
what they counted while it was on the CPU; what they counted since belongs to the task that runs.
"""

from __future__ import annotations

from pystap.backend.bpf import helpers
from pystap.backend.bpf.artifact import CONTROL_UNWATCHED
from pystap.backend.bpf.intrinsics import long
from pystap.backend.bpf.unit import control_word
from pystap.probes.attach import counter_of
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value
    from pystap.ir import ops

_CURRENT_CPU: Final = 0xFFFF_FFFF  # BPF_F_CURRENT_CPU
_READING: Final = 24  # bytes of struct bpf_perf_event_value, whose first word is the count
_PREVIOUS_TASK: Final = 8  # second argument of sched_switch
_DEAD: Final = 0x80  # TASK_DEAD of <linux/sched.h>
_TASKS: Final = 65_536
_TRIES: Final = 3


def counter_probes(unit: Unit) -> list[int]:
    """Indexes of the probes that are counters."""
    return [i for i, probe in enumerate(unit.module.probes) if counter_of(probe.attach)]


def emit_accounting(unit: Unit, name: str) -> None:
    """Emit the program on sched_switch; its maps are added in any case."""
    names = _names(unit)
    with unit.m.function(name, "i64", [("ptr", "event")]) as b:
        task = b.load("i64", b.args[0], _PREVIOUS_TASK)
        tid = _kernel_word(b, task + unit.facts.offset("task_struct", "pid"))
        state = _kernel_word(b, task + unit.facts.offset("task_struct", "__state"))
        counts = b.alloca(f"[{8 * len(names)} x i8]", align=8)
        last = _last(unit, b)
        for at, counter in enumerate(names):
            now = _read(unit, b, counter)
            b.store(now - b.load("i64", last, 8 * at), counts, 8 * at)
            b.store(now, last, 8 * at)
        key = b.alloca("i64")
        b.store(tid, key)
        table = b.map_fd(_totals(unit))
        with b.if_(b.either(tid.eq(0), (state & _DEAD).ne(0))):
            b.helper(helpers.MAP_DELETE, "i64", table, key)
            b.ret(0)
        totals = b.helper(helpers.MAP_LOOKUP, "ptr", table, key)
        with b.if_(totals.ne(0)):
            for at in range(len(names)):
                new = b.load("i64", totals, 8 * at) + b.load("i64", counts, 8 * at)
                b.store(new, totals, 8 * at)
            b.ret(0)
        result = b.helper(helpers.MAP_UPDATE, "i64", table, key, counts, 0)
        with b.if_(result.ne(0)):
            b.atomic_rmw("add", control_word(b, unit, CONTROL_UNWATCHED), 1, order="monotonic")
        b.ret(0)


@long("perf_counter")
def _counter(s: Scope, e: ops.Intrinsic) -> Value:
    at = _names(s.u).index(str(e.const[0]))
    name = s.u.function(f"counted.{at}", [], lambda b: _emit_counted(s.u, b, at))
    return s.b.call(name)


def _emit_counted(u: Unit, b: FunctionBuilder, at: int) -> None:
    """What a counter counted in the current task; read again if that left the CPU meanwhile."""
    key = b.alloca("i64")
    b.store(b.helper(helpers.GET_CURRENT_PID_TGID, "i64") & 0xFFFF_FFFF, key)
    result = b.var("i64", 0)
    for _ in range(_TRIES):
        last = b.at(_last(u, b), 8 * at)
        before = b.load("i64", last, volatile=True)
        total = b.var("i64", 0)
        totals = b.helper(helpers.MAP_LOOKUP, "ptr", b.map_fd(_totals(u)), key)
        with b.if_(totals.ne(0)):
            total.set(b.load("i64", totals, 8 * at, volatile=True))
        result.set(total.get() + _read(u, b, _names(u)[at]) - before)
        with b.if_(b.load("i64", last, volatile=True).eq(before)):
            b.ret(result.get())
    b.ret(result.get())


def _names(u: Unit) -> list[str]:
    return [counter_of(u.module.probes[i].attach) for i in counter_probes(u)]


def _read(u: Unit, b: FunctionBuilder, counter: str) -> Value:
    """What an event counted on this CPU so far, 0 where it is not to be had."""
    role = f"counter:{counter}"
    events = u.add_map(role, role, helpers.MAP_PERF_EVENT_ARRAY, 4, 4, u.facts.cpus)
    reading = b.alloca(f"[{_READING} x i8]", align=8)
    b.store(0, reading)
    b.helper(
        helpers.PERF_EVENT_READ_VALUE, "i64", b.map_fd(events), _CURRENT_CPU, reading, _READING
    )
    return b.load("i64", reading)


def _last(u: Unit, b: FunctionBuilder) -> Value:
    """Address of what the events had counted when this CPU last changed tasks."""
    size = 8 * len(_names(u))
    last = u.add_map("counted", "counted", helpers.MAP_PERCPU_ARRAY, 4, size, 1)
    key = b.alloca("i32")
    b.store(0, key, ty="i32")
    found = b.helper(helpers.MAP_LOOKUP, "ptr", b.map_fd(last), key)
    with b.if_(found.eq(0)):
        b.ret(0)
    return found


def _totals(u: Unit) -> int:
    size = 8 * len(_names(u))
    kind = helpers.MAP_HASH
    return u.add_map("totals", "totals", kind, 8, size, _TASKS, preallocated=False)


def _kernel_word(b: FunctionBuilder, address: Value) -> Value:
    """32 bits of kernel memory."""
    word = b.alloca("i64")
    b.store(0, word)
    b.helper(helpers.PROBE_READ_KERNEL, "i64", word, 4, address)
    return b.load("i64", word)
