"""POSIX extended regular expressions as trees (language.md §6).

Known forms: ``. [set] [^set] [[:class:]] ^ $ | ( ) (?: ) * + ? {n} {n,} {n,m}`` and the escapes
``\\a \\b \\t \\n \\v \\f \\r``, ``\\xHH``, ``\\ooo`` (first digit 0-3); any other escaped
character stands for itself.
Sets are ``frozenset`` of byte values; no string holds byte 0, so no set does.
"""

from __future__ import annotations

from pystap.records import dataclass
from pystap.typing import Final, TypeAlias

MAX_REPEAT: Final = 255

_ESCAPES: Final = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_ANY: Final = frozenset(range(1, 256))
_DIGIT: Final = frozenset(b"0123456789")
_LOWER: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz")
_UPPER: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_ALNUM: Final = _DIGIT | _LOWER | _UPPER
_GRAPH: Final = frozenset(range(33, 127))
CLASSES: Final[dict[str, frozenset[int]]] = {
    "alnum": _ALNUM,
    "alpha": _LOWER | _UPPER,
    "blank": frozenset(b" \t"),
    "cntrl": frozenset([*range(1, 32), 127]),
    "digit": _DIGIT,
    "graph": _GRAPH,
    "lower": _LOWER,
    "print": _GRAPH | {32},
    "punct": _GRAPH - _ALNUM,
    "space": frozenset(b" \t\n\v\f\r"),
    "upper": _UPPER,
    "xdigit": frozenset(b"0123456789abcdefABCDEF"),
}


class RegexError(Exception):
    """A pattern is malformed or too big; ``offset`` is where, in characters."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"regex compilation error (at position {offset}): {message}")
        self.message = message
        self.offset = offset


@dataclass(slots=True)
class Chars:
    """One byte out of a set."""

    allowed: frozenset[int]


@dataclass(slots=True)
class Anchor:
    """``^`` or, with ``end``, ``$``."""

    end: bool


@dataclass(slots=True)
class Sequence:
    """Parts one after another."""

    parts: list[Tree]


@dataclass(slots=True)
class Choice:
    """One of several, the earlier preferred where both match the same text."""

    options: list[Tree]


@dataclass(slots=True)
class Repeat:
    """``body`` from ``least`` to ``most`` times (None: any number)."""

    body: Tree
    least: int
    most: int | None


@dataclass(slots=True)
class Group:
    """A capturing group; 0 is the whole match."""

    body: Tree
    number: int


Tree: TypeAlias = Chars | Anchor | Sequence | Choice | Repeat | Group


def parse_regex(pattern: str) -> tuple[Tree, int]:
    """The tree of a pattern and the number of its groups, the whole match (group 0) included.

    Raises RegexError.
    """
    parser = _Parser(pattern)
    tree = parser.choice()
    if parser.at < len(pattern):
        raise RegexError("unmatched ')'", parser.at)
    return Group(tree, 0), parser.groups + 1


class _Parser:
    """Recursive descent over a pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.groups = 0

    def peek(self, ahead: int = 0) -> str:
        """The character to come, empty at the end."""
        return self.pattern[self.at + ahead : self.at + ahead + 1]

    def choice(self) -> Tree:
        """``a|b``."""
        options = [self.sequence()]
        while self.peek() == "|":
            self.at += 1
            options.append(self.sequence())
        return options[0] if len(options) == 1 else Choice(options)

    def sequence(self) -> Tree:
        """``ab``, perhaps empty."""
        parts: list[Tree] = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated())
        return parts[0] if len(parts) == 1 else Sequence(parts)

    def repeated(self) -> Tree:
        """An atom with what is said about how often."""
        tree = self.atom()
        while self.peek() in ("*", "+", "?", "{"):
            if isinstance(tree, Anchor):
                raise RegexError(f"'{self.peek()}' after an anchor", self.at)
            least, most = self.bounds()
            tree = Repeat(tree, least, most)
        return tree

    def bounds(self) -> tuple[int, int | None]:
        """``* + ? {n} {n,} {n,m}``."""
        start = self.at
        self.at += 1
        match self.pattern[start]:
            case "*":
                return 0, None
            case "+":
                return 1, None
            case "?":
                return 0, 1
        end = self.pattern.find("}", start)
        low, comma, high = self.pattern[start + 1 : max(end, start + 1)].partition(",")
        if end < 0 or not _is_count(low) or not (high == "" or _is_count(high)):
            raise RegexError("malformed repeat count", start)
        self.at = end + 1
        least = int(low)
        most = int(high) if high else None if comma else least
        if max(least, most or 0) > MAX_REPEAT:
            raise RegexError(f"repeat count above {MAX_REPEAT}", start)
        if most is not None and most < least:
            raise RegexError("repeat counts out of order", start)
        return least, most

    def atom(self) -> Tree:
        """What can be repeated."""
        start = self.at
        char = self.pattern[start]
        self.at += 1
        match char:
            case ".":
                return Chars(_ANY)
            case "^" | "$":
                return Anchor(char == "$")
            case "[":
                return Chars(self.bracket(start))
            case "(":
                return self.group(start)
            case "\\":
                return Chars(frozenset([self.escape(start)]))
            case "*" | "+" | "?" | "{":
                raise RegexError(f"'{char}' has nothing to repeat", start)
        return Chars(frozenset([ord(char)]))

    def group(self, start: int) -> Tree:
        """``(...)`` or ``(?:...)``."""
        number = 0
        if self.peek() == "?" and self.peek(1) == ":":
            self.at += 2
        else:
            self.groups += 1
            number = self.groups
        body = self.choice()
        if self.peek() != ")":
            raise RegexError("unclosed '('", start)
        self.at += 1
        return Group(body, number) if number else Sequence([body])

    def escape(self, start: int) -> int:
        """The byte after a backslash."""
        char = self.peek()
        if not char:
            raise RegexError("'\\' at the end", start)
        if char == "x":
            return self.code(self.at + 1, 2, 16, start)
        if char in "0123" and _is_octal(self.pattern[self.at + 1 : self.at + 3]):
            return self.code(self.at, 3, 8, start)
        self.at += 1
        return _ESCAPES.get(char, ord(char))

    def code(self, begin: int, digits: int, base: int, start: int) -> int:
        """A byte by its number."""
        text = self.pattern[begin : begin + digits]
        if len(text) != digits or not text.isalnum():
            raise RegexError("malformed character code", start)
        try:
            value = int(text, base)
        except ValueError:
            raise RegexError("malformed character code", start) from None
        if value == 0:
            raise RegexError("no string holds a zero byte", start)
        self.at = begin + digits
        return value

    def bracket(self, start: int) -> frozenset[int]:
        """The rest of a bracket expression."""
        negated = self.peek() == "^"
        self.at += negated
        found: set[int] = set()
        first = True
        while first or self.peek() != "]":
            first = False
            if self.peek() == "[" and self.peek(1) == ":":
                found |= self.named_class()
                continue
            low = self.bracket_byte(start)
            high = low
            if self.peek() == "-" and self.peek(1) not in ("", "]"):
                self.at += 1
                high = self.bracket_byte(start)
                if high < low:
                    raise RegexError("range out of order", self.at - 1)
            found.update(range(low, high + 1))
        self.at += 1
        return _ANY - found if negated else frozenset(found)

    def bracket_byte(self, start: int) -> int:
        """One byte of a bracket expression."""
        at = self.at
        char = self.peek()
        if not char:
            raise RegexError("unclosed '['", start)
        self.at += 1
        return self.escape(at) if char == "\\" else ord(char)

    def named_class(self) -> frozenset[int]:
        """``[:alpha:]``."""
        end = self.pattern.find(":]", self.at)
        name = self.pattern[self.at + 2 : max(end, self.at + 2)]
        if end < 0 or name not in CLASSES:
            raise RegexError(f"unknown character class '{name}'", self.at)
        self.at = end + 2
        return CLASSES[name]


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_octal(text: str) -> bool:
    return len(text) == 2 and all(c in "01234567" for c in text)
