"""C types of script values: where ``x->member`` and ``x[i]`` get the type of ``x`` from.

A value read from the kernel carries its type; variables, parameters and function results take
over the type of what is assigned to them, which may take several rounds.
"""

from __future__ import annotations

from pystap.diag.diagnostic import DiagnosticError
from pystap.lang import ast
from pystap.lang.visit import rewrite_children, transform, walk
from pystap.probes.base import NoContext
from pystap.sema.fold import fold_constants, number
from pystap.sema.program import DerivedProbe, FunctionSymbol, GlobalSymbol, LocalSymbol
from pystap.sema.resolve import Resolver
from pystap.sema.work import Body, Work
from pystap.typing import Any

_MOST_ROUNDS = 20

_Owner = DerivedProbe | FunctionSymbol
_Symbol = LocalSymbol | GlobalSymbol | FunctionSymbol


def expand_autocasts(work: Work) -> None:
    """Give variables their C types and expand member access on them."""
    owners = work.owners()
    casts = [owner for owner in owners if owner.body is not None and _has_casts(owner.body)]
    if not casts:
        return
    types = CTypes()
    for _ in range(_MOST_ROUNDS):
        for owner in owners:
            types.learn(owner)
        changed = [_Expander(work, owner, types).run() for owner in casts]
        if not any(changed) and not types.grown():
            break
    for owner in casts:
        _report_left(work, owner)


def note_ctypes(work: Work) -> None:
    """Give globals their C types (pointers are printed as such at the end)."""
    types = CTypes()
    owners = work.owners()
    for _ in range(_MOST_ROUNDS):
        for owner in owners:
            types.learn(owner)
        if not types.grown():
            break


def _has_casts(body: ast.Block) -> bool:
    return any(_is_open(node) for node in walk(body))


def _is_open(node: object) -> bool:
    """A node that waits for the type of its operand."""
    return isinstance(node, ast.Autocast) or (
        isinstance(node, ast.AtOp) and node.name == "defined"
    )


class CTypes:
    """What is known of the C types of variables and functions; kept in the symbols.

    A symbol that is given values of different types has none.
    """

    def __init__(self) -> None:
        self._clashes: set[_Symbol] = set()
        self._grew = False

    def grown(self) -> bool:
        """Whether anything was learnt since the last call."""
        grew, self._grew = self._grew, False
        return grew

    def learn(self, owner: _Owner) -> None:
        """Take over types from the assignments, calls and returns of a body."""
        if owner.body is None:
            return
        for node in walk(owner.body):
            if isinstance(node, ast.Assign) and node.op == "=":
                self._give(_variable(node.target), self.of(node.value))
            elif isinstance(node, ast.Foreach) and isinstance(node.base, ast.Name):
                if node.value is not None:
                    self._give(_variable(node.value), self.of(node.base))
            elif isinstance(node, ast.Return) and node.value is not None:
                if isinstance(owner, FunctionSymbol):
                    self._give(owner, self.of(node.value))
            elif isinstance(node, ast.Call):
                for function in node.functions:
                    if isinstance(function, FunctionSymbol):
                        for param, arg in zip(function.params, node.args):
                            self._give(param, self.of(arg))

    def of(self, expr: ast.Expr) -> object | None:
        """The C type of an expression, as far as it is known."""
        if expr.ctype is not None:
            return expr.ctype
        if isinstance(expr, (ast.Name, ast.Index)):
            symbol = _variable(expr)
            return None if symbol is None else symbol.ctype
        if isinstance(expr, ast.Call) and expr.functions:
            first = expr.functions[0]
            return first.ctype if isinstance(first, FunctionSymbol) else None
        if isinstance(expr, ast.Ternary):
            return self.of(expr.yes) or self.of(expr.no)
        if isinstance(expr, ast.Assign) and expr.op == "=":
            return self.of(expr.value)
        return None

    def _give(self, symbol: _Symbol | None, ctype: object | None) -> None:
        if symbol is None or ctype is None or symbol in self._clashes:
            return
        if symbol.ctype is None:
            symbol.ctype = ctype
            self._grew = True
        elif symbol.ctype != ctype:
            symbol.ctype = None
            self._clashes.add(symbol)
            self._grew = True


def _variable(expr: ast.Expr) -> LocalSymbol | GlobalSymbol | None:
    base = expr.base if isinstance(expr, ast.Index) else expr
    symbol = base.symbol if isinstance(base, ast.Name) else None
    return symbol if isinstance(symbol, (LocalSymbol, GlobalSymbol)) else None


class _Expander:
    """Expands what can be expanded now in one body."""

    def __init__(self, work: Work, owner: _Owner, types: CTypes) -> None:
        self._work = work
        self._owner = owner
        self._types = types
        self._changed = False

    def run(self) -> bool:
        """Rewrite the body; whether anything was expanded."""
        body = self._owner.body
        if body is not None and _has_casts(body):
            # First the questions: they may rule out code that would draw errors.
            self._answer(body)
            fold_constants(body)
            self._expand(body)
        return self._changed

    def _answer(self, node: Any) -> Any:
        """Settle ``@defined`` where the operand's type is known."""
        from pystap.probes.target import CType, expand_ctype

        if not (isinstance(node, ast.AtOp) and node.name == "defined"):
            rewrite_children(node, self._answer)
            return node
        inner = node.args[0]
        ctype = self._types.of(inner.operand) if isinstance(inner, ast.Autocast) else None
        if not isinstance(inner, ast.Autocast) or not isinstance(ctype, CType):
            return node
        self._changed = True
        try:
            expand_ctype(inner.operand, ctype, inner.components, inner.tok, inner.address_of)
        except DiagnosticError:
            return number(0, node)
        return number(1, node)

    def _expand(self, node: Any) -> Any:
        """Replace member access where the operand's type is known."""
        from pystap.probes.target import CType, expand_ctype

        if isinstance(node, ast.AtOp) and node.name == "defined":
            return node
        rewrite_children(node, self._expand)
        if not isinstance(node, ast.Autocast):
            return node
        ctype = self._types.of(node.operand)
        if not isinstance(ctype, CType):
            return node
        self._changed = True
        try:
            made = expand_ctype(node.operand, ctype, node.components, node.tok, node.address_of)
        except DiagnosticError as error:
            self._work.diags.add(error.diagnostic)
            return number(0, node)
        return self._resolved(made)

    def _resolved(self, expr: ast.Expr) -> ast.Expr:
        """Names in copies of the operand lost their symbols; find them again."""
        block = ast.Block(tok=expr.tok, body=[ast.ExprStmt(tok=expr.tok, expr=expr)])
        Resolver(self._work, Body(block, self._owner, NoContext())).run()
        return expr


def _report_left(work: Work, owner: _Owner) -> None:
    """Errors for values that are looked into but whose type nothing tells."""
    body = owner.body
    if body is None or not _has_casts(body):
        return

    def deny(node: Any) -> Any:
        if isinstance(node, ast.AtOp) and node.name == "defined":
            return number(0, node)
        rewrite_children(node, deny)
        return node

    def refuse(node: Any) -> Any:
        if isinstance(node, ast.Autocast):
            _refuse(work, node)
            return number(0, node)
        return node

    deny(body)
    fold_constants(body)
    transform(body, refuse)


def _refuse(work: Work, node: ast.Autocast) -> None:
    if not node.components:
        message = "cannot take the address of a script value"
        work.error(message, node.tok, hint="'&' is for target variables: &$x->y")
        return
    if isinstance(node.operand, ast.Name) and isinstance(node.components[0], ast.Subscript):
        work.error("array locals not supported, missing global declaration?", node.operand.tok)
        return
    work.error(
        "unknown type in dereference",
        node.tok,
        hint='the type of this value is not known: use @cast(value, "TYPE")',
    )
