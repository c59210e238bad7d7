"""Both matchers against the C library's ``regexec``, which is POSIX (leftmost, then longest)."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pystap.backend.reference.regex import Pattern

from .test_regex import has_match, search

LIBC = ctypes.CDLL(None)
LIBC.newlocale.restype = LIBC.uselocale.restype = ctypes.c_void_p
LIBC.newlocale.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
LIBC.uselocale.argtypes = (ctypes.c_void_p,)
BYTES = LIBC.newlocale(1 << 0, b"C", None)  # LC_CTYPE: a character is a byte
REG_EXTENDED, REG_NOMATCH = 1, 1


class Match(ctypes.Structure):
    """``regmatch_t``."""

    _fields_ = (("begin", ctypes.c_int), ("end", ctypes.c_int))


@contextmanager
def compiled(pattern: str) -> Iterator[ctypes.Array[ctypes.c_char]]:
    """A pattern as a ``regex_t``."""
    regex = ctypes.create_string_buffer(256)  # more than sizeof(regex_t) anywhere
    before = LIBC.uselocale(BYTES)
    try:
        assert LIBC.regcomp(regex, pattern.encode("latin-1"), REG_EXTENDED) == 0, pattern
        yield regex
        LIBC.regfree(regex)
    finally:
        LIBC.uselocale(before)


def extent(pattern: str, subject: str) -> tuple[int, int] | None:
    """Begin and end of the match that the C library finds."""
    found = (Match * 1)()
    with compiled(pattern) as regex:
        status = LIBC.regexec(regex, subject.encode("latin-1"), 1, found, 0)
    assert status in (0, REG_NOMATCH)
    return None if status else (found[0].begin, found[0].end)


def check(pattern: str, subject: str) -> None:
    """All matchers agree."""
    expected = extent(pattern, subject)
    groups = search(pattern, subject)
    captures = Pattern(pattern).search(subject)
    assert (groups[0] if groups else None) == expected
    assert (captures.groups[0] if captures else None) == expected
    assert has_match(pattern, subject) == (expected is not None)


def in_set(chars: str) -> str:
    """Characters between brackets, those with a meaning at a place without it."""
    plain = "".join(c for c in chars if c not in "]^-")
    middle = ("]" if "]" in chars else "") + plain + ("^" if "^" in chars else "")
    return middle + ("-" if "-" in chars else "")


ALPHABET = "ab.]^-$1 _\n\x01\x7f\x80\xff"
SETS = st.one_of(
    st.sets(st.sampled_from("ab.]-$1\xff"), min_size=1, max_size=4).map(
        lambda chars: in_set("".join(sorted(chars)))
    ),
    st.sampled_from(["a-b", "0-9a", "a-", "[:digit:]", "[:alpha:]_", "[:space:][:punct:]", "]-a"]),
    st.sampled_from(["[:cntrl:]", "[:upper:]b", "[:alnum:]-", "[:xdigit:]", "[:blank:][:print:]"]),
)
ATOMS = st.one_of(
    st.sampled_from(
        ["a", "b", "ab", ".", "1", "_", r"\.", r"\$", r"\^", r"\]", r"\-", r"\\", " "]
    ),
    SETS.map(lambda text: f"[{text}]"),
    SETS.filter(lambda text: text[0] != "^").map(lambda text: f"[^{text}]"),
)
REPEATS = ["*", "+", "?", "{2}", "{1,2}", "{0,3}", "{1,}", "{0}"]


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda p: f"({p[0]}|{p[1]})"),
        st.tuples(inner, st.sampled_from(REPEATS)).map(lambda p: f"({p[0]}){p[1]}"),
        inner.map(lambda p: f"(^{p})"),
        inner.map(lambda p: f"({p}$)"),
    )


PATTERNS = st.tuples(
    st.sampled_from(["", "^"]),
    st.recursive(ATOMS, _grown, max_leaves=6),
    st.sampled_from(["", "$"]),
).map("".join)


def _anchor_repeated(pattern: str) -> bool:
    """Whether a repeated group holds an anchor: libraries differ there."""
    return re.search(r"[\^$][^(]*\)[*+?{]", pattern) is not None


def _anchor_at_newline(pattern: str, subject: str) -> bool:
    """Whether an anchor inside may stand at a newline: glibc takes that for a line's end even
    without ``REG_NEWLINE``, POSIX does not."""
    return "\n" in subject and re.search(r"\(\^|\$\)", pattern) is not None


@settings(max_examples=800, deadline=None)
@given(PATTERNS, st.text(ALPHABET, max_size=8))
def test_extent_of_the_match(pattern: str, subject: str) -> None:
    assume(not _anchor_repeated(pattern))
    assume(not _anchor_at_newline(pattern, subject))
    check(pattern, subject)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=6), st.text("ab"))
def test_choices_of_words(words: list[str], subject: str) -> None:
    """The longest word that stands at the first place where one does."""
    check("|".join(words), subject)
    check(f"({'|'.join(words)})+", subject)
