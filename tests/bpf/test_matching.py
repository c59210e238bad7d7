"""Regular expressions: the kernel and the interpreter give the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystap.ir import ops
from pystap.ir.module import Regex
from pystap.ir.regex import compile_regex

from .build import LONG, STR, ModuleBuilder, call, ex, intrinsic, long_var, printf, str_var
from .harness import Loaded
from .twin import Twin

PATTERNS = [
    "", "abc", "^abc$", "a*b", "(a|b)*c", "[a-f0-9]+x", "^$", "x$", "(foo|bar)(baz)?", "((a)|b)+",
    "(a*)(ab)*(b*)", "\\xff+", "(.*)/([^/]*)$", "^([a-z]+)=([0-9]+)(;|$)", "[[:digit:]]{2,4}",
    "(a|ab)(c|bcd)(d*)", "^(a+)+$", "[^[:alnum:]]", "(x{3}){2,}", "$", "a|^b|c$",
]  # fmt: skip
SUBJECTS = [
    "", "abc", "xabcx", "aaab", "abababc", "deadbeefx", "foobaz", "bar", "aba", "aabb", "\xff\xff",
    "/usr/lib/x", "name=42;", "a12345b", "x" * 90, "a" * 70 + "b", "z" * 70 + "abc", "abcd",
    "\x80\xff\x01", "b", "xxxxxx", " c",
]  # fmt: skip


def matching(pattern: str) -> Twin:
    """Whether a string matches, both ways."""
    tables, groups = compile_regex(pattern, captures=False)

    def make(subject: object) -> list[ops.Expr]:
        return [ops.Match(0, ex(subject), negated) for negated in (False, True)]

    return Twin(make, "s", regexes=[Regex(pattern, groups, tables)])


def grouping(pattern: str) -> Twin:
    """The groups of a match."""
    tables, groups = compile_regex(pattern, captures=True)

    def make(subject: object) -> list[ops.Expr]:
        found = ops.Match(0, ex(subject), False)
        exprs: list[ops.Expr] = [ops.Cond(found, intrinsic("ngroups", pos=0), ex(-1), LONG)]
        for i in range(groups):
            # Asked after the match whether it succeeded, and by a match that is negated.
            missing = ops.Match(0, ex(subject), True)
            exprs.append(ops.Cond(missing, ex("none"), intrinsic("matched", i, pos=0), STR))
        return exprs

    return Twin(make, "s", regexes=[Regex(pattern, groups, tables)])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_matches(pattern: str) -> None:
    with matching(pattern) as twin:
        assert twin.verified() < 1500
        for subject in SUBJECTS:
            twin.check(subject)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_groups(pattern: str) -> None:
    with grouping(pattern) as twin:
        assert twin.verified() < 3000
        for subject in SUBJECTS:
            twin.check(subject)


@pytest.mark.parametrize(
    "pattern", ["(a|ab)(bab)?", "^(b*)(a+b)+$", "(ab|a)*b?", "[ab]{3,5}c|ba$"]
)
def test_random_subjects(pattern: str) -> None:
    with matching(pattern) as plain, grouping(pattern) as tagged:

        @settings(max_examples=40, deadline=None)
        @given(st.text(alphabet="abc", max_size=20))
        def run(subject: str) -> None:
            plain.check(subject)
            tagged.check(subject)

        run()


def test_a_pattern_without_tables() -> None:
    """In modules made by hand the tables are made when they are needed."""

    def make(subject: object) -> ops.Expr:
        return ops.Match(0, ex(subject), False)

    with Twin(make, "s", regexes=[Regex("b+$")]) as twin:
        assert (twin.check("abb"), twin.check("abbc")) == ("1", "0")


@pytest.mark.parametrize("limit", [2, 3, 5, 64, 1023])
def test_other_string_lengths(limit: int) -> None:
    tables, groups = compile_regex("^(a*)b$", captures=True)

    def make(subject: object) -> list[ops.Expr]:
        found = ops.Match(0, ex(subject), False)
        return [ops.Cond(found, intrinsic("matched", 1, pos=0), ex("-"), STR)]

    with Twin(make, "s", regexes=[Regex("^(a*)b$", groups, tables)], maxstringlen=limit) as twin:
        for subject in ("", "b", "a", "a" * (limit - 2) + "b", "a" * (limit - 1)):
            twin.check(subject)


def caught(expr: ops.Expr) -> ops.Expr:
    """The text of the error an expression raises, or the text "fine"."""
    message, result = str_var(), str_var()
    body: list[ops.Stmt] = [ops.Eval(expr), ops.SetLocal(result, ex("fine"))]
    handler: list[ops.Stmt] = [ops.SetLocal(result, ops.Local(message))]
    return ops.Seq([ops.Try(body, message, handler)], ops.Local(result))


def test_groups_that_are_not_there() -> None:
    tables, groups = compile_regex("(a)(b)?", captures=True)

    def make(subject: object, group: object) -> list[ops.Expr]:
        return [
            caught(intrinsic("ngroups", pos=0)),  # no match yet in this run of the handler
            caught(intrinsic("matched", group, pos=0)),
            ops.Match(0, ex(subject), False),
            caught(intrinsic("ngroups", pos=0)),
            caught(intrinsic("matched", group, pos=0)),
        ]

    with Twin(make, "sn", regexes=[Regex("(a)(b)?", groups, tables)]) as twin:
        for subject in ("xab", "a", "", "c"):
            for group in (0, 1, 2, 3, -1, 1 << 40):
                twin.check(subject, group)


def test_groups_without_any_match_in_the_program() -> None:
    with Twin(lambda: caught(intrinsic("matched", 0, pos=0)), "") as twin:
        twin.check()


def test_a_match_in_a_function_and_a_loop() -> None:
    """The last match is one of the handler's run, wherever it was made."""
    builder = ModuleBuilder()
    tables, groups = compile_regex("b(.)", captures=True)
    builder.module.regexes.append(Regex("b(.)", groups, tables))
    text, i = str_var(), long_var()
    find = builder.function("find", [text], LONG, ops.Return(ops.Match(0, ops.Local(text), False)))
    builder.pos()
    builder.begin(
        ops.Loop(
            ops.Compare("<", ops.Local(i), ex(3)),
            [
                printf("%d ", call(find, intrinsic("substr", "abcbd", ops.Local(i), 9))),
                printf("%s\n", intrinsic("matched", 1, pos=0)),
            ],
            [ops.SetLocal(i, ops.Arith("+", ops.Local(i), ex(1)))],
        ),
    )
    with Loaded(builder.module) as loaded:
        loaded.run_session()
        assert (loaded.output, loaded.errors) == (b"1 c\n1 c\n1 d\n", [])
