"""What code reads, writes and calls, and whether it does anything that can be noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pystap.ir.intrinsics import INTRINSICS
from pystap.lang import ast
from pystap.lang.visit import iter_children
from pystap.probes.core import CoreIntrinsic, CoreLoad
from pystap.sema.program import FunctionSymbol, GlobalSymbol, LocalSymbol
from pystap.typing import Any, Final

Symbol = LocalSymbol | GlobalSymbol


class Uses:
    """Effects of a piece of code without those of the functions it calls.

    ``noticed`` tells that it prints, stores to memory, raises errors on purpose or the like;
    ``gives_way`` that there is a ``next``.
    """

    __slots__ = ("calls", "gives_way", "noticed", "reads", "writes")

    def __init__(self) -> None:
        self.reads: set[Symbol] = set()
        self.writes: set[Symbol] = set()
        self.calls: set[FunctionSymbol] = set()
        self.noticed = False
        self.gives_way = False


def uses_of(node: ast.Node, into: Uses | None = None) -> Uses:
    """Collect the effects of a statement or expression.

    An assignment operator or ``++`` whose value nobody wants counts as a write only.
    """
    uses = Uses() if into is None else into
    stack: list[Any] = [node]
    while stack:
        current = stack.pop()
        rule = _RULES.get(current.__class__)
        if rule is None:
            stack += iter_children(current)
        else:
            rule(current, uses, stack)
    return uses


def function_uses(function: FunctionSymbol) -> Uses:
    """Effects of a function's own body."""
    uses = Uses()
    body = function.decl.body
    if function.body is not None:
        uses_of(function.body, uses)
        uses.noticed |= uses.gives_way  # an error where no overload is left
    elif function.intrinsic is not None:
        uses.noticed = not INTRINSICS[function.intrinsic[0]].pure
    elif isinstance(body, ast.EmbeddedCode):
        _embedded(body, uses, [])
    return uses


class CallEffects:
    """Effects of functions including everything they call."""

    def __init__(self) -> None:
        self._own: dict[FunctionSymbol, Uses] = {}
        self._closed: dict[FunctionSymbol, Uses] = {}

    def own(self, function: FunctionSymbol) -> Uses:
        """Effects of the function's own body."""
        uses = self._own.get(function)
        if uses is None:
            uses = self._own[function] = function_uses(function)
        return uses

    def closed(self, function: FunctionSymbol) -> Uses:
        """Effects of a call."""
        known = self._closed.get(function)
        if known is None:
            known = self._closed[function] = Uses()
            for reached in self.reachable([function]):
                own = self.own(reached)
                known.reads |= own.reads
                known.writes |= own.writes
                known.noticed |= own.noticed
        return known

    def reachable(self, start: Iterable[FunctionSymbol]) -> list[FunctionSymbol]:
        """The functions that calls of ``start`` reach, themselves included, each once."""
        found: dict[FunctionSymbol, None] = {}
        stack = list(start)
        while stack:
            function = stack.pop()
            if function not in found:
                found[function] = None
                stack += self.own(function).calls
        return list(found)

    def is_noticed(self, node: ast.Node) -> bool:
        """Whether running ``node`` for its effect does anything: output, writes to variables
        included."""
        uses = uses_of(node)
        if uses.noticed or uses.writes:
            return True
        return any(
            closed.noticed or any(isinstance(w, GlobalSymbol) for w in closed.writes)
            for closed in map(self.closed, uses.calls)
        )


# --- rules --------------------------------------------------------------------------------------

_Stack = list[Any]


def _symbol(node: ast.Expr) -> Symbol | None:
    """The variable behind a name or an element."""
    if isinstance(node, ast.Index):
        node = node.base
    if isinstance(node, ast.Name) and isinstance(node.symbol, (LocalSymbol, GlobalSymbol)):
        return node.symbol
    return None


def _read_name(node: ast.Name, uses: Uses, _stack: _Stack) -> None:
    symbol = _symbol(node)
    if symbol is not None:
        uses.reads.add(symbol)


def _write(target: ast.Expr, uses: Uses, stack: _Stack, also_read: bool) -> None:
    """A variable or element changes; other places are memory."""
    symbol = _symbol(target)
    if symbol is None:
        uses.noticed = True
        stack.append(target.addr if isinstance(target, CoreLoad) else target)
        return
    uses.writes.add(symbol)
    if also_read:
        uses.reads.add(symbol)
    if isinstance(target, ast.Index):
        stack += [index for index in target.indexes if index is not None]


def _statement(node: ast.ExprStmt, uses: Uses, stack: _Stack) -> None:
    expr = node.expr
    if isinstance(expr, ast.Assign):
        uses.noticed |= may_divide_by_zero(expr)
        _write(expr.target, uses, stack, also_read=False)
        stack.append(expr.value)
    elif isinstance(expr, ast.Crement):
        _write(expr.operand, uses, stack, also_read=False)
    else:
        stack.append(expr)


def _assign(node: ast.Assign, uses: Uses, stack: _Stack) -> None:
    uses.noticed |= may_divide_by_zero(node)
    _write(node.target, uses, stack, also_read=node.op not in ("=", "<<<"))
    stack.append(node.value)


def may_divide_by_zero(node: ast.Assign | ast.Binary) -> bool:
    """Whether a division can raise its error, which scripts may want to see.

    Faults of memory do not count like that: library aliases read much that nobody uses.
    """
    divisor = node.value if isinstance(node, ast.Assign) else node.right
    if node.op not in ("/", "%", "/=", "%="):
        return False
    return not (isinstance(divisor, ast.Number) and divisor.value)


def _binary(node: ast.Binary, uses: Uses, stack: _Stack) -> None:
    uses.noticed |= may_divide_by_zero(node)
    stack += [node.left, node.right]


def _stat_op(node: ast.StatOp, uses: Uses, stack: _Stack) -> None:
    uses.noticed |= node.op not in ("count", "sum")  # of an empty aggregate: an error
    stack.append(node.stat)


def _histogram(node: ast.Histogram, uses: Uses, stack: _Stack) -> None:
    uses.noticed = True  # likewise, or the index is out of range
    stack.append(node.stat)


def _crement(node: ast.Crement, uses: Uses, stack: _Stack) -> None:
    _write(node.operand, uses, stack, also_read=True)


def _for(node: ast.For, _uses: Uses, stack: _Stack) -> None:
    for expr in (node.init, node.step):
        if expr is not None:
            stack.append(ast.ExprStmt(tok=expr.tok, expr=expr))
    if node.cond is not None:
        stack.append(node.cond)
    stack.append(node.body)


def _foreach(node: ast.Foreach, uses: Uses, stack: _Stack) -> None:
    for name in (*node.keys, node.value):
        symbol = None if name is None else _symbol(name)
        if symbol is not None:
            uses.writes.add(symbol)
    stack += [node.base, node.body]
    if node.limit is not None:
        stack.append(node.limit)
    stack += [index for index in node.slice or () if index is not None]


def _next(_node: ast.Next, uses: Uses, _stack: _Stack) -> None:
    uses.gives_way = True


def _delete(node: ast.Delete, uses: Uses, stack: _Stack) -> None:
    _write(node.target, uses, stack, also_read=False)


def _try_catch(node: ast.TryCatch, uses: Uses, stack: _Stack) -> None:
    symbol = None if node.var is None else _symbol(node.var)
    if symbol is not None:
        uses.writes.add(symbol)
    stack += [node.body, node.handler]


def _call(node: ast.Call, uses: Uses, stack: _Stack) -> None:
    uses.calls.update(f for f in node.functions if isinstance(f, FunctionSymbol))
    stack += node.args


def _print(node: ast.Print, uses: Uses, stack: _Stack) -> None:
    if node.name[0] != "s":
        uses.noticed = True
    stack += node.args


def _regex(node: ast.RegexMatch, uses: Uses, stack: _Stack) -> None:
    uses.noticed = True  # it leaves its groups for matched()
    stack.append(node.left)


def _intrinsic(node: CoreIntrinsic, uses: Uses, stack: _Stack) -> None:
    if not INTRINSICS[node.name].pure:
        uses.noticed = True
    stack += node.args


def _embedded(node: ast.EmbeddedCode | ast.EmbeddedExpr, uses: Uses, _stack: _Stack) -> None:
    from pystap.sema.embedded import global_uses, is_pure

    uses.noticed |= not is_pure(node)
    for symbol, writes in global_uses(node):
        (uses.writes if writes else uses.reads).add(symbol)


_RULES: Final[dict[type, Callable[[Any, Uses, _Stack], None]]] = {
    ast.Name: _read_name,
    ast.ExprStmt: _statement,
    ast.Assign: _assign,
    ast.Binary: _binary,
    ast.StatOp: _stat_op,
    ast.Histogram: _histogram,
    ast.Crement: _crement,
    ast.For: _for,
    ast.Foreach: _foreach,
    ast.Next: _next,
    ast.Delete: _delete,
    ast.TryCatch: _try_catch,
    ast.Call: _call,
    ast.Print: _print,
    ast.RegexMatch: _regex,
    ast.EmbeddedExpr: _embedded,
    ast.EmbeddedCode: _embedded,
    CoreIntrinsic: _intrinsic,
}
