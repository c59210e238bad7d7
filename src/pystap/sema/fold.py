"""Constant folding, and dropping of branches that a constant condition makes unreachable."""

from __future__ import annotations

from collections.abc import Callable

from pystap.lang import ast
from pystap.lang.visit import transform
from pystap.longs import signed
from pystap.typing import Any, Final

_MASK: Final = (1 << 64) - 1


def fold_constants(body: ast.Block) -> None:
    """Fold a whole body in place."""
    transform(body, fold_node)


def fold_expr(expr: ast.Expr) -> ast.Expr:
    """Fold one expression in place; the result may be another node."""
    folded: ast.Expr = transform(expr, fold_node)
    return folded


def fold_node(node: Any) -> Any:
    """What a node becomes when its children are folded already."""
    rule = _RULES.get(node.__class__)
    return node if rule is None else rule(node)


def number(value: int, like: ast.Node) -> ast.Number:
    """A literal in the place of ``like``."""
    return ast.Number(tok=like.tok, type="long", value=signed(value))


def null(like: ast.Node) -> ast.Null:
    """An empty statement in the place of ``like``."""
    return ast.Null(tok=like.tok)


# --- expressions --------------------------------------------------------------------------------


def _unary(node: ast.Unary) -> ast.Expr:
    operand = node.operand
    if not isinstance(operand, ast.Number):
        return node
    value = operand.value
    results = {"+": value, "-": -value, "~": ~value, "!": int(value == 0)}
    return number(results[node.op], node)


def _shift_count(value: int) -> int:
    return value & 63


# Division is not among them: its rule needs the divisor checked first.
_ARITHMETIC: Final[dict[str, Callable[[int, int], int]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<<": lambda a, b: a << _shift_count(b),
    ">>": lambda a, b: a >> _shift_count(b),
    ">>>": lambda a, b: (a & _MASK) >> _shift_count(b),
    "&&": lambda a, b: int(a != 0 and b != 0),
    "||": lambda a, b: int(a != 0 or b != 0),
}


def divide(a: int, b: int) -> int:
    """Quotient truncated towards zero."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _binary(node: ast.Binary) -> ast.Expr:
    left, right, op = node.left, node.right, node.op
    if isinstance(left, ast.Number) and isinstance(right, ast.Number):
        a, b = left.value, right.value
        if op in ("/", "%"):
            if b == 0:
                return node  # raises "division by 0" when it runs
            return number(divide(a, b) if op == "/" else a - b * divide(a, b), node)
        rule = _ARITHMETIC.get(op)
        return node if rule is None else number(rule(a, b), node)
    if isinstance(left, ast.Number) and op in ("&&", "||") and (left.value != 0) == (op == "||"):
        return number(int(op == "||"), node)
    if op == "." and isinstance(left, ast.String) and isinstance(right, ast.String):
        return ast.String(tok=node.tok, type="string", value=left.value + right.value)
    return node


_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


def _compare(node: ast.Compare) -> ast.Expr:
    left, right = node.left, node.right
    if (isinstance(left, ast.Number) and isinstance(right, ast.Number)) or (
        isinstance(left, ast.String) and isinstance(right, ast.String)
    ):
        return number(int(_COMPARISONS[node.op](left.value, right.value)), node)
    return node


def _ternary(node: ast.Ternary) -> ast.Expr:
    if isinstance(node.cond, ast.Number):
        return node.yes if node.cond.value else node.no
    return node


# --- statements ---------------------------------------------------------------------------------


def _if(node: ast.If) -> ast.Stmt:
    if isinstance(node.cond, ast.Number):
        if node.cond.value:
            return node.then
        return node.orelse if node.orelse is not None else null(node)
    return node


def _while(node: ast.While) -> ast.Stmt:
    if isinstance(node.cond, ast.Number) and not node.cond.value:
        return null(node)
    return node


def _for(node: ast.For) -> ast.Stmt:
    if isinstance(node.cond, ast.Number) and not node.cond.value:
        if node.init is None:
            return null(node)
        return ast.ExprStmt(tok=node.tok, expr=node.init)
    return node


_RULES: Final[dict[type, Callable[[Any], Any]]] = {
    ast.Unary: _unary,
    ast.Binary: _binary,
    ast.Compare: _compare,
    ast.Ternary: _ternary,
    ast.If: _if,
    ast.While: _while,
    ast.For: _for,
}
