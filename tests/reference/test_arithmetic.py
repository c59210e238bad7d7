"""64-bit arithmetic against Python's unbounded integers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystap.ir import ops

from .irbuild import Build, arith, e, emit, value_of

LONGS = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-130, 130),
    st.sampled_from([-(1 << 63), (1 << 63) - 1, 1 << 32, -(1 << 32), (1 << 31) - 1]),
)


def signed(value: int) -> int:
    """Any integer as signed 64-bit number, by bytes."""
    return int.from_bytes((value % (1 << 64)).to_bytes(8, "little"), "little", signed=True)


def expected(op: str, a: int, b: int) -> int:
    """What an operator gives, worked out without a limit on size."""
    match op:
        case "+":
            return signed(a + b)
        case "-":
            return signed(a - b)
        case "*":
            return signed(a * b)
        case "/":
            return signed(int(math.copysign(1, a) * math.copysign(1, b)) * (abs(a) // abs(b)))
        case "%":
            return a - b * (int(math.copysign(1, a) * math.copysign(1, b)) * (abs(a) // abs(b)))
        case "<<":
            return signed(a * 2 ** (b % 64))
        case ">>":
            return a // 2 ** (b % 64)
        case ">>>":
            return signed((a % (1 << 64)) // 2 ** (b % 64))
        case "&":
            return signed(a & b)
        case "|":
            return signed(a | b)
    return signed(a ^ b)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["+", "-", "*", "/", "%", "<<", ">>", ">>>", "&", "|", "^"]), LONGS, LONGS)
def test_binary_operators(op: str, a: int, b: int) -> None:
    if op in "/%" and b == 0:
        b = 1
    assert value_of(arith(op, a, b)) == str(expected(op, a, b))


@settings(max_examples=60, deadline=None)
@given(LONGS)
def test_unary_operators(a: int) -> None:
    assert value_of(ops.Neg(e(a))) == str(signed(-a))
    assert value_of(ops.BitNot(e(a))) == str(-a - 1)
    assert value_of(ops.Not(e(a))) == str(int(a == 0))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), LONGS, LONGS)
def test_comparison(op: str, a: int, b: int) -> None:
    assert value_of(ops.Compare(op, e(a), e(b))) == str(int(eval(f"a {op} b")))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("op", "a", "b", "result"),
    [
        ("/", -7, 2, -3),
        ("/", 7, -2, -3),
        ("%", -7, 2, -1),
        ("%", 7, -2, 1),
        ("/", -(1 << 63), -1, -(1 << 63)),
        ("%", -(1 << 63), -1, 0),
        ("%", 5, 1, 0),
        ("<<", 1, 64, 1),
        ("<<", 1, -1, -(1 << 63)),
        (">>", -1, 63, -1),
        (">>>", -1, 63, 1),
        (">>>", -1, 0, -1),
        ("+", (1 << 63) - 1, 1, -(1 << 63)),
    ],
)
def test_edges(op: str, a: int, b: int, result: int) -> None:
    assert value_of(arith(op, a, b)) == str(result)


@pytest.mark.parametrize("op", ["/", "%"])
def test_division_by_zero_is_an_error(op: str) -> None:
    b = Build()
    at = b.pos(f"operator '{op}'", 3, 9)
    result = b.begin(emit("before\n"), emit("%d", arith(op, 1, 0, at)), emit("after\n"))
    assert result.output == b"before\n"
    assert result.messages == [
        f"ERROR: division by 0 near operator '{op}' at t.stp:3:9 in probe begin",
        "WARNING: Number of errors: 1, skipped probes: 0",
    ]
    assert (result.errors, result.status) == (1, 1)


def test_right_operand_of_logic_is_evaluated_only_when_needed() -> None:
    fails = arith("/", 1, 0, Build().pos("operator '/'"))
    assert value_of(ops.Logic("&&", e(0), fails)) == "0"
    assert value_of(ops.Logic("||", e(7), fails)) == "1"
    assert value_of(ops.Logic("&&", e(-2), e(5))) == "1"
    assert value_of(ops.Logic("||", e(0), e(0))) == "0"
    assert value_of(ops.Cond(e(0), fails, e(3), ops.Ty.LONG)) == "3"
