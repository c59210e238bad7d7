"""Tokens: what the lexer makes and every diagnostic points at."""

from __future__ import annotations

from pystap.lang.source import Source
from pystap.typing import Literal

TokenKind = Literal[
    "junk", "identifier", "operator", "string", "number", "embedded-code", "keyword", "eof"
]


class Token:
    """One token. ``text`` is its content (for strings: the decoded content without quotes).

    ``expansion`` is the macro invocation token this one came from, if any; diagnostics follow
    the chain. ``line`` and ``column`` count from 1.
    """

    __slots__ = ("expansion", "kind", "offset", "source", "text")

    def __init__(
        self,
        kind: TokenKind,
        text: str,
        source: Source,
        offset: int,
        expansion: Token | None = None,
    ) -> None:
        self.kind: TokenKind = kind
        self.text = text
        self.source = source
        self.offset = offset
        self.expansion = expansion

    @property
    def line(self) -> int:
        """Line of the first character."""
        return self.source.position(self.offset)[0]

    @property
    def column(self) -> int:
        """Column of the first character."""
        return self.source.position(self.offset)[1]

    def location(self) -> str:
        """``FILE:LINE:COL`` as messages show it."""
        line, column = self.source.position(self.offset)
        return f"{self.source.name}:{line}:{column}"

    def describe(self) -> str:
        """Kind and text as messages show it: ``identifier 'x'``; keywords print bare."""
        if self.kind in ("embedded-code", "keyword"):
            return self.kind
        return f"{self.kind} '{printable(self.text)}'"

    def expanded(self, invocation: Token) -> Token:
        """This token as the macro invocation ``invocation`` produced it."""
        return Token(self.kind, self.text, self.source, self.offset, invocation)

    def __repr__(self) -> str:
        return f"<{self.describe()} at {self.location()}>"


class JunkToken(Token):
    """What is no token; ``message`` says why.

    An error only where a parser meets it, since the preprocessor may drop it.  An empty message
    says that the error was reported already: this stands for what could not be expanded.
    """

    __slots__ = ("message",)

    def __init__(
        self, message: str, source: Source, offset: int, expansion: Token | None = None
    ) -> None:
        super().__init__("junk", "", source, offset, expansion)
        self.message = message

    def expanded(self, invocation: Token) -> Token:
        """This junk as the macro invocation ``invocation`` produced it."""
        return JunkToken(self.message, self.source, self.offset, invocation)


_ESCAPES = {n: f"\\{n:03o}" for n in (*range(32), 127)}
_ESCAPES.update({7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"})


def printable(text: str) -> str:
    """``text`` with control characters as escapes: fit for one line of a message."""
    return text.translate(_ESCAPES)
