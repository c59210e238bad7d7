"""An array must not change while it is iterated over."""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.lang.visit import iter_children
from pystap.sema.effects import CallEffects
from pystap.sema.elide import Live
from pystap.sema.program import FunctionSymbol, GlobalSymbol
from pystap.sema.work import Work
from pystap.typing import Any


def check_iteration(work: Work, live: Live) -> None:
    """Report writes to an array inside ``foreach`` over it, in called functions too."""
    for owner in live.owners(work):
        if owner.body is not None:
            _Checker(work, live.effects).visit(owner.body, {})


class _Checker:
    def __init__(self, work: Work, effects: CallEffects) -> None:
        self._work = work
        self._effects = effects

    def visit(self, node: Any, active: dict[GlobalSymbol, Token]) -> None:
        """Look below ``node``; ``active`` maps the arrays being iterated to their loops."""
        if isinstance(node, ast.Foreach):
            base = node.base.stat if isinstance(node.base, ast.Histogram) else node.base
            symbol = _global(base)
            for child in (*(node.slice or ()), node.limit):
                if child is not None:
                    self.visit(child, active)
            self.visit(node.body, {**active, symbol: node.tok} if symbol else active)
            return
        if active:
            self._check(node, active)
        for child in iter_children(node):
            self.visit(child, active)

    def _check(self, node: Any, active: dict[GlobalSymbol, Token]) -> None:
        target: ast.Expr | None = None
        if isinstance(node, (ast.Assign, ast.Delete)):
            target = node.target
        elif isinstance(node, ast.Crement):
            target = node.operand
        elif isinstance(node, ast.Call):
            self._check_call(node, active)
        symbol = None if target is None else _global(target)
        if symbol is not None and symbol in active:
            self._work.error(
                f"variable '{symbol.name}' modified during 'foreach' iteration",
                node.tok if target is None else target.tok,
                active[symbol],
            )

    def _check_call(self, node: ast.Call, active: dict[GlobalSymbol, Token]) -> None:
        for function in node.functions:
            if isinstance(function, FunctionSymbol):
                for symbol in active.keys() & self._effects.closed(function).writes:
                    if isinstance(symbol, GlobalSymbol):
                        self._work.error(
                            f"function call modifies var '{symbol.name}'"
                            " during 'foreach' iteration",
                            node.tok,
                            active[symbol],
                        )


def _global(expr: ast.Expr) -> GlobalSymbol | None:
    base = expr.base if isinstance(expr, ast.Index) else expr
    symbol = base.symbol if isinstance(base, ast.Name) else None
    return symbol if isinstance(symbol, GlobalSymbol) else None
