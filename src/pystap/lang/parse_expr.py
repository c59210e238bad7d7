"""Parsing expressions: operators by precedence climbing, then what can be an operand."""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.cursor import CODE, IDENTIFIER, NUMBER, STRING
from pystap.lang.limits import MAX_DEPTH
from pystap.lang.numbers import number_value
from pystap.lang.operators import (
    ASSIGNMENT,
    BINARY,
    BITAND,
    COMPARE,
    HISTOGRAMS,
    IN,
    OR,
    PREFIX,
    PRINT_FAMILY,
    TYPE_NAMES,
)
from pystap.lang.parse_atop import AtOperatorParser, split_pretty
from pystap.lang.tokens import Token
from pystap.lang.visit import iter_children
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.lang.visit import AnyNode

# Grammar levels above every operator of a chain, and between a comparison and what it takes.
_ANY: Final = 99
_TARGET_VALUES: Final = (ast.TargetVar, ast.AtVar, ast.Cast, ast.Autocast)
_EXPECTED_VALUE: Final = "expected literal string or number"


class ExpressionParser(AtOperatorParser):
    """Everything that has a value."""

    def expression(self) -> ast.Expr:
        """An expression, assignments included, not higher than :data:`MAX_DEPTH`."""
        start = self.at
        expr = self.assignment()
        self.check_height(expr, start)
        return expr

    def check_height(self, expr: ast.Expr, start: int) -> None:
        """Refuse what was read since token ``start`` when it is too high a tree.

        Nesting is bounded while reading; this is about long chains of operators.
        """
        if self.at - start > MAX_DEPTH and _height_exceeds(expr, MAX_DEPTH):
            raise self.error_at("expression too deeply nested", expr.tok)

    def assignment(self) -> ast.Expr:
        """The loosest level: right associative assignments."""
        target = self.ternary()
        if self.keys[self.at] not in ASSIGNMENT:
            return target
        tok = self.take()
        self.enter()
        value = self.assignment()
        self.depth -= 1
        return ast.Assign(tok=tok, op=tok.text, target=target, value=value)

    def ternary(self) -> ast.Expr:
        """``cond ? yes : no``."""
        cond = self.binary(OR)
        if self.keys[self.at] != "?":
            return cond
        tok = self.take()
        self.enter()
        yes = self.assignment()
        self.expect(":")
        # Before 4.0 an assignment could stand here without parentheses.
        no = self.ternary() if self.env.version >= (4, 0) else self.assignment()
        self.depth -= 1
        return ast.Ternary(tok=tok, cond=cond, yes=yes, no=no)

    def binary(self, floor: int) -> ast.Expr:
        """Operators that bind at least as tightly as ``floor``.

        ``cap`` is the tightest operator that may still follow: nothing compares with the result
        of a regular expression match or of ``in``.
        """
        keys = self.keys
        if floor <= IN and keys[self.at] == "[":
            left, cap = self.tuple_in()
        else:
            left = self.unary()
            cap = _ANY
        while True:
            op = keys[self.at]
            level = BINARY.get(op, 0)
            if level < floor or level > cap or not level:
                return left
            if op == "=~" or op == "!~":
                if cap == COMPARE:
                    return left
                tok = self.take()
                pattern = self.string()
                left = ast.RegexMatch(tok=tok, left=left, pattern=pattern, negated=op == "!~")
                cap = IN
            elif level == IN:
                tok = self.take()
                left = ast.ArrayIn(tok=tok, indexes=[left], array=self.array_name())
                cap = BITAND
            else:
                tok = self.take()
                right = self.binary(level + 1)
                cap = level
                if level == COMPARE:
                    left = ast.Compare(tok=tok, op=op, left=left, right=right)
                else:
                    left = ast.Binary(tok=tok, op=op, left=left, right=right)

    def tuple_in(self) -> tuple[ast.Expr, int]:
        """``[a, *] in array``; the tightest operator that may follow comes with it.

        ``[a]`` alone is just ``a``.
        """
        self.enter()
        self.take()
        indexes = self.index_list()
        self.depth -= 1
        if self.keys[self.at] == "in":
            tok = self.take()
            return ast.ArrayIn(tok=tok, indexes=indexes, array=self.array_name()), BITAND
        single = indexes[0]
        if len(indexes) > 1:
            raise self.error("unexpected comma-separated expression list")
        if single is None:
            raise self.error("expected 'in'")
        return single, _ANY

    def array_name(self) -> ast.Name:
        """The bare array name right of ``in``."""
        tok = self.expect_identifier()
        return ast.Name(tok=tok, name=tok.text)

    def index_list(self) -> list[ast.Expr | None]:
        """What stands between brackets, and the closing one; ``*`` gives None."""
        indexes: list[ast.Expr | None] = []
        keys = self.keys
        while True:
            if keys[self.at] == "*":
                self.at += 1
                indexes.append(None)
            else:
                indexes.append(self.assignment())
            key = keys[self.at]
            if key == "]":
                self.at += 1
                return indexes
            if key != ",":
                raise self.error("expected one of '] ,'")
            self.at += 1

    def unary(self) -> ast.Expr:
        """Prefix operators and what they apply to."""
        key = self.keys[self.at]
        if key in PREFIX:
            tok = self.take()
            self.enter()
            operand = self.unary()
            self.depth -= 1
            return ast.Unary(tok=tok, op=key, operand=operand)
        if key == "++" or key == "--":
            tok = self.take()
            return ast.Crement(tok=tok, op=key, prefix=True, operand=self.value())
        operand = self.value()
        key = self.keys[self.at]
        if key == "++" or key == "--":
            return ast.Crement(tok=self.take(), op=key, prefix=False, operand=operand)
        return operand

    def value(self) -> ast.Expr:
        """An operand with its ``->``, ``[]``, ``$`` and ``&``."""
        key = self.keys[self.at]
        if key == IDENTIFIER:
            expr = self.name()
        elif key == NUMBER:
            tok = self.take()
            expr = ast.Number(tok=tok, value=number_value(tok))
        elif key == STRING:
            expr = self.string()
        elif key == "&":
            return self.address_of()
        elif key == "(":
            self.enter()
            self.at += 1
            expr = self.assignment()
            self.expect(")")
            self.depth -= 1
        elif key[0] == "@":
            expr = self.at_operator()
        elif key == CODE:
            expr = self.embedded_expr()
        elif self.calls_type_name():
            expr = self.name()
        else:
            raise self.error("expected value" if key == "EOF" else _EXPECTED_VALUE)
        if self.component_follows():
            tok = self.tokens[self.at]
            return ast.Autocast(tok=tok, operand=expr, components=self.components())
        return expr

    def address_of(self) -> ast.Expr:
        """``&`` before a target value."""
        tok = self.take()
        self.enter()
        operand = self.value()
        self.depth -= 1
        if isinstance(operand, _TARGET_VALUES) and not operand.address_of:
            operand.address_of = True
            return operand
        return ast.Autocast(tok=tok, operand=operand, components=[], address_of=True)

    def embedded_expr(self) -> ast.Expr:
        """``%{ C expression %}``."""
        tok = self.embedded()
        return ast.EmbeddedExpr(tok=tok, code=tok.text)

    def embedded(self) -> Token:
        """An embedded-code token, which only a privileged script may hold."""
        if not self.privileged:
            raise self.error("embedded code in unprivileged script; need stap -g")
        return self.take()

    # --- names ---

    def name(self) -> ast.Expr:
        """Something that starts with a name: call, print, array element, variable."""
        tok = self.take()
        text = tok.text
        if text[0] == "$":
            return self.target_variable(tok)
        key = self.keys[self.at]
        if text in PRINT_FAMILY:
            return self.print_call(tok)
        if key == "(":
            self.at += 1
            return ast.Call(tok=tok, name=text, args=self.arguments())
        expr = ast.Name(tok=tok, name=text)
        if key == "[":
            self.at += 1
            self.enter()
            indexes = self.index_list()
            self.depth -= 1
            return ast.Index(tok=tok, base=expr, indexes=indexes)
        return expr

    def calls_type_name(self) -> bool:
        """Whether here stands a call of a function named like a type."""
        return self.keys[self.at] in TYPE_NAMES and self.keys[self.at + 1] == "("

    def arguments(self) -> list[ast.Expr]:
        """The arguments of a call behind its ``(``, and the ``)``."""
        if self.accept(")"):
            return []
        self.enter()
        args = [self.assignment()]
        while self.accept(","):
            args.append(self.assignment())
        self.depth -= 1
        if self.keys[self.at] != ")":
            raise self.error("expected one of ') ,'")
        self.at += 1
        return args

    def target_variable(self, tok: Token) -> ast.Expr:
        """``$name`` with its components."""
        name, components = split_pretty(tok)
        if not name.strip("$"):
            raise self.error_at("expected a target variable's name", tok)
        if components:
            self.no_more_components()
        elif self.component_follows():
            components = self.components()
        return ast.TargetVar(tok=tok, name=name, components=components)

    # --- the print family ---

    def print_call(self, tok: Token) -> ast.Expr:
        """One of the print functions, whose name was just read."""
        name = tok.text
        self.expect("(")
        self.enter()
        if self.keys[self.at] in HISTOGRAMS and name.removeprefix("s") in ("print", "println"):
            sole = self.histogram_argument()
            if sole is not None:
                self.depth -= 1
                return ast.Print(tok=tok, name=name, args=[sole])
        call = ast.Print(tok=tok, name=name, args=[])
        if name.endswith("printf"):
            call.format = self.string()
        elif name.endswith(("printd", "printdln")):
            call.delimiter = self.string()
            self.print_comma("two values to print")
            call.args.append(self.assignment())
            self.print_comma("two values to print")
            call.args.append(self.assignment())
        elif self.keys[self.at] != ")" or name not in ("println", "sprintln"):
            call.args.append(self.assignment())
        while self.accept(","):
            call.args.append(self.assignment())
        self.depth -= 1
        if self.keys[self.at] != ")":
            raise self.error("expected one of ', )'")
        self.at += 1
        return call

    def print_comma(self, wanted: str) -> None:
        if self.keys[self.at] == ")":
            raise self.error(_EXPECTED_VALUE, hint=f"this function needs a delimiter and {wanted}")
        self.expect(",")

    def histogram_argument(self) -> ast.Histogram | None:
        """A histogram that is all there is to print; None when it is only a bucket of one."""
        start = self.at
        histogram = self.histogram()
        if self.keys[self.at] == "[":
            self.at = start
            return None
        self.expect(")")
        return histogram


def _height_exceeds(expr: ast.Expr, limit: int) -> bool:
    """Whether a tree is more than ``limit`` nodes high, without recursion."""
    level: list[AnyNode] = [expr]
    for _ in range(limit):
        level = [child for node in level for child in iter_children(node)]
        if not level:
            return False
    return True
