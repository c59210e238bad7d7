"""Parsing statements."""

from __future__ import annotations

from collections.abc import Callable

from pystap.lang import ast
from pystap.lang.cursor import EOF
from pystap.lang.lexer import KEYWORDS
from pystap.lang.operators import HISTOGRAMS, STAT_OPERATORS
from pystap.lang.parse_expr import ExpressionParser
from pystap.typing import Any, Final

_SORT: Final[dict[str, Any]] = {"+": "+", "-": "-"}
_TOP_LEVEL: Final = ("probe", "function", "global", "private")


class StatementParser(ExpressionParser):
    """Everything that stands in a body.

    ``in_function`` tells whether ``return`` makes sense here.
    """

    in_function = False

    def block(self) -> ast.Block:
        """``{ ... }``."""
        tok = self.expect("{")
        self.enter()
        body: list[ast.Stmt] = []
        keys = self.keys
        while keys[self.at] != "}":
            if keys[self.at] == EOF:
                raise self.error("expected statement")
            body.append(self.statement())
        self.at += 1
        self.depth -= 1
        return ast.Block(tok=tok, body=body)

    def statement(self) -> ast.Stmt:
        """One statement and the semicolon behind it."""
        key = self.keys[self.at]
        if key == ";":
            return ast.Null(tok=self.take())
        if key == "{":
            return self.block()
        handler = _STATEMENTS.get(key)
        if handler is not None:
            return handler(self)
        if (key in KEYWORDS and not self.calls_type_name()) or key == EOF:
            hint = "a '}' may be missing before this" if key in _TOP_LEVEL else None
            raise self.error("expected statement", hint=hint)
        tok = self.tokens[self.at]
        expr = self.expression()
        self.end_statement()
        return ast.ExprStmt(tok=tok, expr=expr)

    def end_statement(self) -> None:
        """The optional semicolon that belongs to a simple statement."""
        if self.keys[self.at] == ";":
            self.at += 1

    def body(self) -> ast.Stmt:
        """The statement another one governs."""
        self.enter()
        result = self.statement()
        self.depth -= 1
        return result

    def condition(self) -> ast.Expr:
        """``( expr )``."""
        self.expect("(")
        cond = self.expression()
        self.expect(")")
        return cond

    def if_statement(self) -> ast.Stmt:
        """``if (cond) then [else orelse]``."""
        tok = self.take()
        cond = self.condition()
        then = self.body()
        orelse = self.body() if self.accept("else") else None
        return ast.If(tok=tok, cond=cond, then=then, orelse=orelse)

    def while_statement(self) -> ast.Stmt:
        """``while (cond) body``."""
        tok = self.take()
        cond = self.condition()
        return ast.While(tok=tok, cond=cond, body=self.body())

    def for_statement(self) -> ast.Stmt:
        """``for (init; cond; step) body`` with any part left out."""
        tok = self.take()
        self.expect("(")
        parts: list[ast.Expr | None] = []
        for end in (";", ";", ")"):
            parts.append(self.expression() if self.keys[self.at] != end else None)
            self.expect(end)
        init, cond, step = parts
        return ast.For(tok=tok, init=init, cond=cond, step=step, body=self.body())

    def foreach_statement(self) -> ast.Stmt:
        """``foreach (value = [keys] in array[slice] @op+ limit n) body``."""
        tok = self.take()
        self.expect("(")
        loop = ast.Foreach(
            tok=tok,
            keys=[],
            value=None,
            base=ast.Name(tok=tok, name=""),
            slice=None,
            sort="",
            sort_column=0,
            sort_op=None,
            limit=None,
            body=ast.Null(tok=tok),
        )
        self.foreach_variables(loop)
        self.expect("in")
        self.foreach_array(loop)
        if self.accept("limit"):
            loop.limit = self.expression()
        self.expect(")")
        loop.body = self.body()
        return loop

    def foreach_variables(self, loop: ast.Foreach) -> None:
        """The value and key variables with their sort marks."""
        if self.keys[self.at] != "[":
            first = self.loop_variable()
            sorted_first = self.sort_mark(loop, 1)
            if self.keys[self.at] != "=":
                loop.keys = [first]
                return
            self.take()
            loop.value = first
            if sorted_first:
                loop.sort_column = 0
        if self.accept("["):
            while True:
                loop.keys.append(self.loop_variable())
                self.sort_mark(loop, len(loop.keys))
                if not self.accept(","):
                    break
            if self.keys[self.at] != "]":
                raise self.error("expected one of '] ,'")
            self.at += 1
        else:
            loop.keys = [self.loop_variable()]
            self.sort_mark(loop, 1)

    def loop_variable(self) -> ast.Name:
        """A variable ``foreach`` sets."""
        tok = self.expect_identifier()
        return ast.Name(tok=tok, name=tok.text)

    def sort_mark(self, loop: ast.Foreach, column: int) -> bool:
        """Take a ``+`` or ``-`` that sorts by ``column``, if there is one."""
        sort = _SORT.get(self.keys[self.at])
        if sort is None:
            return False
        if loop.sort:
            raise self.error("multiple sort directives")
        loop.sort = sort
        loop.sort_column = column
        self.at += 1
        return True

    def foreach_array(self, loop: ast.Foreach) -> None:
        """What is iterated over: array, slice, histogram, and the order by value."""
        start = self.at
        if self.keys[self.at] in HISTOGRAMS:
            loop.base = self.histogram()
            self.check_height(loop.base.stat, start)
        else:
            tok = self.expect_identifier()
            loop.base = ast.Name(tok=tok, name=tok.text)
            if self.accept("["):
                self.enter()
                loop.slice = self.index_list()
                self.depth -= 1
                for index in loop.slice:
                    if index is not None:
                        self.check_height(index, start)
        key = self.keys[self.at]
        if key[0] == "@":
            if key not in STAT_OPERATORS:
                raise self.error("expected statistical operation")
            self.at += 1
            loop.sort_op = key[1:]
            if not self.sort_mark(loop, 0):
                raise self.error("expected sort directive")
            return
        self.sort_mark(loop, 0)

    def try_statement(self) -> ast.Stmt:
        """``try { } catch [(message)] { }``."""
        tok = self.take()
        body = self.block()
        self.expect("catch")
        var: ast.Name | None = None
        if self.accept("("):
            var = self.loop_variable()
            self.expect(")")
        return ast.TryCatch(tok=tok, body=body, var=var, handler=self.block())

    def return_statement(self) -> ast.Stmt:
        """``return [value]``."""
        if not self.in_function:
            raise self.error("found 'return' not in function context")
        tok = self.take()
        value = None if self.keys[self.at] in (";", "}") else self.expression()
        self.end_statement()
        return ast.Return(tok=tok, value=value)

    def delete_statement(self) -> ast.Stmt:
        """``delete x``."""
        tok = self.take()
        target = self.expression()
        self.end_statement()
        return ast.Delete(tok=tok, target=target)

    def break_statement(self) -> ast.Stmt:
        """``break``."""
        tok = self.take()
        self.end_statement()
        return ast.Break(tok=tok)

    def continue_statement(self) -> ast.Stmt:
        """``continue``."""
        tok = self.take()
        self.end_statement()
        return ast.Continue(tok=tok)

    def next_statement(self) -> ast.Stmt:
        """``next``."""
        tok = self.take()
        self.end_statement()
        return ast.Next(tok=tok)


_STATEMENTS: Final[dict[str, Callable[[StatementParser], ast.Stmt]]] = {
    "if": StatementParser.if_statement,
    "while": StatementParser.while_statement,
    "for": StatementParser.for_statement,
    "foreach": StatementParser.foreach_statement,
    "try": StatementParser.try_statement,
    "return": StatementParser.return_statement,
    "delete": StatementParser.delete_statement,
    "break": StatementParser.break_statement,
    "continue": StatementParser.continue_statement,
    "next": StatementParser.next_statement,
}
