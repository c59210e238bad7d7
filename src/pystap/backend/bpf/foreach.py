"""``foreach``: a snapshot of the elements, sorted, then a loop over it.

The elements' keys (and values) are copied to a buffer of an array map; what they are ordered by
goes to the sort map.  Buffers are taken from a small pool at run time.
"""

from __future__ import annotations

from pystap.backend.bpf import emit, helpers, layout, sorting, strings
from pystap.backend.bpf.artifact import LEVEL_SESSION
from pystap.backend.bpf.errors import raise_uncatchable
from pystap.backend.bpf.histograms import bucket_count, buckets
from pystap.backend.bpf.layout import round_up
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.maps import ArrayLayout, array_layout, for_each, skip_others, write_key
from pystap.backend.bpf.sorting import TIE_BITS, Heap, Pair, SortKey
from pystap.backend.bpf.statements import local_room
from pystap.backend.bpf.strings import Text
from pystap.ir import ops
from pystap.ir.types import Global, LocalVar, Ty
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.bpf.layout import Frame
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import Operand, Value

_MOST_CPUS: Final = 8  # that may iterate over one array at the same time


class Snapshots:
    """The pool of buffers for one array."""

    __slots__ = ("buffers", "busy", "entries", "entry_size", "sorts", "value_at")

    def __init__(self, u: Unit, var: Global, place: ArrayLayout) -> None:
        nested = u.analysis.foreach_nesting(var)
        if u.analysis.foreach_recurses(var):
            nested *= u.limits.maxnesting
        levels = u.analysis.foreach_levels(var)
        at_once = sum(1 if n == LEVEL_SESSION else min(u.facts.cpus, _MOST_CPUS) for n in levels)
        self.buffers = nested * max(at_once, 1)
        self.busy = u.globals.add(bytes(8 * self.buffers))
        self.value_at = place.key_size
        self.entry_size = place.key_size + (place.value_room if var.stats is None else 0)
        slots = self.buffers * var.capacity
        name = f"snapshot:{var.name}"
        self.entries = u.add_map(name, name, helpers.MAP_ARRAY, 4, self.entry_size, slots)
        self.sorts = sorting.reserve(u, slots)


def snapshots(u: Unit, var: Global) -> Snapshots:
    """The buffers for an array, made at first use."""
    found = u.snapshots.get(var.index)
    if found is None:
        found = u.snapshots[var.index] = Snapshots(u, var, array_layout(u, var))
    return found


class Slots(NamedTuple):
    """Frame slots of one foreach: buffer number, elements, the most there may be, which entry is
    free when there are so many, pattern of the slice."""

    buffer: int
    elements: int
    most: int
    free: int
    pattern: int


def allocate_slots(u: Unit, frame: Frame, var: Global) -> Slots:
    """Slots for a foreach over an array."""
    return Slots(*(frame.allocate(n) for n in (8, 8, 8, 8, array_layout(u, var).key_size)))


@emit.emits_statement(ops.Foreach)
def _foreach(s: Scope, e: ops.Foreach) -> None:
    s.need_context()
    slots = allocate_slots(s.u, s.body.frame, e.var)
    limit = prepare(s, e, slots)
    with s.cleanup(lambda: release(s, e.var, slots)):
        rounds = collect(s, e, slots, limit)
        run_loop(s, rounds, lambda inner, index: visit(inner, e, slots, index), "foreach")


def prepare(s: Scope, e: ops.Foreach, slots: Slots) -> Value | None:
    """Evaluate slice and limit and take a buffer; gives the limit."""
    write_key(s, e.var, e.slice or [], s.slot(slots.pattern))
    limit = None if e.limit is None else emit.long(s, e.limit)
    _take_buffer(s, snapshots(s.u, e.var), slots)
    return limit


def collect(s: Scope, e: ops.Foreach, slots: Slots, limit: Value | None) -> Value:
    """Fill the buffer and sort it; how many elements are to be visited.

    With a limit the buffer never holds more elements than are visited, and one besides.
    """
    pool = snapshots(s.u, e.var)
    s.b.store(0, s.slot(slots.elements))
    if limit is not None:
        most = _limited(s, s.b.const("i64", e.var.capacity), limit)
        s.b.store(most, s.slot(slots.most))
        s.b.store(most, s.slot(slots.free))
    for_each(s, e.var, _collector(e, pool, slots))
    count = s.b.load("i64", s.slot(slots.elements))
    base = _base(s, e, slots)
    sorting.sort(s, base + pool.sorts, base, count, _sort_key(s, e, pool))
    return count


def _limited(s: Scope, count: Value, limit: Value | None) -> Value:
    if limit is None:
        return count
    b = s.b
    limit = b.select(limit.slt(0), 0, limit)
    return b.select(limit.ult(count), limit, count)


# ---- buffers


def _take_buffer(s: Scope, pool: Snapshots, slots: Slots) -> None:
    from pystap.backend.bpf.globals_ import word_address

    b = s.b
    b.store(-1, s.slot(slots.buffer))
    words = word_address(s, pool.busy)
    with b.for_range(0, pool.buffers) as i:
        taken = b.atomic_rmw("xchg", b.at(words, 0, i, scale=8), 1)
        with b.if_(taken.eq(0)):
            b.store(i, s.slot(slots.buffer))
            b.break_()
    with b.if_(b.load("i64", s.slot(slots.buffer)).slt(0)):
        raise_uncatchable(s, layout.ERROR_SKIP)


def release(s: Scope, var: Global, slots: Slots) -> None:
    """Give the buffer back, if there is one."""
    from pystap.backend.bpf.globals_ import word_address

    b = s.b
    pool = snapshots(s.u, var)
    number = b.barrier(b.load("i64", s.slot(slots.buffer)))
    with b.if_(number.ult(pool.buffers)):
        words = word_address(s, pool.busy)
        b.store(0, b.at(words, 0, b.barrier(number), scale=8), volatile=True)


def _base(s: Scope, e: ops.Foreach, slots: Slots) -> Value:
    """Number of the buffer's first entry."""
    return s.b.load("i64", s.slot(slots.buffer)) * e.var.capacity


def element(s: Scope, fd: int, index: Operand) -> Value:
    """Address of an element of an array map or null."""
    b = s.b
    key = s.word()
    b.store(index.trunc("i32") if not isinstance(index, int) else b.const("i32", index), key)
    return b.helper(helpers.MAP_LOOKUP, "ptr", b.map_fd(fd), key)


# ---- filling


def _collector(
    e: ops.Foreach, pool: Snapshots, slots: Slots
) -> Callable[[Scope, Value, Value, Value], None]:
    def take(s: Scope, _map: Value, key: Value, value: Value) -> None:
        b = s.b
        place = array_layout(s.u, e.var)
        skip_others(s, e.var, e.slice or [], key, s.slot(slots.pattern))
        count = b.load("i64", s.slot(slots.elements))
        s.leave_if(count.uge(e.var.capacity), "break")
        base = _base(s, e, slots)
        number = count
        if e.limit is not None:
            most = b.load("i64", s.slot(slots.most))
            s.leave_if(most.eq(0), "break")
            full = count.uge(most)
            number = b.select(full, b.load("i64", s.slot(slots.free)), count)
        entry = element(s, pool.entries, base + number)
        s.leave_if(entry.eq(0), "break")
        strings.copy_words(s, key, entry, place.key_size)
        if e.var.stats is None and (e.value is not None or (e.order and not e.column)):
            strings.copy_words(s, value, b.at(entry, pool.value_at), place.value_room)
        order, sequence = _order_of(s, e, key, value)
        pair = Pair(~order if e.order < 0 else order, (sequence << TIE_BITS) | number)
        if e.limit is not None:
            heap = Heap(base + pool.sorts, base, count, full)
            free = sorting.select(s, heap, pair, _sort_key(s, e, pool))
            b.store(free, s.slot(slots.free))
            b.store(b.select(full, count, count + 1), s.slot(slots.elements))
            return
        item = element(s, sorting.sort_map(s.u), base + pool.sorts + count)
        s.leave_if(item.eq(0), "break")
        b.store(pair.order, item)
        b.store(pair.tie, item, 8)
        b.store(count + 1, s.slot(slots.elements))

    return take


def _order_of(s: Scope, e: ops.Foreach, key: Value, value: Value) -> tuple[Value, Value]:
    """What an element is ordered by, and its insertion number."""
    from pystap.backend.bpf import stats

    b = s.b
    place = array_layout(s.u, e.var)
    if e.var.stats is None:
        sequence = b.load("i64", value, place.value_room)
    else:
        sequence = stats.element_sequence(s, e.var, key)
    if not e.order:
        return sequence, sequence
    if e.column:
        where = b.at(key, place.key_offsets[e.column - 1])
        return _order_word(s, where, e.var.keys[e.column - 1]), sequence
    if e.var.stats is None:
        return _order_word(s, value, e.var.value), sequence
    # The key is in the key area since the insertion number was looked for.
    total, words = stats.merged_element(s, e.var, e.sort_op)
    return stats.extract(s, total, words, e.sort_op), sequence


def _order_word(s: Scope, where: Value, ty: Ty) -> Value:
    """A long that sorts like a value; of strings it covers the first bytes."""
    word = s.b.load("i64", where)
    return strings.order_word(s, word) if ty is Ty.STR else word


def _sort_key(s: Scope, e: ops.Foreach, pool: Snapshots) -> SortKey | None:
    """What decides between elements whose strings begin alike."""
    ty, offset, room = Ty.LONG, 0, 0
    place = array_layout(s.u, e.var)
    if e.order and e.column:
        ty, offset = e.var.keys[e.column - 1], place.key_offsets[e.column - 1]
        room = place.key_rooms[e.column - 1]
    elif e.order and e.var.stats is None:
        ty, offset, room = e.var.value, pool.value_at, place.value_room
    return SortKey(pool.entries, offset, room, e.order < 0) if ty is Ty.STR else None


# ---- visiting


def visit(s: Scope, e: ops.Foreach, slots: Slots, index: Value) -> None:
    """Emit one round: load an element and run the body."""
    load_element(s, e, slots, index)
    emit.statements(s, e.body)


def load_element(s: Scope, e: ops.Foreach, slots: Slots, index: Value) -> None:
    """Store the parts of the element with a place in the order to the loop's variables."""
    b = s.b
    pool = snapshots(s.u, e.var)
    base = _base(s, e, slots)
    item = element(s, sorting.sort_map(s.u), base + pool.sorts + index)
    s.leave_if(item.eq(0), "break")
    number = b.load("i64", item, 8) & ((1 << TIE_BITS) - 1)
    entry = element(s, pool.entries, base + number)
    s.leave_if(entry.eq(0), "break")
    place = array_layout(s.u, e.var)
    for var, offset, limit in zip(e.keys, place.key_offsets, place.limits):
        _receive(s, var, b.at(entry, offset), limit)
    if e.value is not None:
        _receive(s, e.value, b.at(entry, pool.value_at), place.value_room)


def _receive(s: Scope, var: LocalVar, where: Value, bound: int) -> None:
    if var.ty is Ty.STR:
        strings.copy(s, Text(where, bound, round_up(bound)), local_room(s, var))
    else:
        s.b.store(s.b.load("i64", where), s.local(var))


@emit.emits_statement(ops.ForeachHist)
def _foreach_hist(s: Scope, e: ops.ForeachHist) -> None:
    rounds = bucket_rounds(s, e)

    def one(inner: Scope, index: Value) -> None:
        store_bucket(inner, e, index)
        emit.statements(inner, e.body)

    run_loop(s, rounds, one, "buckets")


def bucket_rounds(s: Scope, e: ops.ForeachHist) -> Value:
    """How many buckets are visited; an empty histogram is an error."""
    limit = None if e.limit is None else emit.long(s, e.limit)
    _, count = buckets(s, e.kind, e.stat, e.stat_keys, e.pos)
    return _limited(s, s.b.const("i64", count), limit)


def store_bucket(s: Scope, e: ops.ForeachHist, index: Value) -> None:
    """Store the bucket with a place in the order to the loop's variable."""
    count = bucket_count(e.kind, e.stat)
    bucket = index if e.order >= 0 else s.b.const("i64", count - 1) - index
    s.b.store(bucket, s.local(e.bucket))
