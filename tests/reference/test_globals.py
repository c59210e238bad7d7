"""Scalars and arrays."""

from __future__ import annotations

import pytest

from pystap.backend.reference import Environment, InterpreterError
from pystap.ir import ops

from .irbuild import LONG, STR, Build, arith, e, emit, get, put


def test_scalars() -> None:
    b = Build()
    x, s = b.scalar("x", init=5), b.scalar("s", STR, init="hey")
    result = b.begin(
        emit("%d %s\n", get(x), get(s)),
        put(x, arith("+", get(x), 1)),
        ops.AddGlobal(x, e((1 << 63) - 1)),
        put(s, "ho"),
    )
    assert result.output == b"5 hey\n"
    assert result.globals == {"x": -(1 << 63) + 5, "s": "ho"}


def test_deleting_a_scalar_forgets_its_initial_value_too() -> None:
    b = Build()
    x, s = b.scalar("x", init=5), b.scalar("s", STR, init="hey")
    assert b.begin(ops.DeleteGlobal(x), ops.DeleteGlobal(s)).globals == {"x": 0, "s": ""}


def test_reading_an_absent_element_does_not_create_it() -> None:
    b = Build()
    a, t = b.array("a"), b.array("t", (STR, LONG), STR)
    result = b.begin(
        emit("%d[%s]", ops.MapGet(a, [e(1)]), ops.MapGet(t, [e("k"), e(1)])),
        emit("%d", ops.MapHas(a, [e(1)])),
    )
    assert result.output == b"0[]0"
    assert result.globals == {"a": {}, "t": {}}


def test_elements() -> None:
    b = Build()
    t = b.array("t", (STR, LONG))
    result = b.begin(
        ops.SetMap(t, [e("k"), e(1)], e(10), -1),
        ops.SetMap(t, [e("k"), e(2)], e(0), -1),
        ops.SetMap(t, [e("l"), e(2)], e(30), -1),
        ops.AddMap(t, [e("k"), e(1)], e(-11), -1),
        ops.AddMap(t, [e("m"), e(7)], e(3), -1),
        emit("%d%d%d", ops.MapHas(t, [e("k"), e(2)]), ops.MapHas(t, [None, e(7)]),
             ops.MapHas(t, [e("z"), None])),
        ops.DeleteMap(t, [None, e(2)]),
        ops.DeleteMap(t, [e("absent"), e(2)]),
    )  # fmt: skip
    assert result.output == b"110"
    assert result.globals["t"] == {("k", 1): -1, ("m", 7): 3}


def test_deleting_a_whole_array() -> None:
    b = Build()
    a = b.array()
    result = b.begin(ops.SetMap(a, [e(1)], e(1), -1), ops.DeleteGlobal(a))
    assert result.globals["a"] == {}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (False, "Array overflow, check MAXMAPENTRIES"),
        (True, "Array overflow, check size limit (2)"),
    ],
)
def test_a_full_array_is_an_error(declared: bool, message: str) -> None:
    for make in (
        lambda a, at: ops.SetMap(a, [e(3)], e(3), at),
        lambda a, at: ops.AddMap(a, [e(3)], e(3), at),
    ):
        b = Build()
        a = b.array(capacity=2, declared=declared)
        at = b.pos("identifier 'a'", 2, 2)
        fill = [ops.SetMap(a, [e(k)], e(k), -1) for k in (1, 2, 1)]
        result = b.begin(*fill, make(a, at))
        assert (
            result.messages[0]
            == f"ERROR: {message} near identifier 'a' at t.stp:2:2 in probe begin"
        )
        assert result.globals["a"] == {(1,): 1, (2,): 2}


def test_a_full_aggregate_array_is_an_error() -> None:
    b = Build()
    s = b.stat("s", (LONG,), capacity=1)
    at = b.pos("identifier 's'")
    result = b.begin(*(ops.StatAdd(s, [e(k)], e(k), at) for k in (1, 1, 2)))
    assert result.messages[0].startswith("ERROR: Array overflow")
    assert result.globals["s"][(1,)].count == 2


def test_a_wrapping_array_drops_its_oldest_element() -> None:
    b = Build()
    a = b.array(capacity=2, wrap=True)
    keys = (1, 2, 1, 3)  # storing to 1 again does not make it younger
    result = b.begin(*(ops.SetMap(a, [e(k)], e(k), -1) for k in keys))
    assert result.globals["a"] == {(2,): 2, (3,): 3}


LOCK_FAULTS = {
    "read under update": ("update", lambda g: emit("%d", get(g))),
    "update under read": ("read", lambda g: ops.AddGlobal(g, e(1))),
    "write under update": ("update", lambda g: put(g, 1)),
    "write under read": ("read", lambda g: put(g, 1)),
}


@pytest.mark.parametrize("name", LOCK_FAULTS)
def test_access_that_a_held_lock_forbids(name: str) -> None:
    mode, stmt = LOCK_FAULTS[name]
    b = Build()
    g = b.scalar()
    with pytest.raises(InterpreterError, match="under a"):
        b.begin(ops.Locked([(g, mode)], [stmt(g)]))  # type: ignore[list-item]


def test_locks_are_taken_in_order_and_released() -> None:
    b = Build()
    g, h = b.scalar("g"), b.scalar("h")
    inner = ops.Locked([(g, "write")], [put(g, 1)])
    b.begin(ops.Locked([(h, "write")], [put(h, 1)]), inner)
    with pytest.raises(InterpreterError, match="out of order"):
        b.begin(ops.Locked([(h, "write")], [inner]))


def test_a_handler_that_gets_no_lock_is_skipped_and_counted() -> None:
    b = Build()
    g, h = b.scalar("g"), b.scalar("h")
    b.probe([ops.Locked([(g, "write"), (h, "read")], [put(g, 1)])])
    env = Environment(lock_fails=lambda name: name == "h")
    from pystap.backend.reference import Event

    b.module.limits.maxskipped = 1
    result = b.run([(0, Event())], env)
    assert (result.skipped, result.errors, result.status) == (1, 0, 0)
    assert result.messages == ["WARNING: Number of errors: 0, skipped probes: 1"]
    result = b.run([(0, Event())] * 5, env)
    assert (result.skipped, result.status) == (2, 1)
    assert result.messages[0].startswith("ERROR: Skipped too many probes")
