"""Statements that only make sense in certain places: return, break, continue."""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.visit import iter_children
from pystap.sema.work import Work

_LOOPS = (ast.While, ast.For, ast.Foreach)


def check_flow(work: Work, body: ast.Block, in_function: bool) -> None:
    """Report a ``return`` outside functions, and ``break`` and ``continue`` outside loops."""
    stack: list[tuple[ast.Node, bool]] = [(body, False)]
    while stack:
        node, in_loop = stack.pop()
        if isinstance(node, ast.Return):
            if not in_function:
                work.error("cannot 'return' from probe", node.tok, hint="use 'next' to leave it")
        elif isinstance(node, ast.Break):
            if not in_loop:
                work.error("cannot 'break' outside loop", node.tok)
        elif isinstance(node, ast.Continue):
            if not in_loop:
                work.error("cannot 'continue' outside loop", node.tok)
        elif not isinstance(node, ast.Expr):
            inside = in_loop or isinstance(node, _LOOPS)
            stack += [
                (child, inside) for child in iter_children(node) if isinstance(child, ast.Node)
            ]
