"""String intrinsics: the kernel and the interpreter give the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystap.ir import ops
from pystap.ir.intrinsics import INTRINSICS
from pystap.ir.types import Ty

from .build import intrinsic, str_var
from .twin import Twin

FULL = "x" * 511
HUGE = (1 << 63) - 1

CASES: dict[str, list[tuple[str | int, ...]]] = {
    "strlen": [("",), ("a",), ("\xff\x80a",), (FULL,)],
    "substr": [
        ("hello", 1, 3), ("hello", 3, 99), ("hello", 5, 1), ("hello", 9, 1), ("hello", -1, 2),
        ("hello", 1, -1), ("hello", 1, 0), ("hello", HUGE, HUGE), ("hello", 1, HUGE), ("", 0, 1),
        (FULL, 0, 511), (FULL, 510, 1), (FULL, 511, 1), (FULL, 500, 100), (FULL, 512, 1),
    ],
    "stringat": [
        ("hello", 1), ("\xfe", 0), ("hello", 5), ("hello", 511), ("hello", 512), ("hello", -1),
        (FULL, 510), (FULL, 511), ("", 0), ("a", HUGE),
    ],
    "isinstr": [("hello", "ll"), ("hello", "lol"), ("", ""), ("", "a"), ("a", "")],
    "strpos": [
        ("hello", "l"), ("hello", "z"), ("hello", ""), ("hello", "hello"), ("hello", "hellooo"),
        ("abcabcabd", "abcabd"), (FULL, FULL), (FULL, "x" * 510 + "y"), ("y" + FULL[1:], FULL[1:]),
        ("\xff\x80", "\x80"), ("aab" * 170, "aabaabb"), ("a" * 511, "a" * 255 + "b"),
    ],
    "isdigit": [("7a",), ("a7",), ("",), ("/",), (":",), ("0",), ("9",), ("\xb2",)],
    "str_replace": [
        ("a-b-c", "-", "+-"), ("aaa", "aa", ""), ("abc", "", "x"), ("", "a", "b"),
        (FULL, "x", "yy"), (FULL, "xx", "y"), (FULL, FULL, "z"), (FULL, FULL, FULL),
        ("ab" * 255, "abab", "-"), ("abcabd" * 80, "abd", ""), ("\xff\x80", "\xff", "\x80"),
        ("x" * 255 + "ab", "ab", "y" * 400),
    ],
    "strtol": [
        ("123abc", 10), ("-12", 10), ("+12", 10), (" 12", 10), ("ff", 16), ("0xFf", 16),
        ("0XfF", 0), ("0x", 0), ("0xg", 16), ("017", 0), ("018", 0), ("-0x10", 0), ("--1", 10),
        ("0x1f", 10), ("zZ", 36), ("zz", 37), ("1", 1), ("1", 0), ("", 0), ("-", 0), ("12", -5),
        ("10", 2), ("12", 2), ("9223372036854775807", 10), ("9223372036854775808", 10),
        ("9" * 511, 10), ("-" + "f" * 510, 16), ("0x" + "f" * 16, 0), ("\xc1", 36), ("1", HUGE),
    ],
    "tokenize": [
        ("a b c", " "), ("", " "), ("", ""), ("", " "), ("  a,b", " ,"), ("", " ,"), ("", " ,"),
        ("abc", ""), ("", ""), ("\xff\x80a", "\x80"), ("   ", " "), (FULL, "y"), ("", "x"),
        (FULL, "x"), ("", "x"), ("a", "a"), ("ab", "a"), ("", "c"),
    ],
    "tokenize_next": [(" ",), ("",)],
    "text_str": [
        ('a"b\\\n\x01\x7f\xff\'',), ("\a\b\t\n\v\f\r",), (FULL,), ("\n" * 511,), ("\xff" * 200,),
        ("",), ("\x011",),
    ],
    "text_strn": [
        ("hello", 3, 1), ("hello", 0, 1), ("hello", 5, 1), ("hello", -1, 0), ("hello", 3, 0),
        (FULL, 0, 1), (FULL, 506, 1), (FULL[5:], 0, 1), (FULL[6:], 0, -1), (FULL, HUGE, 0),
        ("\xff" * 200, 509, 1), ("\xff" * 200, 505, 0), ("", 0, 1), ("\xff", 3, 1), ("\n", 1, 0),
    ],
    "byte_str": [(65,), (0,), (256,), (-1,), (511,), (200,)],
}  # fmt: skip

# What the verifier looks at, whole program included.
MOST_VERIFIED = {"str_replace": 1500, "strtol": 2000, "text_str": 2000, "text_strn": 2500}


def kinds_of(name: str) -> str:
    return "".join("s" if ty is Ty.STR else "n" for ty in INTRINSICS[name].args)


def twin_of(name: str, **limits: object) -> Twin:
    return Twin(lambda *args: intrinsic(name, *args, pos=0), kinds_of(name), **limits)


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str) -> None:
    with twin_of(name) as twin:
        assert twin.verified() < MOST_VERIFIED.get(name, 1000)
        for values in CASES[name]:
            twin.check(*values)


@pytest.mark.parametrize("name", CASES)
def test_cases_of_literals(name: str) -> None:
    def make() -> list[ops.Expr]:
        return [
            ops.Seq([], intrinsic(name, *values, pos=0))
            for values in CASES[name]
            if name != "stringat" or 0 <= int(values[1]) < 512
        ]

    exprs = make()
    for at in range(0, len(exprs), 6):
        with Twin(lambda at=at: make()[at : at + 6], "") as twin:
            twin.check()


def test_a_bad_index_is_an_error_of_the_script() -> None:
    caught, result = str_var(), str_var()

    def make(text: object, index: object) -> ops.Expr:
        fails = ops.Eval(intrinsic("stringat", text, index, pos=0))
        handler = [ops.SetLocal(result, ops.Local(caught))]
        return ops.Seq([ops.Try([fails], caught, list(handler))], ops.Local(result))

    with Twin(make, "sn") as twin:
        assert twin.check("hello", 512) == "invalid string index"
        assert twin.check("hello", 511) == ""
    with twin_of("stringat") as twin:
        twin.kernel("hello", -1)
        assert twin.loaded.errors == ["invalid string index near operator '/' at <input>:1:1"]


@pytest.mark.parametrize("limit", [2, 3, 9, 16, 1001])
@pytest.mark.parametrize(
    "name", ["substr", "strpos", "str_replace", "strtol", "tokenize", "text_strn"]
)
def test_other_string_lengths(name: str, limit: int) -> None:
    with twin_of(name, maxstringlen=limit) as twin:
        for values in CASES[name]:
            twin.check(*(v[: limit - 1] if isinstance(v, str) else v for v in values))


def test_results_nest() -> None:
    """Intrinsics share areas of memory, but not before all their operands are there."""

    def make(a: object, b: object) -> list[ops.Expr]:
        inner = intrinsic("str_replace", a, b, intrinsic("substr", a, 0, 2))
        return [
            intrinsic("strpos", inner, intrinsic("str_replace", b, "b", "c")),
            intrinsic("str_replace", inner, intrinsic("text_str", b), intrinsic("tokenize", a, b)),
            intrinsic(
                "text_strn", inner, intrinsic("strtol", "12", intrinsic("strlen", "x" * 10)), 1
            ),
            intrinsic("substr", intrinsic("substr", inner, 1, 8), intrinsic("isinstr", a, b), 4),
        ]

    with Twin(make, "ss") as twin:
        for values in [("abcabc", "b"), ("", ""), ("aabb", "ab"), ("x" * 511, "x"), ("c", "b")]:
            twin.check(*values)


def test_a_result_over_its_own_operand() -> None:
    """``s = str_replace(s, ...)``."""
    local = str_var()

    def make(a: object, b: object) -> ops.Expr:
        body: list[ops.Stmt] = [
            ops.SetLocal(local, ops.GlobalGet(a)),  # type: ignore[arg-type]
            ops.SetLocal(local, intrinsic("str_replace", local, b, "<>")),
            ops.SetLocal(local, intrinsic("substr", local, 1, 100)),
            ops.SetLocal(local, intrinsic("text_str", local)),
        ]
        return ops.Seq(body, ops.Local(local))

    with Twin(make, "ss") as twin:
        for values in [("abcabc", "b"), ("\n\n", "\n"), ("x" * 511, "xx"), ("", "")]:
            twin.check(*values)


def test_tokens_one_after_another() -> None:
    def make(a: object, b: object) -> list[ops.Expr]:
        return [
            intrinsic("tokenize", a, b),
            intrinsic("tokenize_next", b),
            intrinsic("tokenize_next", " ,"),
            intrinsic("tokenize", "", ","),
            intrinsic("tokenize_next", b),
        ]

    with Twin(make, "ss") as twin:
        assert twin.check("a b c,d e", " ") == "a|b|c|d e|"
        for values in [("a b c,d", ""), ("a,,, b c,d", ",,"), (",b", ","), ("  ", " "), ("", "x")]:
            twin.check(*values)


# ---- random strings

BYTES = "".join(chr(c) for c in range(1, 256))
NARROW = st.text(alphabet="ab", max_size=60)
WIDE = st.text(alphabet=BYTES, max_size=511)
LONG = st.builds(
    lambda piece, n: (piece * n)[:511], st.text(alphabet="abc", min_size=1), st.integers(1, 511)
)
TEXT = st.one_of(NARROW, WIDE, LONG)
NUMBER = st.one_of(st.integers(-3, 520), st.integers(-(1 << 63), HUGE))
BASE = st.one_of(st.sampled_from([0, 8, 10, 16, 36]), st.integers(-1, 40))
DIGITS = st.from_regex(r"\A-?(0x?)?[0-9a-zA-Z]{0,30}\Z")

STRATEGIES: dict[str, tuple[st.SearchStrategy[str | int], ...]] = {
    "strlen": (TEXT,),
    "substr": (TEXT, NUMBER, NUMBER),
    "stringat": (TEXT, NUMBER),
    "strpos": (TEXT, st.one_of(st.text(alphabet="ab", max_size=6), TEXT)),
    "str_replace": (TEXT, st.text(alphabet="ab", max_size=4), st.one_of(NARROW, WIDE)),
    "strtol": (st.one_of(DIGITS, TEXT), BASE),
    "tokenize": (st.one_of(NARROW, WIDE, st.just("")), st.text(alphabet="abc\xff", max_size=3)),
    "text_str": (TEXT,),
    "text_strn": (TEXT, NUMBER, st.integers(0, 1)),
}


@pytest.fixture(scope="module")
def twins() -> Iterator[dict[str, Twin]]:
    opened = {name: twin_of(name) for name in STRATEGIES}
    yield opened
    for twin in reversed(opened.values()):
        twin.close()


@pytest.mark.parametrize("name", STRATEGIES)
def test_random(name: str, twins: dict[str, Twin]) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.tuples(*STRATEGIES[name]))
    def run(values: tuple[str | int, ...]) -> None:
        twins[name].check(*values)

    run()


def test_search_in_a_few_letters(twins: dict[str, Twin]) -> None:
    """Needles that nearly fit many times."""

    @settings(max_examples=100, deadline=None)
    @given(st.text(alphabet="ab", max_size=100), st.text(alphabet="ab", max_size=8))
    def run(text: str, needle: str) -> None:
        twins["strpos"].check(text, needle)
        twins["str_replace"].check(text, needle, "<b>")

    run()
