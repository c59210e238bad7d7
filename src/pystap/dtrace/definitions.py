"""Reads ``provider NAME { probe NAME(TYPES); };``, what a ``.d`` file says of marks.

The rest of the D language (type declarations, ``#pragma``) is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pystap.typing import Final, NamedTuple

MOST_ARGUMENTS: Final = 12  # of a mark, as <sys/sdt.h> has them

_TYPE_WORDS: Final = frozenset(
    ("char", "double", "float", "int", "long", "short", "signed", "unsigned", "void", "_Bool")
)
# What stands before the word that makes it a type.
_NOT_ALONE: Final = frozenset(("struct", "union", "enum", "const", "volatile"))
_TOKEN: Final = re.compile(r"[A-Za-z_]\w*|[{}();:,]|[^\sA-Za-z_{}();:,]+")
_PASSED_OVER: Final = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | ^[ \t]*\#[^\n]*(?:\\\n[^\n]*)*""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)


class DefinitionError(Exception):
    """What is wrong in the file, with its line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class Probe(NamedTuple):
    """A mark: its provider, its name, and the C types of its arguments."""

    provider: str
    name: str
    types: tuple[str, ...]

    @property
    def macro(self) -> str:
        """The C macro that stands for it; two underscores of a name are one."""
        return f"{self.provider}_{self.name}".upper().replace("__", "_")

    @property
    def semaphore(self) -> str:
        """The C variable that counts its listeners."""
        return f"{self.provider}_{self.name}_semaphore"


def read_definitions(text: str) -> list[Probe]:
    """The marks of a file, in order.  Raises :class:`DefinitionError`."""
    words = _Words(text)
    found: list[Probe] = []
    while words.more():
        if words.take_if("provider"):
            found += _provider(words)
        else:
            words.next("")  # something else of D
    if not found:
        raise DefinitionError(1, "there is no probe in it")
    return found


def _provider(words: _Words) -> Iterator[Probe]:
    provider = words.name("of the provider")
    words.next("{")
    known: set[str] = set()
    while not words.take_if("}"):
        words.next("probe")
        line = words.line
        name = words.name("of the probe")
        types = _types(words) if words.take_if("(") else ()
        if words.take_if(":"):  # the arguments as D scripts see them
            words.next("(")
            _types(words)
        words.next(";")
        if name in known:
            raise DefinitionError(line, f"probe '{name}' is there twice")
        if len(types) > MOST_ARGUMENTS:
            raise DefinitionError(line, f"probe '{name}' has more than {MOST_ARGUMENTS} arguments")
        known.add(name)
        yield Probe(provider, name, types)
    words.take_if(";")


def _types(words: _Words) -> tuple[str, ...]:
    """Behind ``(``: types, perhaps with names, up to the ``)`` that belongs to it."""
    found: list[list[str]] = [[]]
    depth = 0
    while True:
        word = words.next("")
        if word == ")" and not depth:
            break
        depth += (word == "(") - (word == ")")
        if word == "," and not depth:
            found.append([])
        else:
            found[-1].append(word)
    types = tuple(_type(piece) for piece in found)
    if types in (("",), ("void",)):
        return ()
    if "" in types:
        raise DefinitionError(words.line, "a type is missing")
    return types


def _type(words: list[str]) -> str:
    """A type without the name of the argument; what is handed over by address is a pointer.

    Behind a colon is what D scripts see of it.
    """
    if ":" in words:
        words = words[: words.index(":")]
    if "(" in words or any("[" in word for word in words):
        return "const void *"
    *before, last = words or [""]
    named = bool(before) and last not in _TYPE_WORDS and before[-1] not in _NOT_ALONE
    return " ".join(before if named and last.isidentifier() else words)


class _Words:
    """The words of a file, one after the other."""

    def __init__(self, text: str) -> None:
        # line numbers stay what they are
        text = _PASSED_OVER.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
        self._words = [(m[0], text.count("\n", 0, m.start()) + 1) for m in _TOKEN.finditer(text)]
        self._at = 0

    @property
    def line(self) -> int:
        """The line of the word that comes next, or of the last one."""
        if not self._words:
            return 1
        return self._words[min(self._at, len(self._words) - 1)][1]

    def more(self) -> bool:
        return self._at < len(self._words)

    def take_if(self, word: str) -> bool:
        """Whether a word comes next; it is taken then."""
        found = self.more() and self._words[self._at][0] == word
        self._at += found
        return found

    def next(self, wanted: str) -> str:
        """The next word; with ``wanted`` it must be that."""
        if not self.more():
            raise DefinitionError(self.line, f"the file ends where {_shown(wanted)} is expected")
        word, line = self._words[self._at]
        if wanted and word != wanted:
            raise DefinitionError(line, f"{_shown(wanted)} is expected instead of '{word}'")
        self._at += 1
        return word

    def name(self, what: str) -> str:
        """The next word, a name."""
        line = self.line
        word = self.next("")
        if not re.fullmatch(r"[A-Za-z_]\w*", word):
            raise DefinitionError(line, f"the name {what} is expected instead of '{word}'")
        return word


def _shown(word: str) -> str:
    return f"'{word}'" if word else "more"
