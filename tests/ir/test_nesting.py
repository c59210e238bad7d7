"""MAXNESTING and the recursion marks."""

from __future__ import annotations

import pytest

from .frontend import make_options, module_of

RECURSIVE = "function r(n) { return n ? r(n - 1) : 0 } "


@pytest.mark.parametrize(
    ("script", "nesting"),
    [
        ("probe begin { println(1) }", 1),
        ("function f() { return 1 } probe begin { println(f()) }", 2),
        ("function f() { return 1 } probe begin { println(f() + f()) }", 2),
        (
            "function f() { return 1 } function g() { return f() } function h() { return g() }"
            " probe begin { println(h(), f()) }",
            4,
        ),
        (RECURSIVE + "probe begin { println(r(3)) }", 12),
        (RECURSIVE + "function f() { return r(2) } probe begin { println(f()) }", 13),
        (
            "function a(n) { return n ? b(n - 1) : 0 } function b(n) { return a(n) }"
            " probe begin { println(a(3)) }",
            13,
        ),
    ],
)
def test_nesting(script: str, nesting: int) -> None:
    assert module_of(script).limits.maxnesting == nesting


def test_a_definition_wins() -> None:
    options = make_options(defines={"MAXNESTING": "3"})
    module = module_of(RECURSIVE + "probe begin { println(r(3)) }", options)
    assert module.limits.maxnesting == 3


def test_recursion_is_marked() -> None:
    script = RECURSIVE + (
        "function a(n) { return n ? b(n - 1) : 0 } function b(n) { return a(n) }"
        " function c() { return a(1) + r(1) } probe begin { println(c()) }"
    )
    marked = {f.name: f.recursive for f in module_of(script).functions}
    assert marked == {"r": True, "a": True, "b": True, "c": False}
