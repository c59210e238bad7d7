"""Pattern tables against brute force, against another matcher, and as examples."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystap.backend.reference.regex import Pattern
from pystap.ir.regex import DEAD, HERE, MATCHED, UNSET, Dfa, RegexError, TaggedDfa, compile_regex
from pystap.ir.regex.syntax import CLASSES

Span = tuple[int, int] | None


def has_match(pattern: str, text: str) -> bool:
    """Walk a plain table as its description says."""
    dfa, _ = compile_regex(pattern, captures=False)
    assert isinstance(dfa, Dfa)
    assert len(dfa.table) == dfa.states * dfa.classes
    state = dfa.start
    for char in text:
        if state in (DEAD, MATCHED):
            break
        state = dfa.table[state * dfa.classes + dfa.class_of[ord(char)]]
    return dfa.at_end[state]


def search(pattern: str, text: str) -> list[Span] | None:
    """Walk a tagged table as its description says."""
    dfa, groups = compile_regex(pattern, captures=True)
    assert isinstance(dfa, TaggedDfa)
    assert groups == dfa.groups
    assert len(dfa.table) == len(dfa.actions) == dfa.states * dfa.classes
    registers = [UNSET] * dfa.registers
    result = None

    def run(moves: int, offset: int) -> None:
        for target, source in dfa.moves[moves]:
            known = {HERE: offset, UNSET: UNSET}
            registers[target] = known[source] if source < 0 else registers[source]

    state, at = dfa.start, 0
    run(dfa.start_moves, 0)
    while state != DEAD:
        final = dfa.at_end if at == len(text) else dfa.accept
        if final[state] >= 0:
            run(final[state], at)
            result = registers[: 2 * groups]
        if at == len(text):
            break
        cell = state * dfa.classes + dfa.class_of[ord(text[at])]
        at += 1
        run(dfa.actions[cell], at)
        state = dfa.table[cell]
    if result is None:
        return None
    pairs = zip(result[::2], result[1::2])
    return [None if UNSET in pair else pair for pair in pairs]


# --- a brute-force matcher over trees -----------------------------------------------------------
#
# A tree is (kind, ...); `ends` gives every offset at which a match from an offset can end.

Tree = tuple


def ends(tree: Tree, text: str, at: int) -> frozenset[int]:
    """All ends of matches of ``tree`` that begin at ``at``."""
    match tree:
        case ("set", chars):
            return frozenset({at + 1}) if at < len(text) and text[at] in chars else frozenset()
        case ("^",):
            return frozenset({at}) if at == 0 else frozenset()
        case ("$",):
            return frozenset({at}) if at == len(text) else frozenset()
        case ("seq", *parts):
            found = frozenset({at})
            for part in parts:
                found = frozenset(e for b in found for e in ends(part, text, b))
            return found
        case ("alt", *parts):
            return frozenset(e for part in parts for e in ends(part, text, at))
        case ("group", body):
            return ends(body, text, at)
        case ("repeat", body, least, most):
            return _repeated(body, least, most, text, at)
    raise AssertionError(tree)


def _repeated(body: Tree, least: int, most: int | None, text: str, at: int) -> frozenset[int]:
    reached = frozenset({at})
    result = reached if least == 0 else frozenset()
    for count in range(1, (most if most is not None else least + len(text) + 1) + 1):
        reached = frozenset(e for b in reached for e in ends(body, text, b))
        if count >= least:
            result |= reached
    return result


def leftmost_longest(tree: Tree, text: str) -> tuple[int, int] | None:
    """The match the brute-force matcher finds."""
    for begin in range(len(text) + 1):
        found = ends(tree, text, begin)
        if found:
            return begin, max(found)
    return None


def pattern_of(tree: Tree) -> str:
    """A tree written as pattern."""
    match tree:
        case ("set", chars):
            return chars if len(chars) == 1 else f"[{chars}]"
        case ("^",) | ("$",):
            return tree[0]
        case ("seq", *parts):
            return "".join(
                f"(?:{pattern_of(p)})" if p[0] == "alt" else pattern_of(p) for p in parts
            )
        case ("alt", *parts):
            return "|".join(pattern_of(p) for p in parts)
        case ("group", body):
            return f"({pattern_of(body)})"
        case ("repeat", body, least, most):
            inner = f"(?:{pattern_of(body)})"
            forms = {(0, None): "*", (1, None): "+", (0, 1): "?"}
            bounds = f"{{{least}}}" if least == most else f"{{{least},{most or ''}}}"
            return inner + forms.get((least, most), bounds)
    raise AssertionError(tree)


def _compound(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    bounds = st.tuples(st.integers(0, 2), st.integers(0, 2) | st.none()).map(
        lambda b: (b[0], None if b[1] is None else max(b[0] + b[1], 1))
    )
    return st.one_of(
        st.lists(inner, min_size=0, max_size=3).map(lambda p: ("seq", *p)),
        st.lists(inner, min_size=2, max_size=3).map(lambda p: ("alt", *p)),
        inner.map(lambda t: ("group", t)),
        st.tuples(inner, bounds).map(lambda x: ("repeat", x[0], *x[1])),
    )


trees = st.recursive(
    st.one_of(
        st.sampled_from([("set", "a"), ("set", "b"), ("set", "ab"), ("set", "bc")]),
        st.sampled_from([("^",), ("$",)]),
    ),
    _compound,
    max_leaves=8,
)
texts = st.text("abc", max_size=8)


@settings(max_examples=400, deadline=None)
@given(trees, st.lists(texts, min_size=1, max_size=6))
def test_matches_are_the_leftmost_longest(tree: Tree, subjects: list[str]) -> None:
    pattern = pattern_of(tree)
    for subject in subjects:
        expected = leftmost_longest(tree, subject)
        found = search(pattern, subject)
        assert (found[0] if found else None) == expected
        assert has_match(pattern, subject) == (expected is not None)


@settings(max_examples=400, deadline=None)
@given(trees, st.lists(texts, min_size=1, max_size=6))
def test_groups_are_those_of_the_preferred_way(tree: Tree, subjects: list[str]) -> None:
    pattern = pattern_of(tree)
    other = Pattern(pattern)
    for subject in subjects:
        expected = other.search(subject)
        assert search(pattern, subject) == (list(expected.groups) if expected else None)


# --- examples -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("abc", "xxabcxx", [(2, 5)]),
        ("abc", "ab", None),
        ("a|ab", "xab", [(1, 3)]),
        ("^a", "ba", None),
        ("a$", "ab", None),
        ("^$", "", [(0, 0)]),
        ("", "abc", [(0, 0)]),
        ("x*", "aaa", [(0, 0)]),
        ("(a*)(b*)", "aabb", [(0, 4), (0, 2), (2, 4)]),
        ("(a)|(b)", "b", [(0, 1), None, (0, 1)]),
        ("(?:a)(b)", "ab", [(0, 2), (1, 2)]),
        ("(a|ab)(c|bcd)(d*)", "abcd", [(0, 4), (0, 1), (1, 4), (4, 4)]),
        ("([0-9]+)/([0-9]+)", "at 12/345.", [(3, 9), (3, 5), (6, 9)]),
        ("[^/]*$", "/usr/bin/stap", [(9, 13)]),
        ("a{2}", "aaa", [(0, 2)]),
        ("a{2,}", "baaa", [(1, 4)]),
        ("a{1,2}", "aaa", [(0, 2)]),
        ("(ab){2,3}", "ababab", [(0, 6), (4, 6)]),
        (r"\.", "a.b", [(1, 2)]),
        (r"\x41\102\t", "AB\t", [(0, 3)]),
        (r"\(\)\{", "(){", [(0, 3)]),
        ("[]a]+", "x]a]", [(1, 4)]),
        ("[^]a]", "]ab", [(2, 3)]),
        ("[a-]+", "b-a-", [(1, 4)]),
        (r"[\n\]]+", "a\n]", [(1, 3)]),
        ("[[:digit:][:upper:]_]+", "aB3_c", [(1, 4)]),
        (".", "\xff", [(0, 1)]),
        ("[^a]", "a\xe4", [(1, 2)]),
        ("a^b", "ab", None),
        ("(^a|b)c", "bcac", [(0, 2), (0, 1)]),
        ("(^a|b)c", "xacbc", [(3, 5), (3, 4)]),
        ("(a$|b)*", "bba", [(0, 3), (2, 3)]),
        ("$^", "", [(0, 0)]),
        ("$^", "a", None),
        ("}", "a}", [(1, 2)]),
        ("]", "a]", [(1, 2)]),
    ],
)
def test_example(pattern: str, subject: str, expected: list[Span] | None) -> None:
    assert search(pattern, subject) == expected
    assert has_match(pattern, subject) == (expected is not None)


@pytest.mark.parametrize(
    ("pattern", "message", "offset"),
    [
        ("(a", "unclosed '('", 0),
        ("a)", "unmatched ')'", 1),
        ("ab[c", "unclosed '['", 2),
        ("[", "unclosed '['", 0),
        ("[b-a]", "range out of order", 3),
        ("[[:nix:]]", "unknown character class 'nix'", 1),
        ("[[:alpha", "unknown character class ''", 1),
        ("*a", "'*' has nothing to repeat", 0),
        ("a|+", "'+' has nothing to repeat", 2),
        ("(?a)", "'?' has nothing to repeat", 1),
        ("^*", "'*' after an anchor", 1),
        ("a${2}", "'{' after an anchor", 2),
        ("a{", "malformed repeat count", 1),
        ("a{,2}", "malformed repeat count", 1),
        ("a{1,2,3}", "malformed repeat count", 1),
        ("a{2,1}", "repeat counts out of order", 1),
        ("a{256}", "repeat count above 255", 1),
        ("a\\", "'\\' at the end", 1),
        ("\\x4", "malformed character code", 0),
        ("\\x+1", "malformed character code", 0),
        ("\\x00", "no string holds a zero byte", 0),
        ("((a{200}){200}){200}", "pattern is too big", 0),
        ("(a|b)*a(a|b){12}", "pattern is too complex", 0),
    ],
)
def test_bad_pattern(pattern: str, message: str, offset: int) -> None:
    for captures in (False, True):
        with pytest.raises(RegexError) as error:
            compile_regex(pattern, captures)
        assert (error.value.message, error.value.offset) == (message, offset)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_character_class(name: str) -> None:
    inside = {
        "alnum": "[A-Za-z0-9]",
        "alpha": "[A-Za-z]",
        "blank": "[ \t]",
        "cntrl": "[\x01-\x1f\x7f]",
        "digit": "[0-9]",
        "graph": "[!-~]",
        "lower": "[a-z]",
        "print": "[ -~]",
        "punct": r"[!-/:-@\[-`{-~]",
        "space": "[ \t\n\v\f\r]",
        "upper": "[A-Z]",
        "xdigit": "[0-9A-Fa-f]",
    }[name]
    for byte in range(1, 256):
        expected = re.fullmatch(inside, chr(byte)) is not None
        assert has_match(f"^[[:{name}:]]$", chr(byte)) == expected, byte


def test_tables_are_small() -> None:
    dfa, _ = compile_regex("^(foo|bar)[0-9]*$", captures=False)
    assert (dfa.states, dfa.classes) == (8, 7)
    assert compile_regex("a|b|c|d", captures=False)[0].states == 3
    assert compile_regex(".*", captures=False)[0].start == MATCHED
    assert compile_regex("a^", captures=False)[0].start == DEAD
