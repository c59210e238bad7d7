"""Aggregates: what ``<<<`` keeps for each CPU, and how it is merged to be read.

A slot holds words: count, then what the program's extractors need of sum, least, greatest, mean
and sum of squared deviations, then the buckets.  All words start at 0: the least and the greatest
value are kept as unsigned numbers that only grow (``~(v ^ sign)`` and ``v ^ sign``).
Updates are atomic, as a handler can interrupt another one's update on the same CPU.  Only the
variance cannot be: a slot then has a part for each context level that updates it, which belongs
to one handler at a time.
"""

from __future__ import annotations

from pystap.backend.bpf import emit, helpers, layout
from pystap.backend.bpf.artifact import LEVELS, GlobalInfo
from pystap.backend.bpf.errors import raise_error, skip_handler
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.scope import NeedsContext, Scope, runtime_scope
from pystap.backend.bpf.strings import copy_words, fill_zero
from pystap.ir import errors, ops
from pystap.ir.types import Global, StatSpec
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value

SIGN: Final = 1 << 63
LOG_BUCKETS: Final = 128
_LOG_ZERO: Final = 64
_CACHE_LINE: Final = 64
_TRIES: Final = 4
KEY_AREA: Final = "key"  # of the element that is merged
MERGED_AREA: Final = "merged"

# What an extractor needs besides the count.
_NEEDS: Final = {
    "count": (), "sum": ("sum",), "avg": ("sum",), "min": ("min",), "max": ("max",),
    "variance": ("mean", "m2"), "hist_log": ("log",), "hist_linear": ("linear",),
}  # fmt: skip
_ORDER: Final = ("sum", "min", "max", "mean", "m2")


def linear_buckets(shape: tuple[int, int, int]) -> int:
    """Number of buckets of a linear histogram, both out-of-range ones included."""
    start, stop, step = shape
    return (stop - start) // step + 3


class Words:
    """Offsets of the words that keep some parts of an aggregate; ``size`` in bytes."""

    __slots__ = ("linear", "linear_count", "log", "offsets", "size", "spec")

    def __init__(self, spec: StatSpec, parts: set[str]) -> None:
        self.spec = spec
        needed = {word for part in parts for word in _NEEDS[part]}
        self.offsets = {"count": 0}
        at = 8
        for word in _ORDER:
            if word in needed:
                self.offsets[word] = at
                at += 8
        self.log = self.linear = -1
        self.linear_count = linear_buckets(spec.linear) if spec.linear else 0
        if "log" in needed:
            self.log = at
            at += 8 * LOG_BUCKETS
        if "linear" in needed:
            self.linear = at
            at += 8 * self.linear_count
        self.size = at


class StatLayout:
    """How an aggregate global is kept."""

    __slots__ = ("map", "parts", "size", "words")

    def __init__(self, u: Unit, var: Global) -> None:
        assert var.stats is not None
        self.words = Words(var.stats, set(var.stats.parts))
        several = "m2" in self.words.offsets and len(u.analysis.stat_levels(var)) > 1
        self.parts = LEVELS if several else 1
        self.size = self.words.size * self.parts
        self.map = -1
        if var.kind == "scalar":
            role = f"global:{var.name}"
            size = layout.round_up(self.size, _CACHE_LINE)
            self.map = u.add_map(role, role, helpers.MAP_ARRAY, 4, size, u.facts.cpus, mmap=True)


def stat_layout(u: Unit, var: Global) -> StatLayout:
    """Layout of an aggregate; the map of a scalar one is added at first use."""
    found = u.stats.get(var.index)
    if found is None:
        found = u.stats[var.index] = StatLayout(u, var)
    return found


def describe(u: Unit, var: Global) -> GlobalInfo:
    """Where the session finds a scalar aggregate: element CPU of its map."""
    place = stat_layout(u, var)
    return GlobalInfo(var.name, "scalar", "stats", (), place.map, 0, place.size)


# ---- adding samples


@emit.emits_statement(ops.StatAdd)
def _add(s: Scope, e: ops.StatAdd) -> None:
    if e.keys:
        from pystap.backend.bpf.maps import build_key

        key = build_key(s, e.var, e.keys)
        value = emit.long(s, e.value)
        with_element(s, e.var, key, e.pos, lambda where: add_sample(s, e.var, where, value))
        return
    b = s.b
    value = emit.long(s, e.value)
    slot = s.word()
    b.store(b.helper(helpers.GET_SMP_PROCESSOR_ID, "i64").trunc("i32"), slot)
    where = b.helper(helpers.MAP_LOOKUP, "ptr", b.map_fd(stat_layout(s.u, e.var).map), slot)
    with b.if_(where.ne(0)):
        add_sample(s, e.var, where, value)


def with_element(
    s: Scope, var: Global, key: Value, pos: int, change: Callable[[Value], None]
) -> None:
    """Emit ``change`` for this CPU's slot of an element, which is created if need be."""
    from pystap.backend.bpf import maps

    b = s.b
    element = b.var("ptr", maps.lookup(s, var, key))
    with b.if_(element.get().eq(0)):
        room = maps.array_layout(s.u, var).value_room
        maps.insert(s, var, [key], pos, f"insert_empty.{room}", _emit_insert)
        element.set(maps.lookup(s, var, key))
    with b.if_else(element.get().ne(0)) as (there, gone):
        with there:
            change(element.get())
        with gone:
            skip_handler(s)


def _emit_insert(s: Scope, var: Global, args: list[Value]) -> None:
    """Try to add an empty element, see :func:`maps.insert`."""
    from pystap.backend.bpf import maps

    b = s.b
    room = maps.array_layout(s.u, var).value_room
    table, sequence, key = args
    result = maps.add_new(s, table, key, b.data(bytes(room + 8)))
    with b.if_(result.eq(0)):
        element = b.helper(helpers.MAP_LOOKUP, "ptr", table, key)
        with b.if_(element.ne(0)):
            b.store(_take_number(s, var, key, sequence) + 1, element, room)
    b.ret(b.select(result.eq(helpers.EEXIST), 0, result))


def _take_number(s: Scope, var: Global, key: Value, sequence: Value) -> Value:
    """The number of an element that was just inserted."""
    from pystap.backend.bpf import wrapping

    if not var.wrap:
        return s.b.atomic_rmw("add", sequence, 1)
    number = s.b.load("i64", sequence)
    wrapping.note_insertion(s, var, key, number)
    return number


def add_sample(s: Scope, var: Global, where: Value, value: Value) -> None:
    """Add a sample to a slot."""
    b = s.b
    place = stat_layout(s.u, var)
    words = place.words
    if "m2" in words.offsets:
        if s.context is None:
            raise NeedsContext
        where = _own_part(s, place, where)
    b.atomic_rmw("add", where, 1, order="monotonic")
    if "sum" in words.offsets:
        b.atomic_rmw("add", b.at(where, words.offsets["sum"]), value, order="monotonic")
    if "min" in words.offsets:
        _grow(s, b.at(where, words.offsets["min"]), ~(value ^ -SIGN))
    if "max" in words.offsets:
        _grow(s, b.at(where, words.offsets["max"]), value ^ -SIGN)
    if words.log >= 0:
        bucket = log_bucket(s, value)
        b.atomic_rmw("add", b.at(where, words.log, bucket, scale=8), 1, order="monotonic")
    if words.linear >= 0:
        bucket = _linear_bucket(s, words.spec, value)
        b.atomic_rmw("add", b.at(where, words.linear, bucket, scale=8), 1, order="monotonic")
    if "m2" in words.offsets:
        _deviate(s, words, where, value)


def _own_part(s: Scope, place: StatLayout, where: Value) -> Value:
    """The part of a slot that belongs to the level of the present context."""
    if place.parts == 1:
        return where
    b = s.b
    level = b.barrier(s.header(layout.INDEX) % LEVELS)
    level = b.barrier(b.select(level.ult(LEVELS), level, 0))
    return b.at(where, level * place.words.size)


def _grow(s: Scope, where: Value, value: Value) -> None:
    """Make an unsigned word at least ``value``; a try fails only for that of a nested handler."""
    b = s.b
    with b.for_range(0, _TRIES):
        now = b.load("i64", where, volatile=True)
        with b.if_(now.uge(value)):
            b.break_()
        with b.if_(b.cmpxchg(where, now, value).eq(now)):
            b.break_()


def log_bucket(s: Scope, value: Value) -> Value:
    """Bucket of a sample: 64 for 0, one more for each bit; mirrored for negatives.

    Without a branch, as a verifier would follow all 256 ways through a search for the bits.
    """
    b = s.b
    sign = value.sar(63)
    bits = b.const("i64", 64) - b.leading_zeros((value ^ sign) - sign)
    bucket = (bits ^ sign) - sign + _LOG_ZERO
    # LLVM may see that the bucket is in range and drop the mask; the verifier needs it.
    return b.barrier(bucket) & (LOG_BUCKETS - 1)


def _linear_bucket(s: Scope, spec: StatSpec, value: Value) -> Value:
    """Bucket of a sample: 0 below the start, the last one behind the last regular one."""
    b = s.b
    assert spec.linear is not None
    start, _, step = spec.linear
    last = linear_buckets(spec.linear) - 1
    regular = (value - start) // step + 1
    bucket = b.select(value.slt(start), 0, regular)
    bucket = b.opaque(bucket)
    return b.barrier(b.select(bucket.ugt(last), last, bucket))


def _deviate(s: Scope, words: Words, where: Value, value: Value) -> None:
    """Welford's step on the sample shifted left; the count was increased already."""
    b = s.b
    mean_at, m2_at = words.offsets["mean"], words.offsets["m2"]
    count = b.load("i64", where)
    count = _at_least_one(s, count)
    scaled = value << words.spec.shift
    mean = b.load("i64", where, mean_at)
    delta = scaled - mean
    mean = mean + delta.sdiv(count)
    b.store(mean, where, mean_at)
    b.store(b.load("i64", where, m2_at) + delta * (scaled - mean), where, m2_at)


# ---- all CPUs


def each_slot(s: Scope, var: Global, key_area: str, act: Callable[[Scope, Value], None]) -> None:
    """Emit ``act(scope, slot)`` for every CPU's slot of an aggregate.

    The key of an element stands in the area ``key_area``.
    """
    place = stat_layout(s.u, var)

    def body(inner: Scope, cpu: Value) -> None:
        b = inner.b
        if var.kind == "array":
            from pystap.backend.bpf.maps import array_layout

            elements = array_layout(inner.u, var)
            key = inner.area(key_area, elements.key_size)
            slot = b.helper(helpers.MAP_LOOKUP_PERCPU, "ptr", b.map_fd(elements.map), key, cpu)
        else:
            number = inner.word()
            b.store(cpu.trunc("i32"), number)
            slot = b.helper(helpers.MAP_LOOKUP, "ptr", b.map_fd(place.map), number)
        inner.leave_if(slot.eq(0), "continue")
        act(inner, slot)

    run_loop(s, s.u.facts.cpus, body, "cpus")


def clear_scalar(s: Scope, var: Global) -> None:
    """Empty a scalar aggregate on every CPU."""
    size = stat_layout(s.u, var).size
    each_slot(s, var, "", lambda inner, slot: fill_zero(inner, slot, size))


def element_sequence(s: Scope, var: Global, key: Value) -> Value:
    """Insertion number of an element, which stands in the slot of the CPU that created it."""
    from pystap.backend.bpf.maps import array_layout

    place = array_layout(s.u, var)
    copy_words(s, key, s.area(KEY_AREA, place.key_size), place.key_size)
    s.set_header(layout.SCRATCH, 0)

    def take(inner: Scope, slot: Value) -> None:
        number = inner.b.load("i64", slot, place.value_room)
        inner.set_header(layout.SCRATCH, inner.header(layout.SCRATCH) | number)

    each_slot(s, var, KEY_AREA, take)
    return s.header(layout.SCRATCH)


# ---- merging


def merged(s: Scope, var: Global, keys: list[ops.Expr], op: str) -> tuple[Value, Words]:
    """Emit the merging of what an extractor needs: where the words are, and which."""
    if var.kind == "array":
        from pystap.backend.bpf.maps import array_layout, build_key

        key = build_key(s, var, keys)
        size = array_layout(s.u, var).key_size
        copy_words(s, key, s.area(KEY_AREA, size), size)
    return merged_element(s, var, op)


def merged_element(s: Scope, var: Global, op: str) -> tuple[Value, Words]:
    """The same for the element whose key is in the key area."""
    assert var.stats is not None
    u = s.u
    words = Words(var.stats, {op})
    name = u.function(
        f"merge.{var.index}.{op}", ["index"], lambda b: _emit_merge(u, var, words, b)
    )
    s.b.call(name, s.header(layout.INDEX))
    return s.area(MERGED_AREA, words.size), words


def _emit_merge(u: Unit, var: Global, words: Words, b: FunctionBuilder) -> None:
    s = runtime_scope(u, b, b.args[0])
    fill_zero(s, s.area(MERGED_AREA, words.size), words.size)
    place = stat_layout(u, var)

    def take(inner: Scope, slot: Value) -> None:
        for part in range(place.parts):
            _merge_part(inner, words, place.words, inner.b.at(slot, part * place.words.size))

    each_slot(s, var, KEY_AREA, take)
    b.ret(0)


def _merge_part(s: Scope, words: Words, source: Words, slot: Value) -> None:
    b = s.b
    total = s.area(MERGED_AREA, words.size)
    count = b.load("i64", slot)
    with b.if_(count.ne(0)):
        if "m2" in words.offsets:
            _merge_deviation(s, words, source, total, slot)
        b.store(b.load("i64", total) + count, total)
        for word in ("sum", "min", "max"):
            if word not in words.offsets:
                continue
            more = b.load("i64", slot, source.offsets[word])
            where = words.offsets[word]
            now = b.load("i64", total, where)
            merged_word = now + more if word == "sum" else b.select(now.ult(more), more, now)
            b.store(merged_word, total, where)
        if words.log >= 0:
            _merge_buckets(s, total + words.log, slot + source.log, LOG_BUCKETS)
        if words.linear >= 0:
            _merge_buckets(s, total + words.linear, slot + source.linear, words.linear_count)


def _merge_buckets(s: Scope, total: Value, slot: Value, count: int) -> None:
    b = s.b
    with b.for_range(0, count) as i:
        where = b.at(total, 0, i, scale=8)
        more = b.load("i64", b.at(slot, 0, i, scale=8))
        b.store(b.load("i64", where) + more, where)


def _merge_deviation(s: Scope, words: Words, source: Words, total: Value, slot: Value) -> None:
    """Mean and squared deviations of two sets together; the count is not yet increased."""
    b = s.b
    mean_at, m2_at = words.offsets["mean"], words.offsets["m2"]
    mean, m2 = (
        b.load("i64", slot, source.offsets["mean"]),
        b.load("i64", slot, source.offsets["m2"]),
    )
    here, there = b.load("i64", total), b.load("i64", slot)
    with b.if_else(here.eq(0)) as (first, later):
        with first:
            b.store(mean, total, mean_at)
            b.store(m2, total, m2_at)
        with later:
            count = _at_least_one(s, here + there)
            old = b.load("i64", total, mean_at)
            delta = mean - old
            b.store(old + (delta * there).sdiv(count), total, mean_at)
            cross = (delta * here * there).sdiv(count)
            b.store(b.load("i64", total, m2_at) + m2 + delta * cross, total, m2_at)


@emit.emits_long(ops.StatGet)
def _get(s: Scope, e: ops.StatGet) -> Value:
    total, words = merged(s, e.var, e.keys, e.op)
    if e.op not in ("count", "sum"):
        with s.b.if_(s.b.load("i64", total).eq(0)):
            raise_error(s, errors.EMPTY_AGGREGATE, e.pos)
    return extract(s, total, words, e.op)


def extract(s: Scope, total: Value, words: Words, op: str) -> Value:
    """An extractor's value from merged words; what needs samples is undefined without."""
    b = s.b
    count = b.load("i64", total)
    if op == "count":
        return count
    if op in ("sum", "avg"):
        value = b.load("i64", total, words.offsets["sum"])
        return value if op == "sum" else value.sdiv(_at_least_one(s, count))
    if op == "min":
        return ~b.load("i64", total, words.offsets["min"]) ^ -SIGN
    if op == "max":
        return b.load("i64", total, words.offsets["max"]) ^ -SIGN
    m2 = b.load("i64", total, words.offsets["m2"])
    variance = m2.sdiv(_at_least_one(s, count - 1)).sar(min(2 * words.spec.shift, 63))
    return b.select(count.ult(2), 0, variance)


def _at_least_one(s: Scope, value: Value) -> Value:
    return s.b.select(value.eq(0), s.b.const("i64", 1), value)
