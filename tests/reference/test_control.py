"""Loops, functions, errors and limits."""

from __future__ import annotations

import pytest

from pystap.backend.reference import InterpreterError
from pystap.ir import ops

from .irbuild import LONG, STR, Build, arith, e, emit, get, put

NEXT, BREAK, CONTINUE, RETURN = ops.Next(), ops.Break(), ops.Continue(), ops.Return()


def less(left: ops.Expr, right: int) -> ops.Expr:
    return ops.Compare("<", left, e(right))


def counting(b: Build, rounds: int, *body: ops.Stmt) -> tuple[ops.Stmt, ops.Expr]:
    """A loop of so many rounds and its counter."""
    i = b.local("i")
    return ops.Loop(less(get(i), rounds), list(body), [put(i, arith("+", get(i), 1))]), get(i)


def test_break_and_continue() -> None:
    b = Build()
    i = b.local()
    is_ = lambda n: ops.Compare("==", get(i), e(n))  # noqa: E731
    loop = ops.Loop(
        e(1),
        [ops.If(is_(2), [CONTINUE]), ops.If(is_(5), [BREAK]), emit("%d", get(i))],
        [put(i, arith("+", get(i), 1))],
    )
    assert b.begin(loop, emit("end")).output == b"0134end"


def test_next_and_return_leave_the_handler_from_within_loops() -> None:
    for leave in (NEXT, RETURN):
        b = Build()
        a, k = b.array(), b.local("k")
        loop, _ = counting(b, 3, emit("x"), leave)
        each = ops.Foreach(a, [k], None, None, 0, 0, "count", None, [loop])
        assert b.begin(ops.SetMap(a, [e(1)], e(1), -1), each, emit("never")).output == b"x"


def filled(b: Build, *elements: tuple[int | str, int]) -> ops.Global:
    """A begin probe that fills an array with one key."""
    ty = STR if isinstance(elements[0][0], str) else LONG
    a = b.array("a", (ty,))
    b.session("begin", [ops.SetMap(a, [e(k)], e(v), -1) for k, v in elements], order=-1)
    return a


def foreach(b: Build, a: ops.Global, **options: object) -> str:
    """What a loop over the array sees, as ``key=value`` words."""
    k, v = b.local("k", a.keys[0]), b.local("v")
    loop = ops.Foreach(
        a, [k], v, options.get("slice"), options.get("order", 0), options.get("column", 0),
        "count", options.get("limit"), [emit("%s=%d ", get(k), get(v)) if a.keys[0] is STR
                                        else emit("%d=%d ", get(k), get(v))],
    )  # type: ignore[arg-type]  # fmt: skip
    return b.begin(loop).output.decode().strip()


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({}, "3=30 1=10 2=-20"),
        ({"order": 1, "column": 1}, "1=10 2=-20 3=30"),
        ({"order": -1, "column": 1}, "3=30 2=-20 1=10"),
        ({"order": 1, "column": 0}, "2=-20 1=10 3=30"),
        ({"order": -1, "column": 0}, "3=30 1=10 2=-20"),
        ({"order": -1, "column": 0, "limit": e(2)}, "3=30 1=10"),
        ({"limit": e(0)}, ""),
        ({"limit": e(-1)}, ""),
        ({"limit": e(99), "order": 1, "column": 1}, "1=10 2=-20 3=30"),
        ({"slice": [e(2)]}, "2=-20"),
        ({"slice": [None], "order": 1, "column": 1}, "1=10 2=-20 3=30"),
        ({"slice": [e(7)]}, ""),
    ],
)
def test_foreach(options: dict[str, object], seen: str) -> None:
    b = Build()
    assert foreach(b, filled(b, (3, 30), (1, 10), (2, -20)), **options) == seen


def test_strings_are_sorted_by_byte() -> None:
    b = Build()
    a = filled(b, ("b", 1), ("B", 2), ("~", 3), ("ba", 4))
    assert foreach(b, a, order=1, column=1) == "B=2 b=1 ba=4 ~=3"


def test_foreach_goes_over_a_snapshot_in_pairs_of_keys() -> None:
    b = Build()
    t = b.array("t", (STR, LONG))
    k1, k2 = b.local("k1", STR), b.local("k2")
    fill = [ops.SetMap(t, [e(k), e(n)], e(1), -1) for k, n in (("x", 1), ("y", 2), ("x", 3))]
    loop = ops.Foreach(
        t, [k1, k2], None, [e("x"), None], -1, 2, "count", None,
        [emit("%s%d ", get(k1), get(k2)),
         ops.SetMap(t, [e("x"), arith("+", get(k2), 10)], e(1), -1)],
    )  # fmt: skip
    assert b.begin(*fill, loop).output == b"x3 x1 "


@pytest.mark.parametrize(
    ("op", "order", "seen"),
    [("count", -1, "1 3 2 "), ("sum", -1, "2 3 1 "), ("min", 1, "1 3 2 "), ("max", 1, "1 3 2 "),
     ("avg", -1, "2 3 1 "), ("variance", -1, "1 3 2 ")],
)  # fmt: skip
def test_foreach_over_aggregates(op: str, order: int, seen: str) -> None:
    b = Build()
    s, k = b.stat("s", (LONG,)), b.local("k")
    samples = [(1, 1), (2, 100), (3, 9), (1, 5), (1, 3), (3, 11)]
    adds = [ops.StatAdd(s, [e(key)], e(v), -1) for key, v in samples]
    loop = ops.Foreach(s, [k], None, None, order, 0, op, None, [emit("%d ", get(k))])  # type: ignore[arg-type]
    assert b.begin(*adds, loop).output.decode() == seen


# --- functions


def test_calls_return_values_and_defaults() -> None:
    b = Build()
    n = b.local("n")
    double = b.function("double", [n], LONG, [ops.Return(arith("*", get(n), 2))])
    nothing = b.function("nothing", [], STR, [emit("in ")])
    bare = b.function("bare", [], LONG, [RETURN])
    result = b.begin(
        put(n, 4),
        emit("%d %d ", ops.Call([double], [e(21)], -1), get(n)),
        emit("[%s]%d", ops.Call([nothing], [], -1), ops.Call([bare], [], -1)),
    )
    assert result.output == b"42 4 in []0"


def factorial(b: Build) -> ops.Function:
    n = b.local("n")
    f = b.function("f", [n], LONG, [])
    again = ops.Call([f], [arith("-", get(n), 1)], b.pos("identifier 'f'", 2))
    f.body = [ops.If(less(get(n), 2), [ops.Return(e(1))]), ops.Return(arith("*", get(n), again))]
    return f


def test_recursion() -> None:
    b = Build()
    b.module.limits.maxnesting = 10
    call = ops.Call([factorial(b)], [e(10)], b.pos("identifier 'f'"))
    assert b.begin(emit("%d", call)).output == b"3628800"


def test_nesting_is_limited() -> None:
    b = Build()
    b.module.limits.maxnesting = 3
    call = ops.Call([factorial(b)], [e(4)], b.pos("identifier 'f'", 9))
    result = b.begin(emit("%d", call))
    assert result.output == b""
    assert result.messages[0] == (
        "ERROR: MAXNESTING exceeded near identifier 'f' at t.stp:2:1"
        " (called from identifier 'f' at t.stp:2:1) (called from identifier 'f' at t.stp:2:1)"
        " (called from identifier 'f' at t.stp:9:1) in probe begin"
    )


def test_next_gives_way_to_the_following_overload() -> None:
    b = Build()
    n = b.local("n")
    small = b.function(
        "f", [n], STR, [ops.If(ops.Not(less(get(n), 10)), [NEXT]), ops.Return(e("small"))]
    )
    even = b.function(
        "f", [n], STR, [ops.If(arith("&", get(n), 1), [emit("odd!"), NEXT]), ops.Return(e("even"))]
    )
    at = b.pos("identifier 'f'", 4)
    calls = [emit("%s ", ops.Call([small, even], [e(v)], at)) for v in (3, 12, 13)]
    result = b.begin(*calls, emit("never"))
    assert result.output == b"small even odd!"
    assert result.messages[0].startswith(
        "ERROR: all functions exhausted near identifier 'f' at t.stp:4"
    )


# --- errors


def failing(b: Build, line: int = 1) -> ops.Stmt:
    return ops.Eval(arith("/", 1, 0, b.pos("operator '/'", line)))


def test_catch() -> None:
    b = Build()
    message = b.local("m", STR)
    result = b.begin(
        ops.Try([emit("a"), failing(b), emit("never")], message, [emit("[%s]", get(message))]),
        ops.Try([emit("b")], None, [emit("never")]),
        ops.Try([ops.Try([failing(b)], None, [emit("c"), failing(b)])], None, [emit("d")]),
        emit("e"),
    )
    assert result.output == b"a[division by 0]bcde"
    assert (result.errors, result.status, result.messages) == (0, 0, [])


def test_an_error_in_a_function_is_caught_by_the_caller_which_may_call_again() -> None:
    b = Build()
    b.module.limits.maxnesting = 1
    f = b.function("f", [], LONG, [failing(b)])
    call: ops.Stmt = ops.Eval(ops.Call([f], [], b.pos("identifier 'f'")))
    loop, _ = counting(b, 3, ops.Try([call], None, [emit("caught ")]))
    assert b.begin(loop).output == b"caught caught caught "


def test_locks_are_released_when_an_error_leaves_their_region() -> None:
    b = Build()
    g = b.scalar()
    region = ops.Locked([(g, "write")], [put(g, 1), failing(b)])
    assert (
        b.begin(ops.Try([region], None, []), ops.Try([region], None, [emit("ok")])).output == b"ok"
    )


def test_a_loop_can_be_left_out_of_a_try() -> None:
    b = Build()
    loop, _ = counting(b, 3, ops.Try([emit("x"), BREAK], None, []))
    assert b.begin(loop, emit("end")).output == b"xend"


def test_where_an_error_happened() -> None:
    b = Build()
    inner = b.function("inner", [], LONG, [failing(b, 1)])
    outer = b.function(
        "outer", [], LONG, [ops.Return(ops.Call([inner], [], b.pos("identifier 'inner'", 2)))]
    )
    result = b.begin(emit("%d", ops.Call([outer], [], b.pos("identifier 'outer'", 3))))
    assert result.messages[0] == (
        "ERROR: division by 0 near operator '/' at t.stp:1:1"
        " (called from identifier 'inner' at t.stp:2:1)"
        " (called from identifier 'outer' at t.stp:3:1) in probe begin"
    )


def test_actions_are_limited() -> None:
    b = Build()
    b.module.limits.maxaction = 10
    at = b.pos("keyword", 5)
    loop, counter = counting(b, 100, ops.Action(3, at))
    result = b.begin(loop)
    assert (
        result.messages[0] == "ERROR: MAXACTION exceeded near keyword at t.stp:5:1 in probe begin"
    )
    b = Build()
    b.module.limits.maxaction = 9
    loop, counter = counting(b, 3, ops.Action(3, b.pos("keyword")))
    assert b.begin(loop, emit("%d", counter)).output == b"3"
    b = Build()
    b.module.limits.time_limits = False
    loop, counter = counting(b, 100, ops.Action(1000, b.pos("keyword")))
    assert b.begin(loop, emit("%d", counter)).output == b"100"


def test_undeclared_locals_are_refused() -> None:
    b = Build()
    stray = ops.LocalVar("stray", LONG, 77)
    with pytest.raises(InterpreterError, match="stray"):
        b.begin(put(stray, 1))
