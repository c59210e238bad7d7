"""The token stream a parser reads, and how its errors come about."""

from __future__ import annotations

from pystap.diag.diagnostic import DiagnosticError
from pystap.lang import ast
from pystap.lang.environment import Environment
from pystap.lang.errors import parse_error
from pystap.lang.limits import MAX_DEPTH
from pystap.lang.numbers import number_value
from pystap.lang.operators import builtin_operators
from pystap.lang.tokens import Token
from pystap.typing import Final

# Operators and keywords are looked up by their text; other tokens by these (no text is equal).
IDENTIFIER: Final = "IDENTIFIER"
NUMBER: Final = "NUMBER"
STRING: Final = "STRING"
CODE: Final = "CODE"
JUNK: Final = "JUNK"
EOF: Final = "EOF"

_KEYS: Final = {
    "identifier": IDENTIFIER,
    "number": NUMBER,
    "string": STRING,
    "embedded-code": CODE,
    "junk": JUNK,
    "eof": EOF,
}


class Cursor:
    """A place in a token list.

    ``keys[i]`` tells what ``tokens[i]`` is in one string to compare with.  Methods that find
    something else than they expect raise DiagnosticError.
    """

    def __init__(self, tokens: list[Token], end: Token, env: Environment) -> None:
        self.tokens = [*tokens, end]
        get = _KEYS.get
        self.keys = [get(t.kind) or t.text for t in self.tokens]
        self.at = 0
        self.depth = 0
        self.env = env
        self.builtins = builtin_operators(env)
        self.privileged = env.guru or end.source.kind != "user"

    def take(self) -> Token:
        """The current token, and on to the next (the end mark stays)."""
        token = self.tokens[self.at]
        if self.at < len(self.tokens) - 1:
            self.at += 1
        return token

    def accept(self, key: str) -> Token | None:
        """The current token if it is ``key``."""
        if self.keys[self.at] != key:
            return None
        self.at += 1
        return self.tokens[self.at - 1]

    def expect(self, key: str) -> Token:
        """The current token, which must be the operator or keyword ``key``."""
        if self.keys[self.at] != key:
            raise self.error(f"expected '{key}'")
        self.at += 1
        return self.tokens[self.at - 1]

    def expect_identifier(self, message: str = "expected identifier") -> Token:
        """The current token, which must be a name that is not a target variable's."""
        token = self.tokens[self.at]
        if self.keys[self.at] != IDENTIFIER:
            raise self.error(message)
        if token.text[0] == "$":
            raise self.error(f"{message}, found a target variable")
        self.at += 1
        return token

    def error(
        self, message: str, token: Token | None = None, hint: str | None = None
    ) -> DiagnosticError:
        """A parse error, to be raised, at ``token`` (by default the current one)."""
        if token is None:
            token = self.tokens[self.at]
            if token.kind == "eof":
                hint = hint or self.unclosed()
        return parse_error(message, token, hint=hint)

    def error_at(self, message: str, token: Token) -> DiagnosticError:
        """A parse error about ``token`` as such, not about its being here."""
        return parse_error(message, token, saw=False)

    def unclosed(self) -> str | None:
        """What was opened and never closed before the end, for a hint."""
        pairs = {")": "(", "]": "[", "}": "{"}
        stack: list[Token] = []
        for token in self.tokens:
            if token.kind != "operator":
                continue
            if token.text in ("(", "[", "{"):
                stack.append(token)
            elif token.text in pairs and stack and stack[-1].text == pairs[token.text]:
                stack.pop()
        if not stack:
            return None
        return f"the '{stack[-1].text}' at {stack[-1].location()} is never closed"

    def enter(self) -> None:
        """Go one level deeper; the caller leaves it by ``self.depth -= 1``."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error("too deeply nested")

    def adjacent(self) -> bool:
        """Whether the current token directly follows the one before, without white space."""
        before, token = self.tokens[self.at - 1], self.tokens[self.at]
        if before.expansion is not token.expansion:
            return False
        source, end = before.source.root_offset(before.offset + len(before.text))
        if before.source is token.source:
            return before.offset + len(before.text) == token.offset
        return (source, end) == token.source.root_offset(token.offset)

    def string(self, message: str = "expected literal string") -> ast.String:
        """A string literal with its neighbours glued on."""
        token = self.tokens[self.at]
        if self.keys[self.at] != STRING:
            raise self.error(message)
        self.at += 1
        value = token.text
        if self.keys[self.at] == STRING:
            parts = [value]
            while self.keys[self.at] == STRING:
                parts.append(self.tokens[self.at].text)
                self.at += 1
            value = "".join(parts)
        return ast.String(tok=token, value=value)

    def literal_number(self, message: str = "expected number") -> ast.Number:
        """A number literal with an optional minus."""
        token = self.tokens[self.at]
        negative = self.accept("-") is not None
        if self.keys[self.at] != NUMBER:
            raise self.error(message)
        value = number_value(self.take(), negative)
        return ast.Number(tok=token, value=value)

    def literal(self) -> ast.Number | ast.String:
        """A literal as globals, probe arguments and sizes take it."""
        key = self.keys[self.at]
        if key == STRING:
            return self.string()
        return self.literal_number("expected literal string or number")
