"""What nobody would miss goes: unused functions and variables, assignments to variables never
read, statements without effect, handlers that do nothing."""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.visit import rewrite_children
from pystap.probes.attach import counter_of
from pystap.sema.conditions import condition_globals
from pystap.sema.effects import CallEffects, Symbol, may_divide_by_zero, uses_of
from pystap.sema.fold import null
from pystap.sema.program import DerivedProbe, FunctionSymbol, GlobalSymbol, LocalSymbol
from pystap.sema.work import Work, did_you_mean, is_user
from pystap.typing import Any

_MOST_ROUNDS = 20


class Live:
    """What the probes of the program reach, and what it does with its variables."""

    def __init__(self, work: Work) -> None:
        self.effects = CallEffects()
        self.probes = {probe: uses_of(probe.body) for probe in work.probes}
        roots = [f for uses in self.probes.values() for f in uses.calls]
        self.functions = self.effects.reachable(roots)
        self.called = frozenset(self.functions)
        if work.options.unoptimized:
            self.functions = list(work.reached)
        self.reads: set[Symbol] = set()
        self.writes: set[Symbol] = set()
        for uses in (*self.probes.values(), *map(self.effects.own, self.functions)):
            self.reads |= uses.reads
            self.writes |= uses.writes
        for probe in work.probes:
            self.reads.update(condition_globals(probe))

    def owners(self, work: Work) -> list[DerivedProbe | FunctionSymbol]:
        """Everything with a body."""
        return [*work.probes, *self.functions]


def elide(work: Work) -> Live:
    """Drop everything useless from the bodies (nothing with ``-u``); what is left alive.

    Variables that are read and never assigned draw a warning.
    """
    live = Live(work)
    _warn_never_assigned(work, live)
    if work.options.unoptimized:
        return live
    for _ in range(_MOST_ROUNDS):
        eliders = [_Elider(work, live, owner) for owner in live.owners(work)]
        changed = [elider.run() for elider in eliders]
        if not any(changed):
            break
        live = Live(work)
    _drop_empty_probes(work)
    return Live(work) if len(live.probes) != len(work.probes) else live


def is_displayed(work: Work, symbol: GlobalSymbol) -> bool:
    """Whether a global would be printed at the end when nothing reads it."""
    return symbol.user and work.options.global_var_display


def note_variables(work: Work, live: Live) -> list[GlobalSymbol]:
    """Mark what is read and written; the globals the program needs, in order of declaration."""
    needed = []
    for symbol in work.all_globals:
        symbol.read = symbol in live.reads
        symbol.written = symbol.written or symbol in live.writes
        wanted = work.options.unoptimized or symbol.name in work.options.global_inits
        if symbol.read or symbol in live.writes or (symbol.user and wanted):
            needed.append(symbol)
    for owner in live.owners(work):
        for local in owner.locals.values():
            local.read = local in live.reads
            local.written = local in live.writes
    return needed


class _Elider:
    """Drops from one body."""

    def __init__(self, work: Work, live: Live, owner: DerivedProbe | FunctionSymbol) -> None:
        self._work = work
        self._live = live
        self._owner = owner
        self._changed = False

    def run(self) -> bool:
        """Rewrite the body; whether anything changed."""
        body = self._owner.body
        if body is not None:
            self._block(body)
            for name in [n for n, s in self._owner.locals.items() if self._is_unused(s)]:
                del self._owner.locals[name]
        return self._changed

    def _is_unused(self, symbol: LocalSymbol) -> bool:
        owner = self._owner
        if isinstance(owner, FunctionSymbol) and symbol in owner.params:
            return False
        return symbol not in self._live.reads and symbol not in self._live.writes

    def _is_dead(self, target: ast.Expr) -> bool:
        """Whether nobody would see what is stored in a variable."""
        base = target.base if isinstance(target, ast.Index) else target
        symbol = base.symbol if isinstance(base, ast.Name) else None
        if not isinstance(symbol, (LocalSymbol, GlobalSymbol)) or symbol in self._live.reads:
            return False
        return isinstance(symbol, LocalSymbol) or not is_displayed(self._work, symbol)

    def _is_noticed(self, node: ast.Node) -> bool:
        return self._live.effects.is_noticed(node)

    # --- statements -----------------------------------------------------------------------------

    def _block(self, block: ast.Block) -> None:
        kept = []
        for stmt in block.body:
            made = self._stmt(stmt)
            if isinstance(made, ast.Null) or (isinstance(made, ast.Block) and not made.body):
                self._changed |= not isinstance(stmt, ast.Null)
            else:
                kept.append(made)
        block.body[:] = kept

    def _stmt(self, stmt: ast.Stmt) -> ast.Stmt:
        made = self._reduced(stmt)
        if made is not stmt:
            self._changed = True
        return made

    def _reduced(self, stmt: ast.Stmt) -> ast.Stmt:
        if isinstance(stmt, ast.Block):
            self._block(stmt)
            return stmt
        if isinstance(stmt, ast.ExprStmt):
            return self._expr_stmt(stmt)
        if isinstance(stmt, ast.If):
            return self._if(stmt)
        if isinstance(stmt, ast.Delete):
            return null(stmt) if self._drops(stmt.target) else stmt
        if isinstance(stmt, (ast.While, ast.For, ast.Foreach, ast.TryCatch)):
            return self._compound(stmt)
        rewrite_children(stmt, self._value)
        return stmt

    def _if(self, stmt: ast.If) -> ast.Stmt:
        stmt.cond = self._value(stmt.cond)
        stmt.then = self._stmt(stmt.then)
        if stmt.orelse is not None:
            stmt.orelse = self._stmt(stmt.orelse)
            if _is_empty(stmt.orelse):
                stmt.orelse = None
        if stmt.orelse is None and _is_empty(stmt.then):
            return self._for_effect(stmt.cond)
        return stmt

    def _compound(self, stmt: ast.While | ast.For | ast.Foreach | ast.TryCatch) -> ast.Stmt:
        if isinstance(stmt, ast.TryCatch):
            self._block(stmt.body)
            self._block(stmt.handler)
            return stmt if stmt.body.body else null(stmt)
        if isinstance(stmt, ast.For):
            stmt.init = None if stmt.init is None else self._side(stmt.init)
            stmt.step = None if stmt.step is None else self._side(stmt.step)
        if isinstance(stmt, ast.Foreach):
            stmt.slice = stmt.slice and [i and self._value(i) for i in stmt.slice]
            stmt.limit = stmt.limit and self._value(stmt.limit)
        elif stmt.cond is not None:
            stmt.cond = self._value(stmt.cond)
        stmt.body = self._stmt(stmt.body)
        if isinstance(stmt, ast.Foreach) and _is_empty(stmt.body) and not self._visible(stmt):
            return null(stmt)
        return stmt

    def _visible(self, stmt: ast.Foreach) -> bool:
        """Whether an empty iteration can be noticed: it sets variables that are read."""
        uses = uses_of(stmt)
        calls = any(self._live.effects.closed(f).noticed for f in uses.calls)
        return calls or uses.noticed or bool(uses.writes & self._live.reads)

    def _expr_stmt(self, stmt: ast.ExprStmt) -> ast.Stmt:
        stmt.expr, before = self._effect(stmt.expr), stmt.expr
        if not self._is_noticed(ast.ExprStmt(tok=stmt.tok, expr=stmt.expr)):
            return null(stmt)
        self._changed |= stmt.expr is not before
        return stmt

    def _for_effect(self, expr: ast.Expr) -> ast.Stmt:
        if self._is_noticed(expr):
            return ast.ExprStmt(tok=expr.tok, expr=expr)
        return null(expr)

    def _side(self, expr: ast.Expr) -> ast.Expr | None:
        """An init or step expression, None when it has become useless."""
        made = self._effect(expr)
        if self._is_noticed(ast.ExprStmt(tok=expr.tok, expr=made)):
            return made
        self._changed = True
        return None

    # --- expressions ----------------------------------------------------------------------------

    def _effect(self, expr: ast.Expr) -> ast.Expr:
        """An expression whose value nobody wants."""
        if isinstance(expr, ast.Assign) and self._drops(expr.target, expr):
            return self._effect(expr.value)
        if isinstance(expr, ast.Crement) and self._drops(expr.operand):
            return ast.Number(tok=expr.tok, value=0)
        rewrite_children(expr, self._value)
        return expr

    def _value(self, node: Any) -> Any:
        """Any part whose value is used: a dead assignment leaves its right side."""
        rewrite_children(node, self._value)
        if isinstance(node, ast.Assign) and node.op == "=" and self._drops(node.target):
            self._changed = True
            return node.value
        return node

    def _drops(self, target: ast.Expr, assign: ast.Assign | None = None) -> bool:
        """Whether storing to a target can go: nobody reads it, and neither its keys nor the
        operation of ``assign`` do anything."""
        if not self._is_dead(target) or (assign is not None and may_divide_by_zero(assign)):
            return False
        indexes = target.indexes if isinstance(target, ast.Index) else []
        return not any(index is not None and self._is_noticed(index) for index in indexes)


def _is_empty(stmt: ast.Stmt) -> bool:
    return isinstance(stmt, ast.Null) or (isinstance(stmt, ast.Block) and not stmt.body)


def _is_idle(stmt: ast.Stmt) -> bool:
    """Whether a statement does nothing, or nothing but leave the handler."""
    if isinstance(stmt, ast.Block):
        return all(map(_is_idle, stmt.body))
    return isinstance(stmt, (ast.Null, ast.Next))


def _drop_empty_probes(work: Work) -> None:
    """Probes without effect go; scripts are warned about theirs."""
    kept = []
    for probe in work.probes:
        if not _is_idle(probe.body) or counter_of(probe.match.points[0][1]):
            kept.append(probe)
        elif is_user(probe.definition.tok):
            work.diags.warn(f"side-effect-free probe '{probe.script_point}'", probe.definition.tok)
    work.probes[:] = kept


def _warn_never_assigned(work: Work, live: Live) -> None:
    for owner in live.owners(work):
        given = owner.params if isinstance(owner, FunctionSymbol) else []
        for symbol in owner.locals.values():
            if symbol in live.reads and symbol not in live.writes and symbol not in given:
                names = [n for n in owner.locals if n != symbol.name] + list(work.globals)
                work.diags.warn(
                    f"never-assigned local variable '{symbol.name}'",
                    symbol.tok,
                    hint=did_you_mean(symbol.name, names),
                )
    for variable in work.all_globals:
        if (
            variable.user
            and variable in live.reads
            and variable not in live.writes
            and not variable.written
            and variable.name not in work.options.global_inits
        ):
            work.diags.warn(f"never-assigned global variable '{variable.name}'", variable.decl.tok)
