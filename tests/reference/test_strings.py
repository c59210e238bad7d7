"""Strings: joining, cutting, comparing, formatting."""

from __future__ import annotations

import pytest

from pystap.backend.reference import InterpreterError
from pystap.ir import ops

from .irbuild import STR, Build, e, emit, get, put, sprint, value_of


def test_concatenation_is_cut_to_what_a_string_holds() -> None:
    b = Build()
    b.module.limits.maxstringlen = 8
    result = b.begin(emit("%s|", ops.Concat([e("abcd"), e("efgh")])))
    assert result.output == b"abcdefg|"


def test_sprint_is_cut_and_ends_at_a_nul() -> None:
    assert value_of(sprint("%s-%d", "x", -5)) == "x--5"
    assert value_of(sprint("a%cb", 0)) == "a"
    b = Build()
    b.module.limits.maxstringlen = 4
    assert b.begin(emit("%s|", sprint("%d", 123456))).output == b"123|"


def test_bytes_above_ascii_survive() -> None:
    assert Build().begin(emit("%s\n", "\xc3\xa9")).output == b"\xc3\xa9\n"


@pytest.mark.parametrize(
    ("left", "op", "right", "result"),
    [("a", "<", "b", 1), ("a", "==", "a", 1), ("", "<", "a", 1), ("\xff", ">", "a", 1),
     ("ab", "<=", "a", 0), ("a", "!=", "A", 1), ("a", ">=", "a", 1)],
)  # fmt: skip
def test_comparison_is_by_byte(left: str, op: str, right: str, result: int) -> None:
    assert value_of(ops.StrCompare(op, e(left), e(right))) == str(result)  # type: ignore[arg-type]


def test_output_is_not_cut_at_the_string_limit() -> None:
    b = Build()
    b.module.limits.maxstringlen = 8
    assert b.begin(emit("%d%d%d", 123456, 123456, 1)).output == b"1234561234561"


def test_a_value_longer_than_its_promised_bound_is_a_fault_of_lowering() -> None:
    b = Build()
    var = b.local("short", STR, bound=4)
    with pytest.raises(InterpreterError, match="short"):
        b.begin(put(var, "four"))
    b = Build()
    var = b.local("short", STR, bound=5)
    assert b.begin(put(var, "four"), emit("%s", get(var))).output == b"four"


def test_string_locals_and_globals_start_empty() -> None:
    b = Build()
    local, scalar = b.local("l", STR), b.scalar("g", STR)
    number = b.local("n")
    result = b.begin(emit("[%s][%s][%d]", get(local), get(scalar), get(number)))
    assert result.output == b"[][][0]"
