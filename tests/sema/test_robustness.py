"""Pass 2 never fails otherwise than by its diagnostics, however the script looks."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from datadriven import Case, load_cases
from pystap.diag.render import render_all
from pystap.lang.limits import MAX_DEPTH
from pystap.options import Options
from pystap.sema.dump import dump

from .harness import Session, options_of

CASES = load_cases(Path(__file__).parent / "data")
TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*"|%[({?:]|%[)}]|[@$]?\w+|<<<|>>>|<<=|>>=|->|\+\+|--|&&|\|\|'
    r"|[-+*/%&|^<>=!.]=|=~|!~|<<|>>|\*\*|\S"
)
NAME = re.compile(r"[A-Za-z_]\w*")
KEYWORDS = {
    "probe", "global", "private", "function", "if", "else", "for", "foreach", "in", "limit",
    "return", "delete", "while", "break", "continue", "next", "string", "long", "try", "catch",
}  # fmt: skip
BINARY = [
    "+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", ">>>", "&&", "||", ".", "<", ">", "==",
    "!=", "<=", ">=",
]  # fmt: skip
ASSIGNING = ["=", "<<<", "+=", "-=", "*=", ".=", "/=", "|="]
VALUES = [
    "1", "0", "-1", '"x"', '""', '"%d"', "9223372036854775807", "$x", "$thing", "$n", "$nope",
    "pid()", "execname()", "a[1]", 'a["x"]', "@count(s)", "x", "k", "(x=1)", "(n++)", "f(1)",
    "@defined($x)", "t->pid", "x[1]",
]  # fmt: skip
NAMES = [t for case in CASES for t in NAME.findall(case.input) if t not in KEYWORDS]


def mutated(case: Case, chance: random.Random) -> str:
    """The script of a case with some of its names, values and operators exchanged."""
    tokens = TOKEN.findall(case.input)
    if chance.random() < 0.3:
        tokens += TOKEN.findall(chance.choice(CASES).input)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(tokens))
        old = tokens[at]
        if NAME.fullmatch(old) and old not in KEYWORDS:
            tokens[at] = chance.choice(NAMES if chance.random() < 0.6 else VALUES)
        elif old.isdigit() or old[0] == '"':
            tokens[at] = chance.choice(VALUES)
        elif old in BINARY:
            tokens[at] = chance.choice(BINARY)
        elif old in ASSIGNING:
            tokens[at] = chance.choice(ASSIGNING)
        elif old in ("break", "continue", "next"):
            tokens[at] = chance.choice(["break", "continue", "next", ";", "return 1"])
    return " ".join(tokens)


def test_mutated_scripts(tmp_path: Path) -> None:
    chance = random.Random(1)
    accepted = 0
    for _ in range(200):
        case = chance.choice(CASES)
        script = mutated(case, chance)
        session = Session(tmp_path, options_of(case))
        program = session.analyze(script)
        if program is not None:
            accepted += 1
            assert dump(program, verbose=True), script
        else:
            assert session.diags.errors, script
        render_all(session.diags)
    assert accepted > 5


DEEP = MAX_DEPTH - 20


@pytest.mark.parametrize(
    "script",
    [
        "probe begin { x = pid(); println(" + "x + " * DEEP + "1) }",
        "probe begin { println(" + "(" * DEEP + "pid()" + ")" * DEEP + ") }",
        "probe begin { println(" + "!" * DEEP + "pid()) }",
        "probe begin " + "{" * DEEP + "println(1)" + "}" * DEEP,
        "probe begin { " + "if (pid()) " * DEEP + "println(1) }",
        "probe begin { println(" + "pid() ? " * DEEP + "1" + " : 2" * DEEP + ") }",
        "probe begin { x = " + "execname() . " * DEEP + '"x"; println(x) }',
        "probe begin { println(" + "1 + " * DEEP + "1) }",
    ],
    ids=["sum", "parentheses", "not", "blocks", "ifs", "ternaries", "concat", "constants"],
)
def test_deep_scripts(script: str, tmp_path: Path) -> None:
    session = Session(tmp_path, Options())
    program = session.analyze(script)
    assert program is not None, render_all(session.diags)
    assert dump(program, verbose=True)


def test_many_probes_and_variables(tmp_path: Path) -> None:
    lines = [
        f"global g{n}\nfunction f{n}(a) {{ return a + g{n} }}\n"
        f"probe timer.ms({n + 1}) {{ g{n} += f{n}({n}); println(g{n}) }}"
        for n in range(300)
    ]
    program = Session(tmp_path, Options()).analyze("\n".join(lines))
    assert program is not None
    assert (len(program.globals), len(program.functions), len(program.probes)) == (300,) * 3


@pytest.mark.parametrize("first", ["begin", "nothing ?"])
def test_aliases_that_multiply(first: str, tmp_path: Path) -> None:
    lines = [f"probe p0 = {first} {{ }}"]
    lines += [f"probe p{n + 1} = p{n} ?, p{n} ? {{ x{n} = 1 }}" for n in range(60)]
    session = Session(tmp_path, Options())
    assert session.analyze("\n".join([*lines, "probe p60 ? { println(1) }"])) is None
    found = [d.message for d in session.diags.errors]
    assert found == ["aliases lead to more than 10000 other aliases"]


def test_many_probes_on_aliases_that_multiply(tmp_path: Path) -> None:
    lines = ["probe p0 = begin { }", *(f"probe p{n + 1} = p{n}, p{n} {{ }}" for n in range(9))]
    session = Session(tmp_path, Options())
    assert session.analyze("\n".join([*lines, *["probe p9 { println(1) }"] * 40])) is None
    found = {d.message for d in session.diags.errors}
    assert found == {"aliases lead to more than 10000 other aliases"}
