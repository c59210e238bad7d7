"""Associative arrays: hash maps keyed by the packed tuple.

A key is the tuple's parts one behind the other: longs as 8 bytes, strings padded with zeros to
their bound.  A value holds the element and behind it the number of its insertion, from 1, which
gives the order of iteration and tells the oldest element of a wrapping array.
"""

from __future__ import annotations

from collections.abc import Sequence

from pystap.backend.bpf import emit, helpers, strings
from pystap.backend.bpf.artifact import GlobalInfo
from pystap.backend.bpf.errors import raise_error, skip_handler
from pystap.backend.bpf.layout import Frame, round_up
from pystap.backend.bpf.loops import after_callback, callback
from pystap.backend.bpf.scope import Body, Scope
from pystap.backend.bpf.strings import Room, Text
from pystap.ir import errors, ops
from pystap.ir.types import Global, Ty
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value


class ArrayLayout:
    """Sizes and offsets of an array's keys and values."""

    __slots__ = ("key_offsets", "key_rooms", "key_size", "limits", "map", "sequence", "value_room")

    def __init__(self, u: Unit, var: Global) -> None:
        most = u.limits.maxstringlen
        bounds = var.key_bounds or (0,) * len(var.keys)
        self.limits = tuple(
            min(bound or most, most) if ty is Ty.STR else 8 for ty, bound in zip(var.keys, bounds)
        )
        self.key_rooms = tuple(round_up(limit) for limit in self.limits)
        self.key_offsets = tuple(sum(self.key_rooms[:i]) for i in range(len(self.key_rooms)))
        self.key_size = sum(self.key_rooms)
        if var.stats is not None:
            from pystap.backend.bpf.stats import StatLayout

            self.value_room = StatLayout(u, var).size
        elif var.value is Ty.STR:
            self.value_room = round_up(min(var.bound or most, most))
        else:
            self.value_room = 8
        self.sequence = u.globals.add(bytes(8))  # the number of the next insertion
        kind = helpers.MAP_HASH if var.stats is None else helpers.MAP_PERCPU_HASH
        role = f"global:{var.name}"
        self.map = u.add_map(role, role, kind, self.key_size, self.value_room + 8, var.capacity)


def array_layout(u: Unit, var: Global) -> ArrayLayout:
    """Layout of an array, whose map is added at first use."""
    found = u.arrays.get(var.index)
    if found is None:
        found = u.arrays[var.index] = ArrayLayout(u, var)
    return found


def describe(u: Unit, var: Global) -> GlobalInfo:
    """Where the session finds an array."""
    kind = "stats" if var.stats else "string" if var.value is Ty.STR else "long"
    keys = tuple("string" if k is Ty.STR else "long" for k in var.keys)
    place = array_layout(u, var)
    return GlobalInfo(var.name, "array", kind, keys, place.map, 0, place.value_room)


# ---- keys


def build_key(s: Scope, var: Global, keys: Sequence[ops.Expr | None]) -> Value:
    """Emit the parts of a key into temporary memory; its address.  None leaves a part as it is."""
    place = array_layout(s.u, var)
    key = s.temporary(place.key_size)
    write_key(s, var, keys, key)
    return key


def write_key(s: Scope, var: Global, keys: Sequence[ops.Expr | None], key: Value) -> None:
    """Emit the parts of a key to an address."""
    place = array_layout(s.u, var)
    for i, part in enumerate(keys):
        if part is None:
            continue
        where = s.b.at(key, place.key_offsets[i])
        if var.keys[i] is Ty.STR:
            room = Room(where, place.key_rooms[i], place.limits[i], pad=True)
            emit.string_into(s, part, room)
        else:
            s.b.store(emit.long(s, part), where)


def same_part(s: Scope, var: Global, part: int, one: Value, other: Value) -> Value:
    """``i1``: two keys agree in a part."""
    place = array_layout(s.u, var)
    b = s.b
    offset = place.key_offsets[part]
    differ = b.const("i64", 0)
    for at in range(offset, offset + place.key_rooms[part], 8):
        differ = differ | (b.load("i64", one, at) ^ b.load("i64", other, at))
    return differ.eq(0)


def lookup(s: Scope, var: Global, key: Value) -> Value:
    """Address of an element or null."""
    return s.b.helper(helpers.MAP_LOOKUP, "ptr", s.b.map_fd(array_layout(s.u, var).map), key)


# ---- reading


@emit.emits_long(ops.MapGet)
def _get_long(s: Scope, e: ops.MapGet) -> Value:
    b = s.b
    element = lookup(s, e.var, build_key(s, e.var, e.keys))
    result = b.var("i64", 0)
    with b.if_(element.ne(0)):
        result.set(b.load("i64", element))
    return result.get()


@emit.emits_string(ops.MapGet)
def _get_string(s: Scope, e: ops.MapGet, room: Room) -> None:
    b = s.b
    place = array_layout(s.u, e.var)
    element = lookup(s, e.var, build_key(s, e.var, e.keys))
    with b.if_else(element.ne(0)) as (there, absent):
        with there:
            bound = strings.bound(s, e)
            strings.copy(s, Text(element, bound, place.value_room), room)
        with absent:
            strings.store_bytes(s, bytes(room.size if room.pad else 8), room.ptr)


@emit.emits_long(ops.MapHas)
def _has(s: Scope, e: ops.MapHas) -> Value:
    b = s.b
    if None not in e.keys:
        element = lookup(s, e.var, build_key(s, e.var, e.keys))
        # LLVM would calculate with the address, which the verifier refuses
        return b.barrier(element.ne(0).zext("i64"))
    found = s.body.frame.allocate(8)
    b.store(0, s.slot(found))

    def note(inner: Scope, _key: Value) -> None:
        inner.b.store(1, inner.slot(found))
        inner.leave("break")

    each_matching(s, e.var, e.keys, note)
    return b.load("i64", s.slot(found))


def each_matching(
    s: Scope,
    var: Global,
    keys: Sequence[ops.Expr | None],
    act: Callable[[Scope, Value], None],
) -> None:
    """Emit ``act(scope, key)`` for each element that agrees with the keys given."""
    pattern_at = s.body.frame.allocate(array_layout(s.u, var).key_size)
    write_key(s, var, keys, s.slot(pattern_at))

    def body(inner: Scope, _map: Value, key: Value, _value: Value) -> None:
        skip_others(inner, var, keys, key, inner.slot(pattern_at))
        act(inner, key)

    for_each(s, var, body)


def skip_others(
    s: Scope, var: Global, keys: Sequence[ops.Expr | None], key: Value, pattern: Value
) -> None:
    """``continue`` unless a key agrees with a pattern in the parts that are given."""
    for i, part in enumerate(keys):
        if part is not None:
            s.leave_if(same_part(s, var, i, key, pattern) ^ 1, "continue")


def for_each(s: Scope, var: Global, body: Callable[[Scope, Value, Value, Value], None]) -> None:
    """Call back for every element: ``body(scope, map, key, value)``; ``break`` ends it."""
    b = s.b
    params = [("ptr", "map"), ("ptr", "key"), ("ptr", "value"), ("ptr", "state")]
    name, used = callback(s, "each", params, 3, body)
    b.helper(
        helpers.FOR_EACH_MAP_ELEM,
        "i64",
        b.map_fd(array_layout(s.u, var).map),
        b.symbol(name),
        s.state(),
        0,
    )
    after_callback(s, used)


# ---- writing


@emit.emits_statement(ops.SetMap)
def _set(s: Scope, e: ops.SetMap) -> None:
    key = build_key(s, e.var, e.keys)
    place = array_layout(s.u, e.var)
    if e.var.value is Ty.STR:
        text = strings.reference(s, e.value)
        limit = min(e.var.bound or s.u.limits.maxstringlen, s.u.limits.maxstringlen)

        def write(where: Value) -> None:
            strings.copy(s, text, Room(where, place.value_room, limit))
    else:
        value = emit.long(s, e.value)

        def write(where: Value) -> None:
            s.b.store(value, where)

    change_element(s, e.var, key, e.pos, write, write)


@emit.emits_statement(ops.AddMap)
def _add(s: Scope, e: ops.AddMap) -> None:
    b = s.b
    key = build_key(s, e.var, e.keys)
    delta = emit.long(s, e.delta)

    def add(where: Value) -> None:
        b.atomic_rmw("add", where, delta, order="monotonic")

    change_element(s, e.var, key, e.pos, add, lambda where: b.store(delta, where))


def change_element(
    s: Scope,
    var: Global,
    key: Value,
    pos: int,
    change: Callable[[Value], None],
    first: Callable[[Value], None],
) -> None:
    """Change an element where it is, or create it with what ``first`` writes.

    Both get the address of the element's memory.  Another CPU may create the element at the same
    time; then this one's change is made to it.
    """
    b = s.b
    element = b.var("ptr", lookup(s, var, key))
    with b.if_(element.get().eq(0)), s.temporaries():
        place = array_layout(s.u, var)
        value = s.temporary(place.value_room + 8)
        if place.value_room > 8:
            strings.fill_zero(s, value, place.value_room)
        first(value)
        insert(s, var, [key, value], pos, f"insert.{place.value_room}", _emit_insert)
        with b.if_(b.load("i64", value, place.value_room).eq(0)):
            element.set(lookup(s, var, key))
    with b.if_(element.get().ne(0)):
        change(element.get())


def insert(
    s: Scope,
    var: Global,
    args: list[Value],
    pos: int,
    name: str,
    make: Callable[[Scope, Global, list[Value]], None],
) -> None:
    """Insert an element by a subroutine that ``make`` emits: its arguments are the map, the
    address of the number of the next insertion, and the key and what else is in ``args``.

    It gives the helper's error; that there is such an element already is none.  Arrays share the
    subroutine called ``name``, as a program cannot have many; only wrapping ones have their own.
    """
    from pystap.backend.bpf.globals_ import word_address

    u, b = s.u, s.b
    place = array_layout(u, var)

    def emit_body(inner: FunctionBuilder) -> None:
        frame = Body(Frame(inner.name), False)
        make(Scope(u, frame, inner, None), var, inner.args)

    args = [b.map_fd(place.map), word_address(s, place.sequence), *args]
    params = [("ptr", f"a{i}") for i in range(len(args))]
    name = u.subroutine(f"{name}.{var.index}" if var.wrap else name, params, emit_body)
    result = b.var("i64", b.call(name, *args))
    with b.if_(result.get().ne(0)):
        with b.if_(result.get().eq(helpers.E2BIG)):
            make_room(s, var, pos)
            if var.wrap:
                result.set(b.call(name, *args))
        with b.if_(result.get().ne(0)):
            skip_handler(s)


def _emit_insert(s: Scope, var: Global, args: list[Value]) -> None:
    """Try to add an element; behind its value its number is left, 0 if there was one already."""
    from pystap.backend.bpf import wrapping

    b = s.b
    place = array_layout(s.u, var)
    table, sequence, key, value = args
    number = b.load("i64", sequence) if var.wrap else b.atomic_rmw("add", sequence, 1)
    b.store(number + 1, value, place.value_room)
    result = add_new(s, table, key, value)
    if var.wrap:
        with b.if_(result.eq(0)):
            wrapping.note_insertion(s, var, key, number)
    with b.if_(result.eq(helpers.EEXIST)):
        b.store(0, value, place.value_room)
        b.ret(0)
    b.ret(result)


def add_new(s: Scope, table: Value, key: Value, value: Value) -> Value:
    """Emit the adding of an element that must not exist yet: 0 or a negative error."""
    b = s.b
    result = b.helper(helpers.MAP_UPDATE, "i64", table, key, value, helpers.NOEXIST)
    # Some kernels give an int here, and its sign does not reach the upper half.
    return result.trunc("i32").sext("i64")


def make_room(s: Scope, var: Global, pos: int) -> None:
    """The array is full: drop the oldest element, or raise the error."""
    if var.wrap:
        from pystap.backend.bpf.wrapping import drop_oldest

        drop_oldest(s, var)
    elif var.capacity_declared:
        raise_error(s, errors.ARRAY_OVERFLOW_SIZED, pos, var.capacity)
    else:
        raise_error(s, errors.ARRAY_OVERFLOW, pos)


# ---- deleting


@emit.emits_statement(ops.DeleteMap)
def _delete(s: Scope, e: ops.DeleteMap) -> None:
    b = s.b
    fd = array_layout(s.u, e.var).map
    if None not in e.keys:
        key = build_key(s, e.var, e.keys)
        b.helper(helpers.MAP_DELETE, "i64", b.map_fd(fd), key)
        return
    each_matching(s, e.var, e.keys, lambda inner, key: _delete_key(inner, fd, key))


def _delete_key(s: Scope, fd: int, key: Value) -> None:
    s.b.helper(helpers.MAP_DELETE, "i64", s.b.map_fd(fd), key)


def clear(s: Scope, var: Global) -> None:
    """Delete every element."""
    fd = array_layout(s.u, var).map
    for_each(s, var, lambda inner, _map, key, _value: _delete_key(inner, fd, key))


@emit.emits_statement(ops.DeleteGlobal)
def _delete_global(s: Scope, e: ops.DeleteGlobal) -> None:
    from pystap.backend.bpf.globals_ import address

    if e.var.kind == "array":
        clear(s, e.var)
    elif e.var.stats is not None:
        from pystap.backend.bpf.stats import clear_scalar

        clear_scalar(s, e.var)
    else:
        s.b.store(0, address(s, e.var))
