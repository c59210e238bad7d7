"""The passes after translation change nothing but cost, on random scripts.

Each script runs twice in the reference interpreter: as translated, and after all passes.  Output,
messages and final values must agree, and the finished module must satisfy the checker.  The
interpreter refuses strings that outgrow the bounds inferred for their variables.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystap.backend.reference import Interpreter, Result
from pystap.backend.reference.faults import InterpreterError
from pystap.ir.check import check
from pystap.ir.limits import limits_of
from pystap.ir.lower import lower, translate
from pystap.ir.module import Module
from pystap.ir.nesting import note_nesting
from pystap.lang.limits import allow_deep_trees

from .frontend import make_options, module_of, program_of

allow_deep_trees()  # now, so that it does not happen in the middle of a hypothesis test

PROLOGUE = """
global g = 3, h = "h", m, n, w%[2], k
function fn(x) { g = g * 2 + x; return g - x }
function fs(q) { h = h . "+"; n[q] = h; return q . h }
function quiet(x) { return x . "q" }
function rec(x) { return x > 0 ? rec(x - 1) + g++ : x }
function over(x) { if (x > 1) next; return "one" }
function over(x) { g++; return "many" . h }
probe begin {
  a = 1; b = 2; c = 0; s = "s"; t = "t"; m[0] = 0; n[""] = ""; w[0] = 0; k[0] <<< 1;
"""
EPILOGUE = """  printdln("|", a, b, c, s, t)
}
probe end { printdln("|", g, h, m[0], m[1], n["s"], n["t"], w[1], @sum(k[0])) }
"""

# In templates $n is a number, $t a text, $s a statement; what is chosen first is simplest.
LEAVES = {
    "n": ["0", "1", "a", "b", "g", "2", "-1", "7", "c", "a++", "--b", "g++"],
    "t": ["s", "t", "h", '""', '"x"', '"longer"'],
    "s": [";", "a++", "s .= t", "g++", "next"],
}
TEMPLATES = {
    "n": [
        "($n + $n)", "($n - $n)", "($n * $n)", "($n & $n)", "($n / $n)", "($n % $n)",
        "($n < $n)", "($n == $n)", "($n && $n)", "($n || $n)", "(!$n)", "($n ? $n : $n)",
        "($t < $t)", "($t == $t)", "($t != $t)", "($t =~ \"^s|t+\")", "strlen($t)",
        "(a = $n)", "(b += $n)", "(g = $n)", "(g -= $n)", "(a *= $n)", "(g /= $n)", "(b |= $n)",
        "m[$n]", "w[$n]", "(m[$n] = $n)", "(m[$n] += $n)", "(w[$n] = $n)", "(m[$n] *= $n)",
        "m[$n]++", "w[$n]++", "(--m[$n])", "([$n] in m)", "([$t] in n)",
        "(k[$n] <<< $n)", "(@sum(k[$n]) + @count(k[$n]))", "fn($n)", "rec($n & 3)",
    ],
    "t": [
        "($t . $t)", "(s = $t)", "(t .= $t)", "(h = $t)", "(h .= $t)", "n[$t]", "(n[$t] = $t)",
        "(n[$t] .= $t)", "fs($t)", "quiet($t)", "over($n)", "($n ? $t : $t)", "sprint($n, $t)",
        'sprintf("<%3d|%s|%-4s>", $n, $t, $t)', "substr($t, 0, $n)",
    ],
    "s": [
        "$n", "$t", "print($n, $t)", "println($t, $t, $n)", 'printf("%d %5s %s", $n, $t, $t)',
        'printdln("-", $t, $n)', "if ($n) { $s } else { $s }", "try { $s; $s } catch (t) { $s }",
        "for (c = 0; c < 3; c++) { $s; if ($n) break }",
        "for (c = 0; c < 3; c++) { if ($n) continue; $s }",
        "foreach ([p] in n limit $n) print(p, n[p])", "foreach (v = [q] in m-) println(v, q, a++)",
        "delete m[$n]", "delete n[$t]", "delete h", "delete m", "a = $n", "s = $t", "g = $n",
        "h = $t", "m[$n] = $n", "n[$t] = $t", "while (c++ < 3) { $s }",
    ],
}  # fmt: skip
_MARK = re.compile(r"\$([nts])")


@st.composite
def scripts(draw: st.DrawFn) -> str:
    """A begin probe with random statements."""

    def write(kind: str, depth: int) -> str:
        templates = LEAVES[kind] + (TEMPLATES[kind] if depth else [])
        chosen = templates[draw(st.integers(0, len(templates) - 1))]
        return _MARK.sub(lambda mark: write(mark[1], depth - 1), chosen)

    count = draw(st.integers(1, 5))
    return PROLOGUE + "".join(f"  {write('s', 4)};\n" for _ in range(count)) + EPILOGUE


def run(module: Module) -> Result:
    """A session of begin and end probes."""
    return Interpreter(module).run()


def _same(script: str, **defines: str) -> None:
    options = make_options(defines=defines)
    program = program_of(script, options)
    plain = translate(program, options, limits_of(options))
    finished = lower(program, options, limits_of(options))
    note_nesting(plain)
    assert check(finished) == []
    before, after = run(plain), run(finished)
    assert _outcome(after) == _outcome(before)


def _outcome(result: Result) -> dict[str, Any]:
    """All of a result (of the aggregate, what the end probe prints of it)."""
    found = {name: getattr(result, name) for name in Result.__dataclass_fields__}
    found["globals"] = {n: v for n, v in result.globals.items() if n != "k"}
    return found


@settings(max_examples=60, deadline=None)
@given(scripts())
def test_passes_keep_the_meaning(script: str) -> None:
    _same(script)


@settings(max_examples=60, deadline=None)
@given(scripts())
def test_passes_keep_the_meaning_where_strings_are_cut(script: str) -> None:
    _same(script, MAXSTRINGLEN="8")


def test_bounds_are_watched() -> None:
    """The interpreter refuses what outgrows its bound."""
    script = PROLOGUE + 's = "ab";\n' + EPILOGUE
    module = module_of(script, make_options())
    run(module)
    for var in module.handlers[0].locals:
        if var.name == "s":
            var.bound -= 1
    with pytest.raises(InterpreterError, match="string of 2 bytes in s"):
        run(module)
