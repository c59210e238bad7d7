"""Arrays that wrap: when they are full, the element inserted first goes.

Keys stand in a ring in the order of their insertion, by number.  The tail of the ring is the
oldest element, unless that was deleted meanwhile; and where deleting and inserting have filled
the ring up, its number is no longer there.  Then the array itself is searched.

Changing such an array takes its lock for writing, so all this happens on one CPU at a time.
"""

from __future__ import annotations

from pystap.backend.bpf import helpers, layout, strings
from pystap.backend.bpf.globals_ import word_address
from pystap.backend.bpf.maps import array_layout, for_each
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.ir.types import Global
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value

_NUMBER, _CPU, _KEY = 0, 8, 16  # offsets in a slot of the ring
_TRIES: Final = 16  # slots of deleted elements that are passed over before searching


class Ring:
    """The ring of an array: ``slots`` is a power of two, ``tail`` a word of the globals."""

    __slots__ = ("map", "slots", "tail")

    def __init__(self, u: Unit, var: Global) -> None:
        self.slots = 1 << (2 * var.capacity - 1).bit_length()
        self.tail = u.globals.add(bytes(8))
        name = f"order:{var.name}"
        size = _KEY + array_layout(u, var).key_size
        self.map = u.add_map(name, name, helpers.MAP_ARRAY, 4, size, self.slots)


def _ring(u: Unit, var: Global) -> Ring:
    found = u.rings.get(var.index)
    if found is None:
        found = u.rings[var.index] = Ring(u, var)
    return found


def _slot(s: Scope, ring: Ring, number: Value) -> Value:
    key = s.word()
    s.b.store((number & (ring.slots - 1)).trunc("i32"), key)
    return s.b.helper(helpers.MAP_LOOKUP, "ptr", s.b.map_fd(ring.map), key)


def note_insertion(s: Scope, var: Global, key: Value, number: Value) -> None:
    """An element was inserted: take its number, and enter it in the ring."""
    b = s.b
    place = array_layout(s.u, var)
    b.store(number + 1, word_address(s, place.sequence))
    slot = _slot(s, _ring(s.u, var), number)
    with b.if_(slot.ne(0)):
        b.store(number, slot, _NUMBER)
        if var.stats is not None:
            b.store(b.helper(helpers.GET_SMP_PROCESSOR_ID, "i64") & 0xFFFF_FFFF, slot, _CPU)
        strings.copy_words(s, key, b.at(slot, _KEY), place.key_size)


def drop_oldest(s: Scope, var: Global) -> None:
    """Delete the element inserted first."""
    u = s.u
    s.need_context()
    name = u.function(f"drop.{var.index}", ["index"], lambda b: _emit_drop(u, var, b))
    s.b.call(name, s.header(layout.INDEX))


def _emit_drop(u: Unit, var: Global, b: FunctionBuilder) -> None:
    s = runtime_scope(u, b, b.args[0])
    ring = _ring(u, var)
    tail = word_address(s, ring.tail)
    fd = array_layout(u, var).map
    with b.for_range(0, _TRIES):
        number = b.load("i64", tail, volatile=True)
        slot = _slot(s, ring, number)
        with b.if_(slot.eq(0)):
            b.break_()
        with b.if_(b.load("i64", slot, _NUMBER).ne(number)):
            b.break_()
        b.store(number + 1, tail, volatile=True)
        key = b.at(slot, _KEY)
        with b.if_(_is_element(s, var, slot, key, number)):
            b.helper(helpers.MAP_DELETE, "i64", b.map_fd(fd), key)
            b.ret(0)
    _search(s, var, tail)
    b.ret(0)


def _is_element(s: Scope, var: Global, slot: Value, key: Value, number: Value) -> Value:
    """``i1``: the element with this number is still there."""
    b = s.b
    place = array_layout(s.u, var)
    table = b.map_fd(place.map)
    if var.stats is None:
        element = b.helper(helpers.MAP_LOOKUP, "ptr", table, key)
    else:
        cpu = b.load("i64", slot, _CPU)
        element = b.helper(helpers.MAP_LOOKUP_PERCPU, "ptr", table, key, cpu)
    there = b.var("i1", 0)
    with b.if_(element.ne(0)):
        there.set(b.load("i64", element, place.value_room).eq(number + 1))
    return there.get()


def _search(s: Scope, var: Global, tail: Value) -> None:
    """Find the oldest element among all, delete it, and let the ring go on behind it."""
    from pystap.backend.bpf.stats import element_sequence

    b = s.b
    place = array_layout(s.u, var)
    frame = s.body.frame
    least = frame.allocate(8)
    key_at = frame.allocate(place.key_size)
    b.store(-1, s.slot(least))

    def body(inner: Scope, _map: Value, key: Value, value: Value) -> None:
        c = inner.b
        if var.stats is None:
            number = c.load("i64", value, place.value_room)
        else:
            number = element_sequence(inner, var, key)
        best = inner.slot(least)
        with c.if_(number.ult(c.load("i64", best))):
            c.store(number, best)
            strings.copy_words(inner, key, inner.address(key_at), place.key_size)

    for_each(s, var, body)
    b.helper(helpers.MAP_DELETE, "i64", b.map_fd(place.map), s.address(key_at))
    b.store(b.load("i64", s.slot(least)), tail, volatile=True)
