"""Names with scopes, as C++ has them: ``ns::Class::method(int, char const*)``.

A pattern may leave out outer scopes (unless it begins with ``::``) and the arguments; each of its
parts may have wildcards.  Names of functions are taken from their symbols: debug information
spreads them over many entries, and spells types in a way of its own.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import lru_cache

from pystap.debuginfo.demangle import demangle
from pystap.typing import Final, NamedTuple

_ANONYMOUS: Final = "(anonymous namespace)"
_NO_NAME: Final = "{anonymous}"
_OPENING: Final = "<({"
_CLOSING: Final = ">)}"
_OPERATOR: Final = re.compile(r"\boperator\s*(?:\(\)|<=>|<<=?|>>=?|->\*?|<=?|>=?)")


class Name(NamedTuple):
    """A name taken apart; ``arguments`` None: not given.  ``whole``: no scope is left out."""

    parts: tuple[str, ...]
    arguments: tuple[str, ...] | None
    whole: bool = False

    @property
    def last(self) -> str:
        """The function's own name."""
        return self.parts[-1]


def is_qualified(pattern: str) -> bool:
    """Whether a pattern says more than a function's own name."""
    if "operator" in pattern:
        return "::" in pattern
    return any(mark in pattern for mark in ("::", "(", "<"))


@lru_cache(maxsize=4096)
def take_apart(text: str) -> Name:
    """The parts of a name or pattern."""
    text = text.replace(_ANONYMOUS, _NO_NAME)
    whole = text.startswith("::")
    text = text.removeprefix("::")
    end = _end_of_name(text)
    parts = tuple(_plain(part) for part in _split(text[:end], "::"))
    if not _is_conversion(parts[0]):
        parts = (_split(parts[0], " ")[-1], *parts[1:])  # templates have their results in front
    if end == len(text):
        return Name(parts, None, whole)
    inside = text[end + 1 : _closing(text, end)]
    arguments = tuple(_plain_type(a) for a in _split(inside, ","))
    return Name(parts, () if arguments in (("",), ("void",)) else arguments, whole)


def split_scopes(name: str) -> tuple[str, str]:
    """The scopes of a name, and its own part as it is written."""
    *scopes, own = _split(name.removeprefix("::"), "::")
    return "::".join(scopes), own


def fits(symbol: str, own: str, pattern: str) -> bool:
    """Whether a function is meant: by its symbol's name, and its own without scopes.

    Types of templates may be spelled as either has them.
    """
    wanted, found = take_apart(pattern), take_apart(demangle(symbol))
    if wanted.arguments is not None and wanted.arguments != (found.arguments or ()):
        return False
    if wanted.whole and len(wanted.parts) != len(found.parts):
        return False
    if not _same(wanted.last, found.last) and not _same(wanted.last, _plain(own)):
        return False
    scopes, here = wanted.parts[:-1], found.parts[:-1]
    open_ones = tuple(part for part in here if part != _NO_NAME)
    return _ends_with(here, scopes) or _ends_with(open_ones, scopes)


def _ends_with(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if len(pattern) > len(parts):
        return False
    return all(map(_same, pattern, parts[len(parts) - len(pattern) :]))


def _same(pattern: str, text: str) -> bool:
    return text == pattern or fnmatchcase(text, pattern)


def _is_conversion(part: str) -> bool:
    """``operator bool``: the space does not divide a type from a name."""
    return part.startswith("operator ")


def _end_of_name(text: str) -> int:
    """Where the arguments begin, or the end."""
    depth = 0
    at = 0
    while at < len(text):
        skipped = _OPERATOR.match(text, at)
        if skipped:
            at = skipped.end()
            continue
        if text[at] == "(" and not depth:
            return at
        depth += (text[at] in _OPENING) - (text[at] in _CLOSING)
        at += 1
    return len(text)


def _closing(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if not depth:
            return at
    return len(text)


def _split(text: str, separator: str) -> list[str]:
    """The pieces between separators that are in no brackets."""
    pieces, depth, start, at = [], 0, 0, 0
    while at < len(text):
        skipped = _OPERATOR.match(text, at)
        if skipped:
            at = skipped.end()
        elif not depth and text.startswith(separator, at):
            pieces.append(text[start:at])
            start = at = at + len(separator)
        else:
            depth += (text[at] in _OPENING) - (text[at] in _CLOSING)
            at += 1
    return [*pieces, text[start:]]


def _plain(text: str) -> str:
    """Spaces only where they divide words."""
    text = " ".join(text.split())
    return re.sub(r" ?([*&,<>\[\]]) ?", r"\1", text)


def _plain_type(text: str) -> str:
    """``const`` behind what it is about, where demanglers have it."""
    return re.sub(r"^const ([\w:]+(?:<.*>)?)", r"\1 const", _plain(text))
