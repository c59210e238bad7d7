"""Aggregates and histograms."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystap.backend.reference import Event
from pystap.ir import ops

from .irbuild import LONG, Build, e, emit, get


def extract(op: str, var: ops.Global, *keys: int, pos: int = -1) -> ops.Expr:
    return ops.StatGet(op, var, [e(k) for k in keys], pos)  # type: ignore[arg-type]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-(1 << 40), 1 << 40)), min_size=1))
def test_extractors(samples: list[tuple[int, int]]) -> None:
    b = Build()
    s = b.stat()
    b.probe([ops.StatAdd(s, [], ops.ContextValue("retval"), -1)])
    b.session(
        "end",
        [emit("%d %d %d %d %d", *(extract(o, s) for o in ("count", "sum", "min", "max", "avg")))],
    )
    result = b.run((0, Event(cpu=cpu, retval=value)) for cpu, value in samples)
    values = [value for _, value in samples]
    total = sum(values)
    average = abs(total) // len(values) * (1 if total >= 0 else -1)
    assert result.output.decode() == f"{len(values)} {total} {min(values)} {max(values)} {average}"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=60))
def test_variance_with_a_large_shift_is_close_to_the_real_one(values: list[int]) -> None:
    b = Build()
    s = b.stat(shift=16)
    adds = [ops.StatAdd(s, [], e(v), -1) for v in values]
    result = b.begin(*adds, emit("%d", extract("variance", s)))
    exact = statistics.variance(values)
    assert abs(int(result.output) - exact) <= 2 + exact / 1000


@pytest.mark.parametrize(
    ("values", "shift", "result"),
    # 1 2 3 4 by hand: the mean stays 1, the squares are 0 + 1*1 + 2*2 + 3*3, and 14 / 3 is 4
    [([5], 0, 0), ([2, 4], 0, 2), ([1, 2, 3, 4], 0, 4), ([1, 2, 3, 4], 8, 1), ([7, 7, 7], 3, 0)],
)
def test_variance_truncates(values: list[int], shift: int, result: int) -> None:
    b = Build()
    s = b.stat(shift=shift)
    adds = [ops.StatAdd(s, [], e(v), -1) for v in values]
    assert int(b.begin(*adds, emit("%d", extract("variance", s))).output) == result


def test_sum_wraps() -> None:
    b = Build()
    s = b.stat()
    adds = [ops.StatAdd(s, [], e((1 << 63) - 1), -1)] * 2
    assert b.begin(*adds, emit("%d", extract("sum", s))).output == b"-2"


def test_an_empty_aggregate() -> None:
    b = Build()
    s, t = b.stat("s"), b.stat("t", (LONG,))
    result = b.begin(
        emit(
            "%d%d%d%d",
            extract("count", s),
            extract("sum", s),
            extract("count", t, 1),
            extract("sum", t, 1),
        )
    )
    assert result.output == b"0000"
    for op in ("min", "max", "avg", "variance"):
        for var, keys in ((s, ()), (t, (1,))):
            again = Build()
            again.module.globals += b.module.globals
            at = again.pos("operator '@'")
            messages = again.begin(emit("%d", extract(op, var, *keys, pos=at))).messages
            assert (
                messages[0]
                == "ERROR: empty aggregate near operator '@' at t.stp:1:1 in probe begin"
            )


def test_deleting_empties() -> None:
    b = Build()
    s, t = b.stat("s"), b.stat("t", (LONG,))
    result = b.begin(
        ops.StatAdd(s, [], e(1), -1),
        ops.StatAdd(t, [e(1)], e(1), -1),
        ops.StatAdd(t, [e(2)], e(1), -1),
        ops.DeleteGlobal(s),
        ops.DeleteMap(t, [e(1)]),
        emit("%d %d %d", extract("count", s), ops.MapHas(t, [e(1)]), extract("count", t, 2)),
    )
    assert result.output == b"0 0 1"


def buckets(b: Build, kind: str, s: ops.Global) -> dict[int, int]:
    """Non-empty buckets, read one by one through a loop over all of them."""
    var = b.local("bucket")
    count = ops.HistGet(kind, s, [], get(var))  # type: ignore[arg-type]
    body: list[ops.Stmt] = [ops.If(count, [emit("%d:%d ", get(var), count)])]
    result = b.begin(ops.ForeachHist(kind, s, [], var, None, 0, body))  # type: ignore[arg-type]
    assert result.messages == []
    return {int(k): int(v) for k, v in (p.split(":") for p in result.output.decode().split())}


def test_log_buckets() -> None:
    b = Build()
    s = b.stat()
    values = [0, 1, 2, 3, 4, 7, 8, -1, -2, -3, (1 << 63) - 1, -(1 << 63)]
    b.session("begin", [ops.StatAdd(s, [], e(v), -1) for v in values], order=-1)
    assert buckets(b, "log", s) == {64: 1, 65: 1, 66: 2, 67: 2, 68: 1, 63: 1, 62: 2, 127: 1, 0: 1}


def test_linear_buckets() -> None:
    b = Build()
    s = b.stat(linear=(0, 40, 10))
    b.session(
        "begin", [ops.StatAdd(s, [], e(v), -1) for v in (-5, 0, 9, 10, 40, 49, 50, 900)], order=-1
    )
    assert buckets(b, "linear", s) == {0: 1, 1: 2, 2: 1, 5: 2, 6: 2}


def test_number_order_and_limit_of_bucket_loops() -> None:
    for kind, order, limit, seen in (
        ("linear", 0, None, "0 1 2 3 4 5 6 "),
        ("linear", -1, e(3), "6 5 4 "),
        ("linear", 1, e(-3), ""),
        ("log", -1, e(2), "127 126 "),
    ):
        b = Build()
        s, var = b.stat(linear=(0, 40, 10)), b.local()
        loop = ops.ForeachHist(kind, s, [], var, limit, order, [emit("%d ", get(var))])  # type: ignore[arg-type]
        assert b.begin(ops.StatAdd(s, [], e(1), -1), loop).output.decode() == seen


@pytest.mark.parametrize(
    ("index", "kind"), [(-1, "log"), (128, "log"), (7, "linear"), (-1, "linear")]
)
def test_bucket_index_out_of_range(index: int, kind: str) -> None:
    b = Build()
    s = b.stat(linear=(0, 40, 10))
    at = b.pos("identifier 's'")
    read = ops.HistGet(kind, s, [], e(index), at)  # type: ignore[arg-type]
    result = b.begin(ops.StatAdd(s, [], e(1), -1), emit("%d", read))
    assert result.messages[0].startswith("ERROR: histogram index out of range near")


TABLE = b"""\
value |-------------------------------------------------- count
    0 |@@@                                                3
   10 |                                                   0
   20 |@                                                  1
   30 |                                                   0
   40 |                                                   0

"""


def test_printed_histograms() -> None:
    b = Build()
    s = b.stat(linear=(0, 40, 10))
    adds = [ops.StatAdd(s, [], e(v), -1) for v in (1, 2, 3, 25)]
    result = b.begin(
        *adds,
        ops.EmitHist("linear", s, [], False),
        ops.EmitHist("linear", s, [], True),
        emit("%s", ops.SprintHist("linear", s, [], False)),
    )
    assert result.output == TABLE + TABLE + b"\n" + TABLE


def test_printing_an_empty_histogram_is_an_error() -> None:
    b = Build()
    s = b.stat()
    at = b.pos("operator '@hist_log'")
    assert (
        b.begin(ops.EmitHist("log", s, [], False, at))
        .messages[0]
        .startswith("ERROR: empty aggregate")
    )
