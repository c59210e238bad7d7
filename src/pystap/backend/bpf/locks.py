"""Locks of globals: words that readers, updaters and writers share by compare-exchange.

A positive word counts readers, a negative one updaters, :data:`_WRITER` is a writer.  Whoever
cannot have a lock at once spins for a bounded time; then the handler is skipped and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pystap.backend.bpf import bounds, emit, helpers, layout
from pystap.backend.bpf.artifact import (
    LEVEL_SESSION,
    LEVELS,
    LOCK_CONTENDED,
    LOCK_SKIPPED,
    LOCK_STRIDE,
)
from pystap.backend.bpf.errors import raise_uncatchable
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.ir import ops
from pystap.ir.types import Global
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value

_WRITER: Final = -(1 << 63)
_MODES: Final[dict[ops.LockMode, int]] = {"read": 0, "update": 1, "write": 2}
_UNLIMITED_NS: Final = 1_000_000_000  # the most that is waited: the kernel has limits, too
_TRACKED: Final = 64  # locks that contexts note as held
_INLINE: Final = 2  # of more locks the code to take them would be most of many a large script
_PARAMETERS: Final = ["index", "first", "count"]  # of the context, of the first word
_TOGETHER: Final = 16  # so many are taken by one call at most
_RESULT, _SLOT, _MODE, _DEADLINE = (layout.SCRATCH + 8 * i for i in range(4))


@emit.emits_statement(ops.Locked)
def _locked(s: Scope, e: ops.Locked) -> None:
    with held(s, e.locks):
        emit.statements(s, e.body)


@contextmanager
def held(s: Scope, locks: list[tuple[Global, ops.LockMode]]) -> Iterator[None]:
    """What is emitted inside runs with the locks held; without them the handler is skipped."""
    if not locks:
        yield
        return
    several = len(locks) > _INLINE and s.u.analysis.large
    together = locks[:_TOGETHER] if several else locks[:1]
    wanted = [(s.u.lock(var), mode) for var, mode in together]
    if len(wanted) == 1:
        got = _take(s, *wanted[0])
    else:
        got = _call(s, "take_locks", wanted, _emit_take)
    with s.b.if_(got.eq(0)):
        raise_uncatchable(s, layout.ERROR_SKIP)

    def give_back() -> None:
        if len(wanted) == 1:
            _give_back(s, *wanted[0])
        else:
            _call(s, "give_locks", wanted, _emit_give)

    with s.cleanup(give_back), held(s, locks[len(together) :]):
        yield


# ---- several locks at once


def _place(u: Unit, words: tuple[int, ...]) -> int:
    """Where some locks stand one behind the other in the table of words."""
    found = u.lock_places.get(words)
    if found is None:
        found = u.lock_places[words] = len(u.lock_words)
        u.lock_words += words
    return found


def _table(u: Unit) -> bytes:
    """The table, a power of two of words."""
    size = 1 << (len(u.lock_words) - 1).bit_length()
    return b"".join(word.to_bytes(4, "little") for word in u.lock_words).ljust(4 * size, b"\0")


def _call(
    s: Scope,
    name: str,
    locks: list[tuple[int, ops.LockMode]],
    emit_body: Callable[[Unit, FunctionBuilder], None],
) -> Value:
    """Call a run-time function for locks of the table."""
    u = s.u
    first = _place(u, tuple(slot << 2 | _MODES[mode] for slot, mode in locks))
    u.late_function(name, _PARAMETERS, lambda b: emit_body(u, b))
    return s.b.call(name, s.header(layout.INDEX), first, len(locks))


def _emit_take(u: Unit, b: FunctionBuilder) -> None:
    """Take locks in order: 1, or 0 and none is held."""
    index, first, _ = b.args
    with _each(u, b) as (s, i, slot, mode):
        got = b.var("i64", 0)
        with b.switch(mode) as sw:
            for name, number in _MODES.items():
                with sw.case(number):
                    got.set(_take(s, slot, name))
        with b.if_(got.get().eq(0)):
            u.late_function("give_locks", _PARAMETERS, lambda fb: _emit_give(u, fb))
            b.call("give_locks", index, first, i)
            b.ret(0)
    b.ret(1)


def _emit_give(u: Unit, b: FunctionBuilder) -> None:
    """Give locks back, the last one first."""
    with _each(u, b, backwards=True) as (s, _, slot, mode), b.switch(mode) as sw:
        for name, number in _MODES.items():
            with sw.case(number):
                _give_back(s, slot, name)
    b.ret(0)


@contextmanager
def _each(
    u: Unit, b: FunctionBuilder, *, backwards: bool = False
) -> Iterator[tuple[Scope, Value, Value, Value]]:
    """What is emitted inside runs for each lock that a run-time function was called with: its
    scope, the number of the round, slot and mode."""
    index, first, count = b.args
    s = runtime_scope(u, b, index)
    with b.for_range(0, _TOGETHER) as i:
        with b.if_(i.uge(count)):
            b.break_()
        yield (s, i, *_entry(s, first, count - i - 1 if backwards else i))


def _entry(s: Scope, first: Value, at: Value) -> tuple[Value, Value]:
    """Slot and mode of a lock of the table."""
    u, b = s.u, s.b
    table = _table(u)
    place = b.barrier(first + at) & (len(table) // 4 - 1)
    word = b.load("i32", b.at(b.data(table), 0, place, scale=4)).zext("i64")
    return bounds.clamp(s, word >> 2, u.lock_slots - 1), word & 3


def _address(s: Scope, slot: Value | int) -> Value:
    base = s.b.map_value(s.u.locks_map())
    return s.b.at(base, 0, slot, scale=LOCK_STRIDE)


def _take(s: Scope, slot: Value | int, mode: ops.LockMode) -> Value:
    """Not 0: the lock is held."""
    u, b = s.u, s.b
    got = b.var("i64", 1)
    with b.if_(_try(s, _address(s, slot), mode) ^ 1):
        name = u.function("lock_slow", ["index", "slot", "mode"], lambda fb: _emit_slow(u, fb))
        got.set(b.call(name, s.header(layout.INDEX), slot, _MODES[mode]))
    with b.if_(got.get().ne(0)):
        s.set_header(layout.HELD, s.header(layout.HELD) | _mask(s, slot))
    return got.get()


def _mask(s: Scope, slot: Value | int) -> Value:
    """The bit that notes a lock as held; 0 of one that is not tracked."""
    b = s.b
    if isinstance(slot, int):
        return b.const("i64", 1 << slot if slot < _TRACKED else 0)
    return b.select(slot.ult(_TRACKED), b.const("i64", 1) << (slot & 63), 0)


def _try(s: Scope, where: Value, mode: ops.LockMode) -> Value:
    """``i1``: the lock was free for this use and is now held."""
    b = s.b
    if mode == "write":
        return b.cmpxchg(where, 0, _WRITER).eq(0)
    now = b.load("i64", where, volatile=True)
    got = b.var("i1", 0)
    if mode == "read":
        free, after = now.sge(0), now + 1
    else:
        free, after = b.both(now.sle(0), now.ne(_WRITER)), now - 1
    with b.if_(free):
        got.set(b.cmpxchg(where, now, after).eq(now))
    return got.get()


def _give_back(s: Scope, slot: Value | int, mode: ops.LockMode) -> None:
    where = _address(s, slot)
    s.set_header(layout.HELD, s.header(layout.HELD) & ~_mask(s, slot))
    if mode == "write":
        s.release_store(where)
    else:
        s.b.atomic_rmw("add", where, -1 if mode == "read" else 1)


def _emit_slow(u: Unit, b: FunctionBuilder) -> None:
    """Spin for a lock: 1 when it is held, 0 when time is up."""
    index, slot, mode = b.args
    s = runtime_scope(u, b, index)
    slot = b.barrier(slot)
    slot = b.barrier(b.select(slot.ult(u.lock_slots), slot, 0))
    s.set_header(_RESULT, 0)
    s.set_header(_SLOT, slot)
    s.set_header(_MODE, mode)
    if u.limits.timing:
        _count(b, _address(s, slot), LOCK_CONTENDED)
    limit = u.limits.maxtrylock * u.limits.trylockdelay * 1000
    if not u.limits.time_limits:
        limit = _UNLIMITED_NS
    s.set_header(_DEADLINE, b.helper(helpers.KTIME_GET_NS, "i64") + limit)
    with b.if_(_held_below(s, index, slot) ^ 1):
        run_loop(s, helpers.MAX_LOOPS, _spin, "spin")
    # What the session runs itself it tries again.
    with b.if_(b.both(s.header(_RESULT).eq(0), (index % LEVELS).ne(LEVEL_SESSION))):
        _count(b, _address(s, slot), LOCK_SKIPPED)
    b.ret(s.header(_RESULT))


def _count(b: FunctionBuilder, lock: Value, word: int) -> None:
    """Add one to a word of a lock."""
    b.atomic_rmw("add", b.at(lock, 8 * word), 1, order="monotonic")


def _held_below(s: Scope, index: Value, slot: Value) -> Value:
    """``i1``: a handler that this one interrupted holds the lock, so waiting is no use."""
    u, b = s.u, s.b
    held = b.var("i64", 0)
    first = index - index % LEVELS
    for level in range(LEVELS):
        key = b.alloca("i32")
        b.store((first + level).trunc("i32"), key)
        other = b.helper(helpers.MAP_LOOKUP, "ptr", b.map_fd(u.context_map()), key)
        with b.if_(b.both(other.ne(0), (first + level).ne(index))):
            held.set(held.get() | b.load("i64", other, layout.HELD))
    tracked = slot.ult(_TRACKED)
    return b.both(tracked, ((held.get() >> (slot & 63)) & 1).ne(0))


def _spin(s: Scope, _index: Value) -> None:
    b = s.b
    slot = b.barrier(s.header(_SLOT))
    slot = b.barrier(b.select(slot.ult(s.u.lock_slots), slot, 0))
    where = _address(s, slot)
    with b.switch(s.header(_MODE)) as sw:
        for mode, number in _MODES.items():
            with sw.case(number), b.if_(_try(s, where, mode)):
                s.set_header(_RESULT, 1)
    s.leave_if(s.header(_RESULT).ne(0), "break")
    now = b.helper(helpers.KTIME_GET_NS, "i64")
    s.leave_if(now.ugt(s.header(_DEADLINE)), "break")
