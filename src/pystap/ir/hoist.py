"""Moves statements out of expressions where nothing is evaluated before them.

``x = {t = f(); t} + 1`` becomes ``t = f(); x = t + 1``: plain statements are easier for a
runtime than statements inside an expression.
"""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.effects import Summaries, summarise
from pystap.ir.module import Module
from pystap.ir.types import LocalVar
from pystap.ir.walk import blocks, owners, rewrite_operands
from pystap.records import dataclass, field


def hoist_statements(module: Module) -> None:
    """Take the bodies of ``Seq`` out of statements as far as the order of evaluation allows."""
    hoister = _Hoister(summarise(module))
    for owner in owners(module):
        hoister.block(owner.body)


@dataclass(slots=True)
class _Place:
    """Where hoisted statements go.  ``open``: everything evaluated so far could as well be
    evaluated after them, provided that they do not set the locals in ``passed``."""

    out: list[ops.Stmt]
    open: bool = True
    passed: set[LocalVar] = field(default_factory=set)


class _Hoister:
    """One run over a module."""

    def __init__(self, summaries: Summaries) -> None:
        self.summaries = summaries

    def block(self, body: list[ops.Stmt]) -> None:
        """Rewrite a list of statements."""
        made: list[ops.Stmt] = []
        for stmt in body:
            for part in blocks(stmt):
                self.block(part)
            # The condition of a loop is evaluated every round.
            place = _Place(made, open=not isinstance(stmt, ops.Loop))
            self.operands(stmt, place)
            made.append(stmt)
        body[:] = made

    def operands(self, node: ops.Expr | ops.Stmt, place: _Place) -> None:
        """Rewrite the operands of a node."""
        rewrite_operands(node, lambda expr: self.operand(expr, place))

    def operand(self, expr: ops.Expr, place: _Place) -> ops.Expr:
        """What remains of an operand."""
        match expr:
            case ops.Seq():
                return self.sequence(expr, place)
            case ops.Local(var):
                place.passed.add(var)
            case ops.Logic():
                expr.left = self.operand(expr.left, place)
                expr.right = self.operand(expr.right, _Place([], open=False))
                place.open = False
            case ops.Cond():
                expr.cond = self.operand(expr.cond, place)
                expr.yes = self.operand(expr.yes, _Place([], open=False))
                expr.no = self.operand(expr.no, _Place([], open=False))
                place.open = False
            case _:
                self.operands(expr, place)
                place.open &= _is_pure(expr)
        return expr

    def sequence(self, expr: ops.Seq, place: _Place) -> ops.Expr:
        """A ``Seq``: dissolved when its statements can run before all the rest."""
        self.block(expr.body)
        if place.open and not (place.passed and self.sets(expr.body, place.passed)):
            place.out += expr.body
            return self.operand(expr.value, place)
        place.open = False
        expr.value = self.operand(expr.value, _Place(expr.body))
        return expr

    def sets(self, body: list[ops.Stmt], locals_read: set[LocalVar]) -> bool:
        """Whether a body changes one of some locals."""
        return not locals_read.isdisjoint(self.summaries.of(body).locals_set)


def _is_pure(expr: ops.Expr) -> bool:
    """Whether a value depends on nothing but its operands and cannot fail."""
    match expr:
        case ops.Const() | ops.StrConst() | ops.Neg() | ops.BitNot() | ops.Not() | ops.Compare():
            return True
        case ops.Arith(pos=pos):
            return pos < 0
        case _:
            return False
