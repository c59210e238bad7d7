"""Type inference over the whole program.

Every variable, parameter and function result has a cell; one walk over the code makes cells
equal as operators, assignments and calls demand.  A clash is reported with both places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pystap.ir.intrinsics import INTRINSICS
from pystap.ir.types import Ty
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.core import CoreContext, CoreIntrinsic, CoreLoad
from pystap.sema.cells import LONG, STATS, STRING, Cell, find, unify
from pystap.sema.conditions import distinct_conditions
from pystap.sema.elide import Live
from pystap.sema.prints import argument_types
from pystap.sema.program import DerivedProbe, FunctionSymbol, GlobalSymbol, LocalSymbol
from pystap.sema.work import Work
from pystap.typing import Any, Final

_OF_TYPE: Final = {"long": LONG, "string": STRING, "stats": STATS}
_OF_TY: Final = {Ty.LONG: LONG, Ty.STR: STRING}
_STRING_MARK: Final = "/* string */"


def infer_types(work: Work, live: Live) -> Inference:
    """Walk all live code; call :meth:`Inference.finish` once everything was added.

    Functions come first: so what a handler does with them is what is wrong in a clash.
    """
    inference = Inference(work)
    for function in live.functions:
        inference.add(function, called=function in live.called)
    for probe in work.probes:
        inference.add(probe)
    for condition in distinct_conditions(work):
        inference.condition(condition)
    return inference


class Inference:
    """Cells of all symbols, and the expressions whose type they decide."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._values: dict[object, Cell] = {}  # of variables, and results of functions
        self._keys: dict[GlobalSymbol, list[Cell]] = {}
        self._pending: list[tuple[ast.Expr, Cell]] = []
        self._assigned: list[tuple[ast.Expr, Cell]] = []
        self._printed: set[int] = set()
        self._clashed: set[int] = set()  # expressions reported already
        self._returning: set[FunctionSymbol] = set()  # functions that give a value
        self._no_stats: set[Cell] = set()  # reported as no aggregates
        self._called = True
        self._owner: DerivedProbe | FunctionSymbol | None = None
        self._owners: list[DerivedProbe | FunctionSymbol] = []
        for symbol in work.all_globals:
            init = symbol.decl.init
            if init is not None:
                cell = self._values[symbol] = Cell()
                cell.type = "long" if isinstance(init, ast.Number) else "string"
                cell.tok = symbol.decl.tok

    # --- the walk -------------------------------------------------------------------------------

    def add(self, owner: DerivedProbe | FunctionSymbol, called: bool = True) -> None:
        """Take in one handler or function; open types of one never called are no errors."""
        self._owner = owner
        self._called = called
        self._owners.append(owner)
        if isinstance(owner, FunctionSymbol):
            self._result(owner)
        if owner.body is not None:
            self._stmt(owner.body)

    def condition(self, expr: ast.Expr) -> None:
        """Take in an arming condition: a number."""
        self._want(expr, LONG)

    def type_of(self, symbol: LocalSymbol | GlobalSymbol | FunctionSymbol) -> ast.ValueType:
        """What is known of a symbol so far."""
        cell = self._values.get(symbol)
        return "unknown" if cell is None else find(cell).type

    def set_type(self, symbol: GlobalSymbol, value_type: ast.ValueType) -> None:
        """Decide the type of a global that the code leaves open."""
        unify(self._value(symbol), _OF_TYPE[value_type], symbol.decl.tok)

    def keys_of(self, symbol: GlobalSymbol) -> list[ast.ValueType]:
        """Key types of an array so far."""
        return [find(cell).type for cell in self._key_cells(symbol)]

    # --- cells ----------------------------------------------------------------------------------

    def _value(self, symbol: object) -> Cell:
        cell = self._values.get(symbol)
        if cell is None:
            cell = self._values[symbol] = Cell()
            if isinstance(symbol, LocalSymbol) and symbol.type != "unknown":
                cell.type, cell.tok = symbol.type, symbol.tok
        return cell

    def _result(self, function: FunctionSymbol) -> Cell:
        cell = self._values.get(function)
        if cell is None:
            cell = self._values[function] = Cell()
            if function.type != "unknown":
                cell.type, cell.tok = function.type, function.decl.tok
        return cell

    def _key_cells(self, symbol: GlobalSymbol) -> list[Cell]:
        cells = self._keys.get(symbol)
        if cells is None:
            cells = self._keys[symbol] = [Cell() for _ in symbol.keys or ()]
        return cells

    def _unify(self, a: Cell, b: Cell, tok: Token) -> bool:
        """Make cells equal; ``a`` is what stands at ``tok``.  False when they clash."""
        clash = unify(a, b, tok)
        if clash is None:
            return True
        here, there = clash
        first = there.tok if there.tok is not None else here.tok
        self._work.error(
            f"type mismatch ({here.type} vs. {there.type})",
            tok,
            first if first is not tok else None,
        )
        return False

    def _want(self, expr: ast.Expr, cell: Cell) -> None:
        """An expression that must have the type of ``cell``."""
        if not self._unify(self._expr(expr), cell, expr.tok):
            self._clashed.add(id(expr))

    def _known(self, expr: ast.Expr, cell: Cell) -> Cell:
        """Set the type of an expression now, or remember it for later."""
        found = find(cell)
        expr.type = found.type
        if found.type in ("unknown", "stats"):
            (self._pending if self._called else self._assigned).append((expr, found))
        return found

    # --- statements -----------------------------------------------------------------------------

    def _stmt(self, stmt: ast.Stmt) -> None:
        _STATEMENTS[stmt.__class__](self, stmt)

    def _block(self, stmt: ast.Block) -> None:
        for inner in stmt.body:
            self._stmt(inner)

    def _nothing(self, stmt: ast.Stmt) -> None:
        pass

    def _expr_stmt(self, stmt: ast.ExprStmt) -> None:
        self._dropped(stmt.expr)

    def _dropped(self, expr: ast.Expr) -> None:
        """An expression whose value nobody wants may well have none."""
        if isinstance(expr, ast.Call):
            expr.type = "unknown"
            self._call_cell(expr)
        else:
            self._expr(expr)

    def _if(self, stmt: ast.If) -> None:
        self._want(stmt.cond, LONG)
        self._stmt(stmt.then)
        if stmt.orelse is not None:
            self._stmt(stmt.orelse)

    def _while(self, stmt: ast.While) -> None:
        self._want(stmt.cond, LONG)
        self._stmt(stmt.body)

    def _for(self, stmt: ast.For) -> None:
        if stmt.init is not None:
            self._dropped(stmt.init)
        if stmt.cond is not None:
            self._want(stmt.cond, LONG)
        if stmt.step is not None:
            self._dropped(stmt.step)
        self._stmt(stmt.body)

    def _foreach(self, stmt: ast.Foreach) -> None:
        if isinstance(stmt.base, ast.Histogram):
            self._histogram(stmt.base)
            self._unify(self._variable(stmt.keys[0]), LONG, stmt.keys[0].tok)
            if stmt.value is not None:
                self._unify(self._variable(stmt.value), LONG, stmt.value.tok)
        elif isinstance(stmt.base.symbol, GlobalSymbol):
            symbol = stmt.base.symbol
            for name, cell in zip(stmt.keys, self._key_cells(symbol)):
                self._unify(self._variable(name), cell, name.tok)
            self._indexes(symbol, stmt.slice or ())
            if stmt.value is not None:
                self._unify(self._variable(stmt.value), self._value(symbol), stmt.value.tok)
            if stmt.sort_op is not None:
                self._unify(self._value(symbol), STATS, stmt.base.tok)
        if stmt.limit is not None:
            self._want(stmt.limit, LONG)
        self._stmt(stmt.body)

    def _variable(self, name: ast.Name) -> Cell:
        """The cell of a variable that a statement sets."""
        return self._value(name.symbol)

    def _return(self, stmt: ast.Return) -> None:
        if stmt.value is not None and isinstance(self._owner, FunctionSymbol):
            self._returning.add(self._owner)
            self._want(stmt.value, self._result(self._owner))

    def _delete(self, stmt: ast.Delete) -> None:
        target = stmt.target
        if isinstance(target, ast.Index) and isinstance(target.base, ast.Name):
            self._element(target.base, target.indexes)

    def _try_catch(self, stmt: ast.TryCatch) -> None:
        self._stmt(stmt.body)
        if stmt.var is not None:
            self._unify(self._variable(stmt.var), STRING, stmt.var.tok)
        self._stmt(stmt.handler)

    # --- expressions ----------------------------------------------------------------------------

    def _expr(self, expr: ast.Expr) -> Cell:
        """The cell of an expression whose value is used."""
        return _EXPRESSIONS[expr.__class__](self, expr)

    def _number(self, expr: ast.Expr) -> Cell:
        expr.type = "long"
        return LONG

    def _string(self, expr: ast.Expr) -> Cell:
        expr.type = "string"
        return STRING

    def _name(self, expr: ast.Name) -> Cell:
        return self._known(expr, self._value(expr.symbol))

    def _index(self, expr: ast.Index) -> Cell:
        if isinstance(expr.base, ast.Histogram):
            self._histogram(expr.base)
            for index in expr.indexes:
                if index is not None:
                    self._want(index, LONG)
            return self._number(expr)
        return self._known(expr, self._element(expr.base, expr.indexes))

    def _element(self, base: ast.Name, indexes: Sequence[ast.Expr | None]) -> Cell:
        """The cell of the elements of an array, its keys checked."""
        symbol = base.symbol
        if not isinstance(symbol, GlobalSymbol):
            raise TypeError(symbol)
        self._indexes(symbol, indexes)
        return self._value(symbol)

    def _indexes(self, symbol: GlobalSymbol, indexes: Sequence[ast.Expr | None]) -> None:
        for index, cell in zip(indexes, self._key_cells(symbol)):
            if index is not None:
                self._want(index, cell)

    def _call(self, expr: ast.Call) -> Cell:
        return self._known(expr, self._call_cell(expr))

    def _call_cell(self, expr: ast.Call) -> Cell:
        result: Cell | None = None
        functions = [f for f in expr.functions if isinstance(f, FunctionSymbol)]
        args = [self._expr(arg) for arg in expr.args]
        for function in functions:
            for arg, cell, param in zip(expr.args, args, function.params):
                self._unify(cell, self._value(param), arg.tok)
            own = self._result(function)
            if result is not None:
                self._unify(own, result, function.decl.tok)
            result = own
        if result is None:
            raise TypeError(expr)
        return result

    def _unary(self, expr: ast.Unary) -> Cell:
        self._want(expr.operand, LONG)
        return self._number(expr)

    def _crement(self, expr: ast.Crement) -> Cell:
        self._want(expr.operand, LONG)
        return self._number(expr)

    def _binary(self, expr: ast.Binary) -> Cell:
        operands = STRING if expr.op == "." else LONG
        self._want(expr.left, operands)
        self._want(expr.right, operands)
        return self._string(expr) if expr.op == "." else self._number(expr)

    def _compare(self, expr: ast.Compare) -> Cell:
        left = self._expr(expr.left)
        self._want(expr.right, left)
        return self._number(expr)

    def _regex(self, expr: ast.RegexMatch) -> Cell:
        self._want(expr.left, STRING)
        expr.pattern.type = "string"
        return self._number(expr)

    def _array_in(self, expr: ast.ArrayIn) -> Cell:
        if isinstance(expr.array.symbol, GlobalSymbol):
            self._indexes(expr.array.symbol, expr.indexes)
        return self._number(expr)

    def _ternary(self, expr: ast.Ternary) -> Cell:
        self._want(expr.cond, LONG)
        yes = self._expr(expr.yes)
        self._want(expr.no, yes)
        return self._known(expr, yes)

    def _assign(self, expr: ast.Assign) -> Cell:
        if expr.op == "<<<":
            self._aggregate(expr.target)
            self._want(expr.value, LONG)
            return self._number(expr)
        if expr.op == "=":
            target = self._target(expr.target)
            self._want(expr.value, target)
            return self._known(expr, target)
        cell = STRING if expr.op == ".=" else LONG
        self._unify(self._target(expr.target), cell, expr.target.tok)
        self._want(expr.value, cell)
        expr.type = cell.type
        return cell

    def _target(self, expr: ast.Expr) -> Cell:
        """The cell of a place that is assigned: nothing there is read."""
        if isinstance(expr, ast.Name):
            return self._placed(expr, self._value(expr.symbol))
        if isinstance(expr, ast.Index) and isinstance(expr.base, ast.Name):
            return self._placed(expr, self._element(expr.base, expr.indexes))
        return self._expr(expr)

    def _placed(self, expr: ast.Expr, cell: Cell) -> Cell:
        """Like :meth:`_known` for a place: an open type of its own is no error."""
        self._assigned.append((expr, cell))
        return cell

    def _aggregate(self, expr: ast.Expr) -> None:
        """A place that must be an aggregate."""
        expr.type = "stats"
        if isinstance(expr, ast.Name):
            cell = self._value(expr.symbol)
        elif isinstance(expr, ast.Index) and isinstance(expr.base, ast.Name):
            cell = self._element(expr.base, expr.indexes)
        else:
            return
        found = find(cell)
        if found not in self._no_stats and not self._unify(found, STATS, expr.tok):
            self._no_stats.add(found)

    def _stat_op(self, expr: ast.StatOp) -> Cell:
        self._aggregate(expr.stat)
        return self._number(expr)

    def _histogram(self, expr: ast.Histogram) -> Cell:
        self._aggregate(expr.stat)
        return self._number(expr)

    def _print(self, expr: ast.Print) -> Cell:
        wanted = argument_types(expr)
        for position, arg in enumerate(expr.args):
            if isinstance(arg, ast.Histogram):
                self._histogram(arg)
            elif position < len(wanted):
                self._want(arg, _OF_TYPE[wanted[position]])
            else:
                self._expr(arg)
            self._printed.add(id(arg))
        return self._string(expr) if expr.name[0] == "s" else self._number(expr)

    def _embedded(self, expr: ast.EmbeddedExpr) -> Cell:
        return self._string(expr) if _STRING_MARK in expr.code else self._number(expr)

    def _load(self, expr: CoreLoad) -> Cell:
        self._want(expr.addr, LONG)
        return self._number(expr)

    def _intrinsic(self, expr: CoreIntrinsic) -> Cell:
        info = INTRINSICS[expr.name]
        for arg, ty in zip(expr.args, info.args):
            self._want(arg, _OF_TY[ty])
        return self._string(expr) if info.result is Ty.STR else self._number(expr)

    # --- the end --------------------------------------------------------------------------------

    def finish(self) -> None:
        """Write the types into symbols and expressions; report what stays open."""
        self._report_open()
        for expr, cell in (*self._pending, *self._assigned):
            expr.type = _decided(cell)
        for symbol in self._work.all_globals:
            symbol.type = _decided(self._value(symbol))
            symbol.keys = [_decided(cell) for cell in self._key_cells(symbol)]
        for owner in self._owners:
            for local in owner.locals.values():
                local.type = _decided(self._value(local))
            if isinstance(owner, FunctionSymbol):
                cell = find(self._result(owner))
                owner.type = _decided(cell) if owner in self._returning else cell.type

    def _report_open(self) -> None:
        """Values of unknown type, and aggregates used as values: one report a symbol."""
        reported: set[Cell] = set()
        for expr, pending in self._pending:
            cell = find(pending)
            if cell.type not in ("unknown", "stats") or cell in reported:
                continue
            if id(expr) in self._clashed:
                continue
            reported.add(cell)
            if cell.type == "unknown":
                hint = None
                if isinstance(expr, ast.Call):
                    hint = _no_result_hint(expr)
                self._work.error("unresolved type", expr.tok, hint=hint)
            elif id(expr) in self._printed:
                self._work.error("cannot print a raw stats object", expr.tok, hint=_STATS_HINT)
            else:
                self._work.error("an aggregate has no value", expr.tok, hint=_STATS_HINT)


_STATS_HINT: Final = "use @count, @sum, @min, @max, @avg, @variance or print a histogram of it"


def _no_result_hint(call: ast.Call) -> str:
    first = call.functions[0]
    if isinstance(first, FunctionSymbol) and isinstance(first.decl.body, ast.EmbeddedCode):
        return f"declare what it returns: function {call.name}:long (...) or :string"
    return f"function '{call.name}' never returns a value"


def _decided(cell: Cell) -> ast.ValueType:
    """The type of a cell, a number when nothing tells."""
    found = find(cell).type
    return "long" if found == "unknown" else found


_STATEMENTS: Final[dict[type, Callable[[Any, Any], None]]] = {
    ast.Block: Inference._block,
    ast.ExprStmt: Inference._expr_stmt,
    ast.Null: Inference._nothing,
    ast.If: Inference._if,
    ast.While: Inference._while,
    ast.For: Inference._for,
    ast.Foreach: Inference._foreach,
    ast.Return: Inference._return,
    ast.Break: Inference._nothing,
    ast.Continue: Inference._nothing,
    ast.Next: Inference._nothing,
    ast.Delete: Inference._delete,
    ast.TryCatch: Inference._try_catch,
    ast.EmbeddedCode: Inference._nothing,
}

_EXPRESSIONS: Final[dict[type, Callable[[Any, Any], Cell]]] = {
    ast.Number: Inference._number,
    ast.String: Inference._string,
    ast.Name: Inference._name,
    ast.Index: Inference._index,
    ast.Call: Inference._call,
    ast.EmbeddedExpr: Inference._embedded,
    ast.Unary: Inference._unary,
    ast.Crement: Inference._crement,
    ast.Binary: Inference._binary,
    ast.Compare: Inference._compare,
    ast.RegexMatch: Inference._regex,
    ast.ArrayIn: Inference._array_in,
    ast.Ternary: Inference._ternary,
    ast.Assign: Inference._assign,
    ast.StatOp: Inference._stat_op,
    ast.Histogram: Inference._histogram,
    ast.Print: Inference._print,
    CoreContext: Inference._number,
    CoreLoad: Inference._load,
    CoreIntrinsic: Inference._intrinsic,
}
