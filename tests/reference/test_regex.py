"""Regular expressions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ir.test_regex import has_match
from ir.test_regex import search as search_by_table
from pystap.backend.reference.regex import Pattern, PatternError
from pystap.ir import ops

from .irbuild import Build, call_intrinsic, e, emit


def groups(pattern: str, subject: str) -> list[str | None] | None:
    """Texts of all groups, None for unset ones; None when nothing matches."""
    found = Pattern(pattern).search(subject)
    if found is None:
        return None
    return [None if span is None else subject[span[0] : span[1]] for span in found.groups]


CASES = [
    ("abc", "xabcabc", ["abc"]),
    ("", "xyz", [""]),
    ("a|ab|abc", "abcd", ["abc"]),  # the longest, not the first alternative
    ("b*", "abb", [""]),  # the leftmost, even if empty
    ("b+", "abbb", ["bbb"]),
    ("^ab", "abab", ["ab"]),
    ("^b", "ab", None),
    ("b$", "bab", ["b"]),
    ("^$", "", [""]),
    ("a.c", "a\nc", ["a\nc"]),
    ("(a)(b)?", "ac", ["a", "a", None]),
    ("(a|ab)(c|bcd)(d*)", "abcd", ["abcd", "a", "bcd", ""]),
    ("(?:ab)+(c)", "ababc", ["ababc", "c"]),
    ("(a|(b))*", "abba", ["abba", "a", "b"]),
    ("x{2}", "xxx", ["xx"]),
    ("x{2,}", "xxxx", ["xxxx"]),
    ("x{1,2}y", "xxxy", ["xxy"]),
    ("x{0,1}y", "y", ["y"]),
    ("[abc]+", "xxcab", ["cab"]),
    ("[^abc]+", "abxyc", ["xy"]),
    ("[]x]+", "a]x]", ["]x]"]),
    ("[^]x]", "]xa", ["a"]),
    ("[a-c-]+", "d-ab", ["-ab"]),
    ("[[:digit:]]+", "ab123", ["123"]),
    ("[[:alpha:]_]+[[:space:]]", "  a_b\t", ["a_b\t"]),
    (r"\.\*", "a.*", [".*"]),
    (r"\x41\102\t", "xAB\t", ["AB\t"]),
    (r"[\]]", "a]", ["]"]),
    ("(a*)*", "aab", ["aa", "aa"]),
    ("(a*)+b", "aab", ["aab", "aa"]),
    ("()x", "x", ["x", ""]),
    ("é", "caf\xe9 \xc3\xa9", ["\xe9"]),
]


@pytest.mark.parametrize(("pattern", "subject", "expected"), CASES, ids=lambda v: repr(v)[:20])
def test_search(pattern: str, subject: str, expected: list[str | None] | None) -> None:
    assert groups(pattern, subject) == expected


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "a)", "*", "+a", "a|*", "^*", "$+", "[a", "[[:foo:]]", "a{2", "a{3,2}", "a{999}",
     "\\", r"\x4", "{2}"],
)  # fmt: skip
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(PatternError):
        Pattern(pattern)


ATOMS = st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda p: f"({p[0]}|{p[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{1,2}"])).map(
            lambda p: f"({p[0]}){p[1]}"
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(PATTERNS, st.text("abc", max_size=8))
def test_the_match_is_the_leftmost_longest(pattern: str, subject: str) -> None:
    """Tried against every substring with Python's matcher, which tells whether it fits whole."""
    found = Pattern(pattern).search(subject)
    compiled = re.compile(pattern, re.DOTALL)
    fits = [
        (begin, -end)
        for begin in range(len(subject) + 1)
        for end in range(begin, len(subject) + 1)
        if compiled.fullmatch(subject, begin, end)
    ]
    if not fits:
        assert found is None
        return
    begin, end = min(fits)
    assert found is not None
    assert found.groups[0] == (begin, -end)


def test_in_a_script() -> None:
    b = Build()
    number = b.regex("([a-z]+)([0-9]+)?")
    other = b.regex("[0-9]{9}")
    at = b.pos("identifier 'matched'")
    match = lambda regex, text, negated=False: ops.Match(regex, e(text), negated)  # noqa: E731
    matched = lambda n: call_intrinsic("matched", n, pos=at)  # noqa: E731
    result = b.begin(
        emit("%d%d", match(number, "--abc--"), match(other, "12", True)),
        emit("%d:%s:", match(number, "..ab12"), matched(0)),
        emit("%s:%s:%d ", matched(1), matched(2), call_intrinsic("ngroups", pos=at)),
        emit("%d[%s]", match(number, "x"), matched(2)),
        emit("%s", matched(3)),
    )
    assert result.output == b"111:ab12:ab:12:3 1[]"
    assert result.messages[0].startswith(
        "ERROR: Attempted to get nonexistent subexpression 3 near"
    )
    b.module.handlers.clear()
    b.module.probes.clear()
    result = b.begin(emit("%d", match(other, "1")), emit("%d", call_intrinsic("ngroups", pos=at)))
    assert result.output == b"0"
    assert result.messages[0].startswith("ERROR: Attempted to get subexpression from failed match")


@settings(max_examples=200, deadline=None)
@given(
    PATTERNS, st.sampled_from(["", "^"]), st.sampled_from(["", "$"]), st.text("abc", max_size=8)
)
def test_the_tables_of_the_other_runtimes_agree(
    pattern: str, begin: str, end: str, subject: str
) -> None:
    pattern = begin + pattern + end
    found = Pattern(pattern).search(subject)
    assert search_by_table(pattern, subject) == (list(found.groups) if found else None)
    assert has_match(pattern, subject) == (found is not None)
