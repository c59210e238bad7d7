"""Regular expressions: a plain parallel simulation of the pattern's automaton.

The dialect is that of language.md §6.  A match is the leftmost one, and the longest of those;
among the ways to make that match, groups are those of the first in order of preference: earlier
alternatives and more rounds of a repetition come first.
"""

from __future__ import annotations

from collections.abc import Callable

from pystap.records import dataclass, field
from pystap.typing import Final, NamedTuple

_DUPLICATE_LIMIT: Final = 255  # of {n,m}
_CLASSES: Final[dict[str, Callable[[str], bool]]] = {
    "alnum": str.isalnum,
    "alpha": str.isalpha,
    "blank": lambda c: c in " \t",
    "cntrl": lambda c: ord(c) < 32 or ord(c) == 127,
    "digit": str.isdigit,
    "graph": lambda c: 33 <= ord(c) <= 126,
    "lower": str.islower,
    "print": lambda c: 32 <= ord(c) <= 126,
    "punct": lambda c: 33 <= ord(c) <= 126 and not c.isalnum(),
    "space": lambda c: c in " \t\n\v\f\r",
    "upper": str.isupper,
    "xdigit": lambda c: c in "0123456789abcdefABCDEF",
}
_ESCAPES: Final = {"a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}
_ANY: Final = frozenset(chr(c) for c in range(1, 256))


class PatternError(Exception):
    """The pattern is malformed."""


class Captures(NamedTuple):
    """The subject of the last match and the (begin, end) of its groups, None where unset."""

    subject: str
    groups: tuple[tuple[int, int] | None, ...]

    def text(self, group: int) -> str:
        """Text of a group, empty when unset."""
        span = self.groups[group]
        return self.subject[span[0] : span[1]] if span else ""


# --- syntax --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Set:
    """One character of a set."""

    chars: frozenset[str]


@dataclass(slots=True)
class _Anchor:
    """``^`` or ``$``."""

    end: bool


@dataclass(slots=True)
class _Sequence:
    parts: list[_Node]


@dataclass(slots=True)
class _Choice:
    options: list[_Node]


@dataclass(slots=True)
class _Repeat:
    body: _Node
    least: int
    most: int | None


@dataclass(slots=True)
class _Group:
    body: _Node
    number: int


_Node = _Set | _Anchor | _Sequence | _Choice | _Repeat | _Group


class _Parser:
    """Recursive descent over the pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.groups = 0

    def parse(self) -> _Node:
        node = self.choice()
        if self.at < len(self.pattern):
            raise PatternError(f"unexpected {self.peek()!r} at {self.at}")
        return node

    def peek(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self.pattern[at] if at < len(self.pattern) else ""

    def take(self) -> str:
        char = self.peek()
        if not char:
            raise PatternError("unexpected end of pattern")
        self.at += 1
        return char

    def choice(self) -> _Node:
        options = [self.sequence()]
        while self.peek() == "|":
            self.at += 1
            options.append(self.sequence())
        return options[0] if len(options) == 1 else _Choice(options)

    def sequence(self) -> _Node:
        parts: list[_Node] = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated())
        return _Sequence(parts)

    def repeated(self) -> _Node:
        node = self.atom()
        while self.peek() and self.peek() in "*+?{":
            if isinstance(node, _Anchor):
                raise PatternError("repetition of an anchor")
            node = _Repeat(node, *self.bounds())
        return node

    def bounds(self) -> tuple[int, int | None]:
        match self.take():
            case "*":
                return 0, None
            case "+":
                return 1, None
            case "?":
                return 0, 1
        least = self.number()
        most: int | None = least
        if self.peek() == ",":
            self.at += 1
            most = self.number() if self.peek() != "}" else None
        if self.take() != "}" or (most is not None and most < least):
            raise PatternError("malformed repetition count")
        return least, most

    def number(self) -> int:
        digits = ""
        while self.peek().isdigit():
            digits += self.take()
        if not digits or int(digits) > _DUPLICATE_LIMIT:
            raise PatternError("malformed repetition count")
        return int(digits)

    def atom(self) -> _Node:
        char = self.take()
        match char:
            case ".":
                return _Set(_ANY)
            case "^" | "$":
                return _Anchor(char == "$")
            case "[":
                return _Set(self.bracket())
            case "(":
                return self.group()
            case "\\":
                return _Set(frozenset(self.escape()))
            case "*" | "+" | "?" | "{":
                raise PatternError(f"nothing to repeat at {self.at - 1}")
        return _Set(frozenset(char))

    def group(self) -> _Node:
        number = 0
        if self.peek() == "?" and self.peek(1) == ":":
            self.at += 2
        else:
            self.groups += 1
            number = self.groups
        body = self.choice()
        if self.peek() != ")":
            raise PatternError("unclosed (")
        self.at += 1
        return _Group(body, number) if number else body

    def escape(self) -> str:
        char = self.take()
        if char == "x":
            return self.code(2, 16)
        if char in "0123" and all(self.peek(k) and self.peek(k) in "01234567" for k in (0, 1)):
            self.at -= 1
            return self.code(3, 8)
        return _ESCAPES.get(char, char)

    def code(self, digits: int, base: int) -> str:
        text = self.pattern[self.at : self.at + digits]
        allowed = "01234567" if base == 8 else "0123456789abcdefABCDEF"
        if len(text) < digits or not all(char in allowed for char in text):
            raise PatternError("malformed character code")
        self.at += digits
        return chr(int(text, base))

    def bracket(self) -> frozenset[str]:
        negated = self.peek() == "^"
        self.at += negated
        chars: set[str] = set()
        first = True
        while first or self.peek() != "]":
            first = False
            if self.peek() == "[" and self.peek(1) == ":":
                chars |= self.named_class()
                continue
            low = self.bracket_char()
            if self.peek() == "-" and self.peek(1) not in ("", "]"):
                self.at += 1
                high = self.bracket_char()
                chars |= {chr(c) for c in range(ord(low), ord(high) + 1)}
            else:
                chars.add(low)
        self.at += 1
        return _ANY - chars if negated else frozenset(chars)

    def bracket_char(self) -> str:
        char = self.take()
        return self.escape() if char == "\\" else char

    def named_class(self) -> set[str]:
        end = self.pattern.find(":]", self.at)
        name = self.pattern[self.at + 2 : end]
        if end < 0 or name not in _CLASSES:
            raise PatternError("unknown character class")
        self.at = end + 2
        return {chr(c) for c in range(1, 128) if _CLASSES[name](chr(c))}


# --- automaton -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _State:
    """A step: take a character of ``chars``, or go on at once to ``next`` in order of
    preference, perhaps only at an edge of the subject, perhaps noting the place."""

    chars: frozenset[str] | None = None
    next: list[int] = field(default_factory=list)
    anchor: str = ""
    save: int = -1
    accept: bool = False


class Pattern:
    """A pattern ready to search.  Raises :class:`PatternError` when malformed."""

    def __init__(self, pattern: str) -> None:
        parser = _Parser(pattern)
        tree = parser.parse()
        self.groups = parser.groups + 1
        self._states: list[_State] = []
        accept = self._add(_State(accept=True))
        self._start = self._build(_Group(tree, 0), accept)

    def search(self, subject: str) -> Captures | None:
        """The leftmost longest match."""
        for begin in range(len(subject) + 1):
            slots = self._match(subject, begin)
            if slots is not None:
                pairs = zip(slots[::2], slots[1::2])
                groups = tuple((a, b) if a >= 0 and b >= 0 else None for a, b in pairs)
                return Captures(subject, groups)
        return None

    def _add(self, state: _State) -> int:
        self._states.append(state)
        return len(self._states) - 1

    def _build(self, node: _Node, follow: int) -> int:
        """States for ``node`` that go on to ``follow``; gives the first of them."""
        match node:
            case _Set(chars):
                return self._add(_State(chars, [follow]))
            case _Anchor(end):
                return self._add(_State(next=[follow], anchor="$" if end else "^"))
            case _Sequence(parts):
                for part in reversed(parts):
                    follow = self._build(part, follow)
                return follow
            case _Choice(options):
                return self._add(_State(next=[self._build(o, follow) for o in options]))
            case _Group(body, number):
                close = self._add(_State(next=[follow], save=2 * number + 1))
                return self._add(_State(next=[self._build(body, close)], save=2 * number))
            case _Repeat(body, least, most):
                return self._repeat(body, least, most, follow)

    def _repeat(self, body: _Node, least: int, most: int | None, follow: int) -> int:
        if most is None:
            loop = self._add(_State())
            self._states[loop].next = [self._build(body, loop), follow]
            follow = loop
        else:
            leave = follow
            for _ in range(most - least):
                follow = self._add(_State(next=[self._build(body, follow), leave]))
        for _ in range(least):
            follow = self._build(body, follow)
        return follow

    def _match(self, subject: str, begin: int) -> list[int] | None:
        """Slots of the longest match that begins at ``begin``."""
        best: list[int] | None = None
        threads = self._closure([(self._start, [-1] * (2 * self.groups))], subject, begin)
        at = begin
        while threads:
            for state, slots in threads:
                if self._states[state].accept:
                    best = slots
                    break
            if at == len(subject):
                break
            char = subject[at]
            at += 1
            moved = [
                (self._states[state].next[0], slots)
                for state, slots in threads
                if char in (self._states[state].chars or ())
            ]
            threads = self._closure(moved, subject, at)
        return best

    def _closure(
        self, entries: list[tuple[int, list[int]]], subject: str, at: int
    ) -> list[tuple[int, list[int]]]:
        """What can be reached without taking a character, in order of preference."""
        seen: set[int] = set()
        found = []
        stack = list(reversed(entries))
        while stack:
            number, slots = stack.pop()
            if number in seen:
                continue
            seen.add(number)
            state = self._states[number]
            if state.accept or state.chars is not None:
                found.append((number, slots))
                continue
            edge = {"^": at == 0, "$": at == len(subject), "": True}
            if not edge[state.anchor]:
                continue
            if state.save >= 0:
                slots = slots.copy()
                slots[state.save] = at
            stack.extend((target, slots) for target in reversed(state.next))
        return found
