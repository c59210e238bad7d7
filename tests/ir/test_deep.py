"""Scripts as deep as the parser lets through, and long ones, are translated in reasonable time.

Passes whose cost grows with the square of the depth would take minutes here.
"""

from __future__ import annotations

import pytest

from pystap.ir.check import check
from pystap.ir.printer import print_module

from .frontend import module_of

DEPTH = 300


def nested(before: str, inside: str, after: str) -> str:
    """``inside`` wrapped many times."""
    return before * DEPTH + inside + after * DEPTH


PROBE = "probe timer.profile { %s }"
CHAIN = [f"function f{i}(x) {{ return f{i + 1}(x) + f{i + 1}(x) }}" for i in range(60)]
SCRIPTS = {
    "sum": PROBE % f"println({nested('1 + ', 'pid()', '')})",
    "join": PROBE % f"println({nested('execname() . ', 'execname()', '')})",
    "assignments": PROBE % (nested("x = ", "1", "") + "; println(x)"),
    "global assignments": "global g " + PROBE % nested("g = ", "1", ""),
    "global updates": "global g " + PROBE % nested("g += ", "1", ""),
    "element updates": "global a " + PROBE % nested("a[pid()] *= ", "1", ""),
    "keys": "global a " + PROBE % (nested("a[", "1", "]") + " = 2"),
    "branches": PROBE % nested("if (pid()) { ", "println(1)", "}"),
    "loops": PROBE % nested("while (pid()) { ", "println(1)", "}"),
    "tries": "global g " + PROBE % nested("try { ", "g = g / g", "} catch { }"),
    "calls": "function f(x) { return x + 1 } " + PROBE % f"println({nested('f(', '1', ')')})",
    "chain of functions": " ".join(
        [*CHAIN, "function f60(x) { return x }", PROBE % "println(f0(1))"]
    ),
    "choices": PROBE % f"println({nested('pid() ? 1 : (', '2', ')')})",
    "conditions": PROBE % f"println({nested('pid() && (', '2', ')')})",
    "statements": "global a, s " + PROBE % ("a[pid()] = a[tid()] + 1; s .= execname(); " * DEPTH),
    "handlers": "global a " + (PROBE % "a[pid()] = a[1] + 1\n") * DEPTH,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_translation_ends(name: str) -> None:
    module = module_of(SCRIPTS[name])
    assert check(module) == []
    assert print_module(module)
