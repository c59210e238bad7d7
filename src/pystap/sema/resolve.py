"""Name resolution: every variable and call gets its symbol, library files are pulled in."""

from __future__ import annotations

from collections.abc import Callable

from pystap.lang import ast
from pystap.lang.operators import PRINT_FAMILY
from pystap.lang.tokens import Token
from pystap.lang.visit import rewrite_children, walk
from pystap.sema.declare import declare_file, use_file
from pystap.sema.flow import check_flow
from pystap.sema.functions import (
    find_functions,
    is_contextual,
    known_arities,
    reach,
)
from pystap.sema.places import is_register
from pystap.sema.program import FunctionSymbol, GlobalSymbol, LocalSymbol
from pystap.sema.work import Body, Work, did_you_mean
from pystap.typing import Any

_Symbol = LocalSymbol | GlobalSymbol


def resolve_symbols(work: Work) -> None:
    """Resolve the queued bodies and all functions they reach."""
    while work.bodies:
        body = work.bodies.pop(0)
        check_flow(work, body.block, isinstance(body.owner, FunctionSymbol))
        Resolver(work, body).run()


def reach_user_functions(work: Work) -> None:
    """Queue the functions of scripts that nothing calls, so that their errors are found too."""
    for function in work.declared:
        if (
            function.user
            and function not in work.reached_set
            and not is_contextual(work, function)
        ):
            reach(work, function, None)


class Resolver:
    """Resolves the names of one body in place."""

    def __init__(self, work: Work, body: Body) -> None:
        self._work = work
        self._body = body
        self._locals = body.owner.locals
        self._elements: frozenset[LocalSymbol] = frozenset()  # values of the loops around
        self._unknown_arrays: set[str] = set()  # reported once each
        self._assigned: set[str] | None = None
        self._rules: dict[type, Callable[[Any], Any]] = {
            ast.Name: self._scalar,
            ast.Index: self._index,
            ast.Call: self._call,
            ast.Assign: self._assign,
            ast.Crement: self._crement,
            ast.Delete: self._delete,
            ast.ArrayIn: self._array_in,
            ast.Foreach: self._foreach,
            ast.StatOp: self._stat_op,
            ast.Histogram: self._stray_histogram,
            ast.Print: self._print,
            ast.TryCatch: self._try_catch,
            ast.Autocast: self._autocast,
            ast.EmbeddedExpr: self._embedded,
        }

    def run(self) -> None:
        """Resolve the whole body."""
        self.visit(self._body.block)

    def visit(self, node: Any) -> Any:
        """Resolve a node; the result takes its place."""
        rule = self._rules.get(node.__class__)
        if rule is not None:
            return rule(node)
        rewrite_children(node, self.visit)
        return node

    # --- variables ------------------------------------------------------------------------------

    def _lookup(self, node: ast.Name) -> _Symbol:
        """The symbol of a name; an unknown name becomes a new local."""
        if node.symbol is None:
            symbol = self._locals.get(node.name)
            node.symbol = symbol if symbol is not None else self._global_or_new(node)
        if not isinstance(node.symbol, (LocalSymbol, GlobalSymbol)):
            raise TypeError(node.symbol)
        return node.symbol

    def _global_or_new(self, node: ast.Name) -> _Symbol:
        found = find_global(self._work, node.name, node.tok)
        if found is not None:
            return found
        symbol = self._locals[node.name] = LocalSymbol(node.name, node.tok)
        return symbol

    def _array(self, node: ast.Name, arity: int, verb: str = "") -> GlobalSymbol | None:
        """The global array ``node`` names, used with ``arity`` keys; None after an error."""
        if node.name in self._unknown_arrays:
            return None
        if node.symbol is None and node.name not in self._locals:
            node.symbol = find_global(self._work, node.name, node.tok)
            if node.symbol is None:
                self._no_array(node, arity)
                return None
        symbol = self._lookup(node)
        if isinstance(symbol, LocalSymbol):
            self._work.error(
                f"array locals not supported, missing global declaration?{verb}", node.tok
            )
            return None
        use_arity(self._work, symbol, arity, node.tok)
        return symbol

    def _no_array(self, node: ast.Name, arity: int) -> None:
        known = [g.name for g in self._work.all_globals if g.user or not g.decl.private]
        self._work.error(
            f"unresolved arity-{arity} global array {node.name}, missing global declaration?",
            node.tok,
            hint=did_you_mean(node.name, known) or f"declare it with: global {node.name}",
        )
        self._unknown_arrays.add(node.name)

    def _scalar(self, node: ast.Name) -> ast.Expr:
        symbol = self._lookup(node)
        if isinstance(symbol, GlobalSymbol):
            use_arity(self._work, symbol, 0, node.tok)
        return node

    def _index(self, node: ast.Index) -> ast.Expr:
        if isinstance(node.base, ast.Histogram):
            self._histogram(node.base)
            self._indexes(node)
            if len(node.indexes) != 1:
                self._work.error("a histogram has one key, the bucket", node.tok)
            return node
        if self._is_scalar_local(node):
            return self._as_autocast(node)
        self._array(node.base, len(node.indexes))
        self._indexes(node)
        return node

    def _indexes(self, node: ast.Index) -> None:
        for position, index in enumerate(node.indexes):
            if index is None:
                self._work.error("wildcard not allowed in array index", node.tok)
                index = ast.Number(tok=node.tok, value=0)
            node.indexes[position] = self.visit(index)

    def _is_scalar_local(self, node: ast.Index) -> bool:
        """Whether ``x[i]`` looks into what the local ``x`` points to."""
        if not isinstance(node.base, ast.Name) or node.base.symbol is not None:
            return False
        name = node.base.name
        if len(node.indexes) != 1 or node.indexes[0] is None:
            return False
        if name not in self._locals and find_global(self._work, name, node.tok) is not None:
            return False
        if self._assigned is None:
            self._assigned = assigned_names(self._body.block)
        return name in self._assigned or self._is_parameter(name)

    def _is_parameter(self, name: str) -> bool:
        owner = self._body.owner
        return isinstance(owner, FunctionSymbol) and any(p.name == name for p in owner.params)

    def _as_autocast(self, node: ast.Index) -> ast.Expr:
        index = node.indexes[0]
        if index is None:
            raise TypeError(node)
        subscript = ast.Subscript(index=self.visit(index), tok=node.tok)
        operand = self.visit(node.base)
        return ast.Autocast(tok=node.tok, operand=operand, components=[subscript])

    def _autocast(self, node: ast.Autocast) -> ast.Expr:
        rewrite_children(node, self.visit)
        inner = node.operand
        if isinstance(inner, ast.Autocast):  # x[i]->m with a local x
            node.operand = inner.operand
            node.components[:0] = inner.components
        return node

    def _embedded(self, node: ast.EmbeddedExpr) -> ast.Expr:
        from pystap.sema.embedded import note_globals

        note_globals(self._work, node)
        return node

    # --- functions ------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> ast.Expr:
        rewrite_children(node, self.visit)
        if node.functions:
            found = [f for f in node.functions if isinstance(f, FunctionSymbol)]
        else:
            found = find_functions(self._work, node.name, len(node.args), node.tok)
        if not found:
            self._no_function(node)
        node.functions = [reach(self._work, f, self._body.context) for f in found]
        return node

    def _no_function(self, node: ast.Call) -> None:
        others = known_arities(self._work, node.name, node.tok)
        if others:
            counts = " or ".join(str(n) for n in sorted({len(f.params) for f in others}))
            self._work.error(
                f"arity mismatch found (function '{node.name}' takes {counts} args)",
                node.tok,
                others[0].decl.tok,
            )
            return
        known = [*sorted(PRINT_FAMILY), *self._work.functions, *self._work.tapset.index.functions]
        self._work.error("unresolved function", node.tok, hint=did_you_mean(node.name, known))

    # --- assignments ----------------------------------------------------------------------------

    def _assign(self, node: ast.Assign) -> ast.Expr:
        if node.op == "<<<":
            self._aggregate(node)
        else:
            node.target = self.visit(node.target)
            self._check_target(node.target)
        node.value = self.visit(node.value)
        return node

    def _aggregate(self, node: ast.Assign) -> None:
        target = node.target
        if isinstance(target, ast.Name):
            self._stat_scalar(target, reads=False)
        elif isinstance(target, ast.Index) and isinstance(target.base, ast.Name):
            self._array(target.base, len(target.indexes))
            self._indexes(target)
        else:
            self._work.error("expected an aggregate: a global variable or array element", node.tok)

    def _crement(self, node: ast.Crement) -> ast.Expr:
        node.operand = self.visit(node.operand)
        self._check_target(node.operand)
        return node

    def _check_target(self, target: ast.Expr) -> None:
        if isinstance(target, ast.Index) and isinstance(target.base, ast.Histogram):
            self._work.error("cannot write to a read-only histogram bucket", target.tok)
        elif isinstance(target, _VALUES) and not is_register(target):
            self._work.error("expecting symbol or array index expression", target.tok)

    def _delete(self, node: ast.Delete) -> ast.Stmt:
        target = node.target
        if isinstance(target, ast.Name):
            self._lookup(target)
        elif isinstance(target, ast.Index) and isinstance(target.base, ast.Name):
            self._array(target.base, len(target.indexes))
            target.indexes = [None if i is None else self.visit(i) for i in target.indexes]
        elif isinstance(target, ast.Index):
            self._work.error("cannot delete a histogram bucket", target.tok)
        else:
            self._work.error("expecting symbol or array index expression", target.tok)
        return node

    def _array_in(self, node: ast.ArrayIn) -> ast.Expr:
        node.indexes = [None if i is None else self.visit(i) for i in node.indexes]
        self._array(node.array, len(node.indexes))
        return node

    # --- aggregates -----------------------------------------------------------------------------

    def _stat_op(self, node: ast.StatOp) -> ast.Expr:
        node.stat = self._stat(node.stat, f"@{node.op}")
        return node

    def _histogram(self, node: ast.Histogram) -> ast.Expr:
        node.stat = self._stat(node.stat, f"@hist_{node.kind}")
        return node

    def _stat(self, stat: ast.Expr, operator: str) -> ast.Expr:
        """The aggregate an operator is applied to."""
        if isinstance(stat, ast.Name):
            self._stat_scalar(stat)
            return stat
        if isinstance(stat, ast.Index) and isinstance(stat.base, ast.Name):
            self._array(stat.base, len(stat.indexes))
            self._indexes(stat)
            return stat
        self._work.error(f"{operator} takes an aggregate: a variable or array element", stat.tok)
        return stat

    def _stat_scalar(self, node: ast.Name, reads: bool = True) -> None:
        symbol = self._lookup(node)
        if isinstance(symbol, LocalSymbol):
            if symbol in self._elements and reads:
                return
            self._work.error("stat locals not supported, missing global declaration?", node.tok)
        else:
            use_arity(self._work, symbol, 0, node.tok)

    def _stray_histogram(self, node: ast.Histogram) -> ast.Expr:
        self._work.error("a histogram can only be printed, indexed or iterated over", node.tok)
        return node

    def _print(self, node: ast.Print) -> ast.Expr:
        node.args = [
            self._histogram(arg) if isinstance(arg, ast.Histogram) else self.visit(arg)
            for arg in node.args
        ]
        return node

    # --- statements with variables of their own -------------------------------------------------

    def _foreach(self, node: ast.Foreach) -> ast.Stmt:
        node.slice = node.slice and [None if i is None else self.visit(i) for i in node.slice]
        if node.limit is not None:
            node.limit = self.visit(node.limit)
        if isinstance(node.base, ast.Name):
            self._foreach_array(node, node.base)
        else:
            self._histogram(node.base)
            if len(node.keys) != 1:
                self._work.error("a histogram has one key, the bucket", node.base.tok)
        for key in node.keys:
            self._loop_variable(key)
        value = None
        if node.value is not None:
            value = self._loop_variable(node.value)
        outer = self._elements
        if isinstance(value, LocalSymbol) and isinstance(node.base, ast.Name):
            self._elements = outer | {value}
        node.body = self.visit(node.body)
        self._elements = outer
        return node

    def _foreach_array(self, node: ast.Foreach, base: ast.Name) -> None:
        array = self._array(base, len(node.keys))
        if array is not None and node.slice is not None:
            use_arity(self._work, array, len(node.slice), base.tok)

    def _loop_variable(self, name: ast.Name) -> _Symbol:
        """A variable that a statement sets."""
        symbol = self._lookup(name)
        if isinstance(symbol, GlobalSymbol):
            use_arity(self._work, symbol, 0, name.tok)
        return symbol

    def _try_catch(self, node: ast.TryCatch) -> ast.Stmt:
        node.body = self.visit(node.body)
        if node.var is not None:
            self._loop_variable(node.var)
        node.handler = self.visit(node.handler)
        return node


# What can never be assigned to; other expressions may still become places.
_VALUES = (
    ast.Number,
    ast.String,
    ast.Call,
    ast.Unary,
    ast.Binary,
    ast.Compare,
    ast.RegexMatch,
    ast.ArrayIn,
    ast.Ternary,
    ast.Assign,
    ast.Crement,
    ast.StatOp,
    ast.Print,
    ast.EmbeddedExpr,
)


def find_global(work: Work, name: str, tok: Token) -> GlobalSymbol | None:
    """The global variable a name means where ``tok`` stands; may pull in a library file."""
    scope = work.scope_of(tok)
    found = None if scope is None else scope.globals.get(name)
    if found is None:
        found = work.globals.get(name)
    if found is None:
        for number in work.tapset.global_files(name):
            if not work.tapset.is_loaded(number):
                declare_file(work, work.tapset.load(number))
                found = work.globals.get(name)
                if found is not None:
                    break
    if found is not None:
        use_file(work, found.decl.tok)
    return found


def use_arity(work: Work, symbol: GlobalSymbol, arity: int, tok: Token) -> None:
    """Note that a global is used with ``arity`` keys (0: as a scalar)."""
    if symbol.keys is None:
        symbol.keys = ["unknown"] * arity
        symbol.key_site = tok
    elif len(symbol.keys) != arity and (symbol, arity) not in work.bad_arities:
        work.bad_arities.add((symbol, arity))
        known = len(symbol.keys)
        what = "a scalar" if known == 0 else f"an array with {known} key{'s'[: known > 1]}"
        work.error(
            f"inconsistent arity ({arity} vs {known})",
            tok,
            symbol.key_site,
            hint=f"'{symbol.name}' is {what} there",
        )


def assigned_names(block: ast.Stmt) -> set[str]:
    """Names a body assigns as scalars, loop and error variables included."""
    names: set[str] = set()
    for node in walk(block):
        target: object = None
        if isinstance(node, ast.Assign):
            target = node.target
        elif isinstance(node, ast.TryCatch):
            target = node.var
        elif isinstance(node, ast.Foreach):
            names |= {key.name for key in node.keys}
            target = node.value
        if isinstance(target, ast.Name):
            names.add(target.name)
    return names
