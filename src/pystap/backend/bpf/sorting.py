"""Heap sort of snapshots, in the kernel.

The sort map holds pairs: what an element is ordered by (a long, always ascending), and a tie
breaker: the insertion number, and in its low bits which entry of the snapshot it stands for.
"""

from __future__ import annotations

from pystap.backend.bpf import helpers, layout
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.llvm.values import Operand
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value

TIE_BITS: Final = 24  # for the number of an entry
_ENTRY_MASK: Final = (1 << TIE_BITS) - 1
_MAP: Final = "sort"
# Scratch words: place in the heap, first pair, first entry, number of pairs.
_AT, _FIRST, _ENTRIES, _COUNT = (layout.SCRATCH + 8 * i for i in range(4))


class SortKey(NamedTuple):
    """A string in the entries that decides between equal first bytes: map, offset, bytes."""

    entries: int
    offset: int
    room: int
    descending: bool


class Pair(NamedTuple):
    """One element of the sort map, loaded."""

    order: Value
    tie: Value


class Heap(NamedTuple):
    """The best elements so far, the last one of them on top: first pair, first entry, how many
    there are, and whether there may not be more (``i1``)."""

    first: Value
    entries: Value
    size: Value
    full: Value


def reserve(u: Unit, pairs: int) -> int:
    """Number of the first of some new pairs in the sort map."""
    first = u.sort_pairs
    u.sort_pairs += pairs
    index = sort_map(u)
    u.maps[index] = u.maps[index]._replace(max_entries=u.sort_pairs)
    return first


def sort_map(u: Unit) -> int:
    """The map of pairs."""
    return u.add_map(_MAP, _MAP, helpers.MAP_ARRAY, 4, 16, 0)


def sort(s: Scope, first: Value, entries: Value, count: Value, key: SortKey | None) -> None:
    """Sort ``count`` pairs from ``first`` on, whose entries begin at number ``entries``."""
    u = s.u
    name = u.function(
        f"sort.{_suffix(key)}",
        ["index", "first", "entries", "count"],
        lambda b: _emit_sort(u, key, b),
    )
    s.b.call(name, s.header(layout.INDEX), first, entries, count)


def _suffix(key: SortKey | None) -> str:
    """What tells functions for different keys apart."""
    return f"{key.entries}.{key.offset}.{int(key.descending)}" if key else "longs"


def select(s: Scope, heap: Heap, pair: Pair, key: SortKey | None) -> Value:
    """Enter a pair into a heap if it belongs there; the number of an entry that is free now."""
    u = s.u
    s.set_header(_FIRST, heap.first)
    s.set_header(_ENTRIES, heap.entries)
    s.set_header(_COUNT, heap.size)
    name = u.function(
        f"select.{_suffix(key)}",
        ["index", "order", "tie", "full"],
        lambda b: _emit_select(u, key, b),
    )
    return s.b.call(name, s.header(layout.INDEX), pair.order, pair.tie, heap.full.zext("i64"))


def _emit_select(u: Unit, key: SortKey | None, b: FunctionBuilder) -> None:
    """Loops are callbacks here: few pairs come so far, and they are verified once."""
    index, order, tie, full = b.args
    s = runtime_scope(u, b, index)
    kept = s.body.frame.allocate(16)
    _store(s, Pair(order, tie), s.slot(kept))
    with b.if_(full.eq(0)):
        s.set_header(_AT, s.header(_COUNT))
        run_loop(s, _deepest(u), lambda inner, _: _rise(inner, kept, key), "rise")
        _settle(s, Pair(order, tie))
        b.ret(s.header(_COUNT) + 1)
    top = _pair_at(s, 0)
    with b.if_(top.eq(0)):
        b.ret(tie & _ENTRY_MASK)
    last = _load(s, top)
    with b.if_(_greater(s, last, Pair(order, tie), key) ^ 1):
        b.ret(tie & _ENTRY_MASK)
    s.set_header(_AT, 0)
    run_loop(s, _deepest(u), lambda inner, _: _sink_further(inner, kept, key), "sink")
    _settle(s, Pair(order, tie))
    b.ret(last.tie & _ENTRY_MASK)


def _rise(s: Scope, kept: int, key: SortKey | None) -> None:
    """Move the pair above the place down to it, and the place up."""
    at = s.header(_AT)
    s.leave_if(at.eq(0), "break")
    above = (at - 1) >> 1
    parent = _pair_at(s, above)
    s.leave_if(parent.eq(0), "break")
    here = _pair_at(s, at)
    s.leave_if(here.eq(0), "break")
    pair = _load(s, parent)
    s.leave_if(_greater(s, _load(s, s.slot(kept)), pair, key) ^ 1, "break")
    _store(s, pair, here)
    s.set_header(_AT, above)


def _sink_further(s: Scope, kept: int, key: SortKey | None) -> None:
    def stop(cond: Value) -> None:
        s.leave_if(cond, "break")

    _sink(s, _load(s, s.slot(kept)), s.header(_COUNT), key, stop)


def _settle(s: Scope, pair: Pair) -> None:
    """Store a pair at the place found for it."""
    final = _pair_at(s, s.header(_AT, volatile=True))
    with s.b.if_(final.ne(0)):
        _store(s, pair, final)


def _emit_sort(u: Unit, key: SortKey | None, b: FunctionBuilder) -> None:
    index, first, entries, count = b.args
    s = runtime_scope(u, b, index)
    with b.if_(count.ult(2)):
        b.ret(0)
    s.set_header(_FIRST, first)
    s.set_header(_ENTRIES, entries)
    s.set_header(_COUNT, count)
    rounds = (count >> 1) + count - 1
    run_loop(s, rounds, lambda inner, i: _round(inner, i, key), "sort")
    b.ret(0)


def _round(s: Scope, number: Value, key: SortKey | None) -> None:
    """First each pair with children sinks, then the greatest pairs leave the heap's top."""
    b = s.b
    count = s.header(_COUNT)
    half = count >> 1
    root, size = b.var("i64", half - 1 - number), b.var("i64", count)
    with b.if_(number.uge(half)):
        last = count - 1 - (number - half)
        _swap(s, last)
        root.set(0)
        size.set(last)
    _sift(s, root.get(), size.get(), key)


def _swap(s: Scope, last: Value) -> None:
    """Exchange the heap's top with its last pair."""
    top, bottom = _pair_at(s, 0), _pair_at(s, last)
    s.leave_if(top.eq(0), "break")
    s.leave_if(bottom.eq(0), "break")
    greatest, moved = _load(s, top), _load(s, bottom)
    _store(s, greatest, bottom)
    _store(s, moved, top)


def _pair_at(s: Scope, number: Operand) -> Value:
    """Address of a pair of the snapshot being sorted, or null."""
    b = s.b
    key = s.word()
    b.store((s.header(_FIRST) + number).trunc("i32"), key)
    return b.helper(helpers.MAP_LOOKUP, "ptr", b.map_fd(sort_map(s.u)), key)


def _load(s: Scope, where: Value) -> Pair:
    return Pair(s.b.load("i64", where), s.b.load("i64", where, 8))


def _store(s: Scope, pair: Pair, where: Value) -> None:
    s.b.store(pair.order, where)
    s.b.store(pair.tie, where, 8)


def _sift(s: Scope, root: Value, count: Value, key: SortKey | None) -> None:
    """Let a pair sink into a heap with the greatest pair on top."""
    b = s.b
    start = _pair_at(s, root)
    s.leave_if(start.eq(0), "break")
    sinking = _load(s, start)
    s.set_header(_AT, root)

    def stop(cond: Value) -> None:
        with b.if_(cond):
            b.break_()

    with b.for_range(0, _deepest(s.u)):
        _sink(s, sinking, count, key, stop)
    _settle(s, sinking)


def _sink(
    s: Scope, sinking: Pair, count: Value, key: SortKey | None, stop: Callable[[Value], None]
) -> None:
    """Move the greater pair below the place up to it, and the place down."""
    b = s.b
    # Read back from memory: the verifier must not follow the values it takes.
    at = s.header(_AT, volatile=True)
    child = (at << 1) + 1
    stop(child.uge(count))
    here = _pair_at(s, child)
    stop(here.eq(0))
    order, tie = b.var("i64", b.load("i64", here)), b.var("i64", b.load("i64", here, 8))
    chosen = b.var("i64", child)
    with b.if_((child + 1).ult(count)):
        other = _pair_at(s, child + 1)
        with b.if_(other.ne(0)):
            sibling = _load(s, other)
            with b.if_(_greater(s, sibling, Pair(order.get(), tie.get()), key)):
                order.set(sibling.order)
                tie.set(sibling.tie)
                chosen.set(child + 1)
    child_pair = Pair(order.get(), tie.get())
    stop(_greater(s, child_pair, sinking, key) ^ 1)
    parent = _pair_at(s, at)
    stop(parent.eq(0))
    _store(s, child_pair, parent)
    s.set_header(_AT, chosen.get())


def _deepest(u: Unit) -> int:
    """Levels of the heap of the largest array."""
    return max(var.capacity for var in u.module.globals).bit_length()


def _greater(s: Scope, one: Pair, other: Pair, key: SortKey | None) -> Value:
    """``i1``: ``one`` comes after ``other``."""
    b = s.b
    result = b.var("i1")
    with b.if_else(one.order.ne(other.order)) as (differ, same):
        with differ:
            result.set(one.order.sgt(other.order))
        with same:
            rest = one.tie.ugt(other.tie)
            if key is None:
                result.set(rest)
            else:
                order = _compare_entries(s, one, other, key)
                result.set(b.select(order.eq(0), rest, order.sgt(0)))
    return result.get()


def _compare_entries(s: Scope, one: Pair, other: Pair, key: SortKey) -> Value:
    u, b = s.u, s.b
    name = u.function(
        f"entries.{_suffix(key)}",
        ["one", "other"],
        lambda fb: _emit_compare_entries(key, fb),
    )
    first = s.header(_ENTRIES)
    return b.call(name, first + (one.tie & _ENTRY_MASK), first + (other.tie & _ENTRY_MASK))


def _emit_compare_entries(key: SortKey, b: FunctionBuilder) -> None:
    """Order of two entries by a string padded with zeros, beyond its first word."""
    from pystap.backend.bpf.strings import big_endian_order

    where = []
    for number in b.args:
        slot = b.alloca("i32")
        b.store(number.trunc("i32"), slot)
        found = b.helper(helpers.MAP_LOOKUP, "ptr", b.map_fd(key.entries), slot)
        with b.if_(found.eq(0)):
            b.ret(0)
        where.append(b.at(found, key.offset))
    with b.for_range(8, key.room, 8) as at:
        one, other = (b.load("i64", b.at(w, at)) for w in where)
        with b.if_(one.ne(other)):
            order = big_endian_order(b, one, other)
            b.ret(-order if key.descending else order)
    b.ret(0)
