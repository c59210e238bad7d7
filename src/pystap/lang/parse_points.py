"""Parsing probe points, braces expanded."""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.cursor import IDENTIFIER, NUMBER
from pystap.lang.lexer import KEYWORDS
from pystap.lang.parse_stmt import StatementParser
from pystap.lang.tokens import Token
from pystap.lang.visit import clone
from pystap.typing import Final

# Braces multiply: a bound on the probe points one may write.
MAX_POINTS: Final = 10_000

_EXPECTED_COMPONENT: Final = "expected identifier or '*' or '{'"


class PointParser(StatementParser):
    """Probe points and lists of them."""

    def points(self) -> list[ast.ProbePoint]:
        """One probe point as written: several when it has braces."""
        done: list[ast.ProbePoint] = [ast.ProbePoint(tok=self.tokens[self.at], components=[])]
        while True:
            if self.keys[self.at] == "{":
                self.join(done, self.alternatives())
            else:
                component = self.component()
                for point in done:
                    if point.optional or point.sufficient or point.condition is not None:
                        message = "'?', '!' or condition must only be specified in suffix"
                        raise self.error_at(message, point.components[-1].tok)
                    point.components.append(
                        ast.PointComponent(
                            name=component.name, arg=component.arg, tok=component.tok
                        )
                    )
            if self.keys[self.at] != ".":
                break
            self.at += 1
        self.suffix(done)
        for point in done:
            point.tok = point.components[0].tok
        return done

    def alternatives(self) -> list[ast.ProbePoint]:
        """``{a,b.c}``."""
        self.take()
        self.enter()
        result = self.points()
        while self.accept(","):
            result += self.points()
        self.depth -= 1
        self.expect("}")
        return result

    def join(self, heads: list[ast.ProbePoint], tails: list[ast.ProbePoint]) -> None:
        """Put every tail behind every head, in place."""
        if len(heads) * len(tails) > MAX_POINTS:
            raise self.error(f"braces make more than {MAX_POINTS} probe points")
        result = []
        for head in heads:
            if head.optional or head.sufficient or head.condition is not None:
                message = "'?', '!' or condition must only be specified in suffix"
                raise self.error_at(message, head.components[-1].tok)
            for tail in tails:
                point = clone(tail)
                point.components = clone(head).components + point.components
                result.append(point)
        heads[:] = result

    def component(self) -> ast.PointComponent:
        """A name with wildcards and perhaps a literal argument.

        Its parts belong together only without white space between them.
        """
        key = self.keys[self.at]
        if key != IDENTIFIER and key != "*" and key not in KEYWORDS:
            raise self.error(_EXPECTED_COMPONENT)
        tok = self.take()
        name = tok.text
        while self.adjacent() and self.continues(name):
            name += self.take().text
        arg: int | str | None = None
        if self.accept("("):
            arg = self.literal().value
            self.expect(")")
        return ast.PointComponent(name=name, arg=arg, tok=tok)

    def continues(self, name: str) -> bool:
        """Whether the current token goes on with the component ``name``."""
        key = self.keys[self.at]
        if key == "*":
            return True
        return name[-1] == "*" and (key in (IDENTIFIER, NUMBER) or key in KEYWORDS)

    def suffix(self, points: list[ast.ProbePoint]) -> None:
        """``?`` or ``!``, and ``if (cond)``."""
        key = self.keys[self.at]
        if key == "?" or key == "!":
            if any(p.optional or p.sufficient for p in points):
                raise self.error("'?' or '!' respecified")
            self.at += 1
            for point in points:
                # What is sufficient need not be there either.
                point.optional = key == "?"
                point.sufficient = key == "!"
        if self.keys[self.at] != "if":
            return
        self.at += 1
        self.expect("(")
        cond = self.expression()
        close = self.expect(")")
        if any(p.condition is not None for p in points):
            raise self.error("condition respecified", close)
        points[0].condition = cond
        for point in points[1:]:
            point.condition = clone(cond)

    def is_plain(self, points: list[ast.ProbePoint], at: Token) -> ast.ProbePoint:
        """The single point that an alias name must be."""
        if len(points) != 1:
            raise self.error("expected probe point specifier", at)
        point = points[0]
        if point.optional or point.sufficient:
            message = "probe point alias name cannot be optional nor sufficient"
            raise self.error_at(message, point.tok)
        return point
