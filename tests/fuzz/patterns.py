"""Random regular expressions, and strings they may match."""

from __future__ import annotations

import random
from collections.abc import Callable

FIXED = (
    *("a", "^a", "a$", "^$", "b+", "[0-9]+", "(a)(b)?", "^[a-z]*$", "a|b", "x=([0-9]+)"),
    *("(ab|a)(c|bcd)?", "[^a-z]", ".", "l{2}", "o.*o", "([a-z]+)=([a-z]+);", "[[:alpha:]]{2,3}"),
)
_CHARS = "aaaabbbcx= -019Z"
_SETS = (
    *("[ab]", "[^a]", "[a-c]", "[0-9a]", "[^b-z]", "[]a]", "[^]a]", "[a-]", "[[:digit:]]", "."),
    *("[[:alpha:]]", "[^[:alnum:]]", "[[:space:][:punct:]]", "[[:upper:]]", "[[:xdigit:]]"),
    *("[[:lower:]b]", "[[:print:]]", "[^[:cntrl:]]", "[[:blank:]]", "[[:graph:]]", ".", "."),
)
_ESCAPES = (r"\\.", r"\\\\", r"\\|", r"\\t", r"\\x61", r"\\(", r"\303", r"[\200-\377]", r"\t")
_CLOSURES = ("*", "+", "?")
_COUNTED = ("{2}", "{1,}", "{0,2}", "{1,3}", "{0}")
_DEEPEST = 2  # groups in groups


def pattern(rng: random.Random) -> str:
    """The text of a pattern as it stands between double quotes in a script."""
    if rng.random() < 0.3:
        return rng.choice(FIXED)
    text = _branch(rng, _DEEPEST)
    if rng.random() < 0.15:
        text = "^" + text
    if rng.random() < 0.15:
        text += "$"
    if rng.random() < 0.1:
        text = f"{text}|{_branch(rng, 1)}"
    return text


def _branch(rng: random.Random, depth: int) -> str:
    most = (1, 2, 2, 3, 4) if depth == _DEEPEST else (1, 1, 1, 2)
    return "".join(_piece(rng, depth) for _ in range(rng.choice(most)))


def _piece(rng: random.Random, depth: int) -> str:
    """An atom, perhaps repeated; counted repetitions within others make huge automata."""
    atom = rng.choice(_ATOMS)(rng, depth)
    if rng.random() >= 0.3:
        return atom
    counted = depth == _DEEPEST and "{" not in atom and len(atom) < 12
    return atom + rng.choice(_CLOSURES + _COUNTED if counted else _CLOSURES)


def _group(rng: random.Random, depth: int) -> str:
    if depth <= 0:
        return _char(rng, depth)
    opening = rng.choice(("(", "(", "(", "(?:"))
    options = [_branch(rng, depth - 1) for _ in range(rng.choice((1, 1, 2, 2, 3)))]
    if rng.random() < 0.05:
        options.append("")
    return opening + "|".join(options) + ")"


def _char(rng: random.Random, depth: int) -> str:
    return rng.choice(_CHARS)


def _set(rng: random.Random, depth: int) -> str:
    return rng.choice(_SETS)


def _escape(rng: random.Random, depth: int) -> str:
    return rng.choice(_ESCAPES)


_ATOMS: tuple[Callable[[random.Random, int], str], ...] = (
    *(_char, _char, _char, _char, _set, _set, _group, _group, _escape),
)


def subject(rng: random.Random) -> str:
    """A string literal without its quotes, of the characters patterns are about."""
    chars = [rng.choice(_CHARS) for _ in range(rng.choice((0, 1, 2, 3, 5, 8, 13)))]
    if rng.random() < 0.15:
        chars.insert(rng.randint(0, len(chars)), rng.choice((r"\t", r"\303", r"\351", ".", "|")))
    return "".join(chars)
