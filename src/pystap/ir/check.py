"""Consistency of a module: what every runtime may rely on.

Returns messages instead of raising, so that tests show everything wrong at once.
"""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.intrinsics import INTRINSICS
from pystap.ir.module import Function, Handler, Module
from pystap.ir.types import Global, LocalVar, Ty
from pystap.ir.walk import Node, blocks, operands, reachable, walk_body
from pystap.output.formats import STAR, Directive
from pystap.typing import Final

_SIZES: Final = (1, 2, 4, 8)


def check(module: Module, finished: bool = True) -> list[str]:
    """Everything wrong with a module: types, names, loops, keys, positions, bounds; and, if it
    is ``finished``, what the last passes see to: operand order, recursion marks and locks."""
    from pystap.ir.checklocks import check_locks
    from pystap.ir.order import unordered

    found: list[str] = []
    for i, g in enumerate(module.globals):
        found += [f"global {g.name}: {m}" for m in _global(g, i)]
    for function in module.functions:
        found += _Body(module, function).run()
    for i, handler in enumerate(module.handlers):
        if handler.index != i:
            found.append(f"handler {handler.index}: stands at {i}")
        found += _Body(module, handler).run()
    found += _probes(module)
    if found or not finished:
        return found  # what follows relies on the rest
    found = [f"unsafe operand: {type(e).__name__}" for e in unordered(module)]
    found += [
        f"function {f.name}: recursive is {f.recursive}"
        for f in module.functions
        if f.recursive != (f in reachable(f.body))
    ]
    return found or check_locks(module)


def _global(g: Global, index: int) -> list[str]:
    found = []
    if g.index != index:
        found.append(f"index {g.index} at {index}")
    if (g.kind == "array") != bool(g.keys):
        found.append("keys and kind disagree")
    if (g.stats is not None) != (g.value is Ty.VOID):
        found.append("statistics and value type disagree")
    if len(g.key_bounds) != len(g.keys):
        found.append("key bounds and keys differ in number")
    if any((k is Ty.STR) != (b > 0) for k, b in zip(g.keys, g.key_bounds)):
        found.append("key bounds and key types disagree")
    if (g.value is Ty.STR) != (g.bound > 0):
        found.append("bound and type disagree")
    if g.kind == "array" and g.capacity < 1:
        found.append("no capacity")
    if isinstance(g.init, str) and len(g.init) >= g.bound:
        found.append("initial value longer than bound")
    return found


def _probes(module: Module) -> list[str]:
    found = []
    for probe in module.probes:
        if not 0 <= probe.handler < len(module.handlers):
            found.append(f"probe {probe.point}: no handler {probe.handler}")
        if not -1 <= probe.condition < len(module.conditions):
            found.append(f"probe {probe.point}: no condition {probe.condition}")
    for i, condition in enumerate(module.conditions):
        for node in walk_body([condition]):
            if isinstance(node, (ops.Seq, ops.Call, ops.Local, ops.Intrinsic)):
                found.append(f"condition {i}: {type(node).__name__}")
    return found


class _Body:
    """Checks one function or handler."""

    def __init__(self, module: Module, owner: Function | Handler) -> None:
        self.module = module
        self.owner = owner
        self.function = owner if isinstance(owner, Function) else None
        self.where = (
            f"function {owner.name}" if isinstance(owner, Function) else f"handler {owner.index}"
        )
        self.found: list[str] = []
        self.globals = set(module.globals)
        self.functions = set(module.functions)
        self.locals = set(owner.locals)
        self.seen: set[int] = set()

    def run(self) -> list[str]:
        """All messages."""
        for i, var in enumerate(self.owner.locals):
            self.want(var.index == i, f"local {var.name} has index {var.index} at {i}")
            fits = (var.ty is Ty.STR) == (0 < var.bound <= self.module.limits.maxstringlen)
            self.want(fits, f"local {var.name}: bound {var.bound}")
        if self.function:
            params = self.function.params
            self.want(self.owner.locals[: len(params)] == params, "params are not first locals")
            self.want((self.function.result is Ty.STR) == (self.function.bound > 0), "bound")
        self.block(self.owner.body, False)
        return self.found

    def want(self, holds: bool, message: str) -> None:
        """Note a message unless it holds."""
        if not holds:
            self.found.append(f"{self.where}: {message}")

    def block(self, body: list[ops.Stmt], in_loop: bool) -> None:
        """Statements of one list."""
        for stmt in body:
            self.stmt(stmt, in_loop)

    def stmt(self, stmt: ops.Stmt, in_loop: bool) -> None:
        """One statement and what is below it."""
        self.once(stmt)
        for operand in operands(stmt):
            self.expr(operand, in_loop)
        loops = isinstance(stmt, (ops.Loop, ops.Foreach, ops.ForeachHist))
        for part in blocks(stmt):
            inside = in_loop or loops
            if isinstance(stmt, ops.Loop) and part is stmt.step:
                inside = False
            self.block(part, inside)
        if isinstance(stmt, (ops.Break, ops.Continue)):
            self.want(in_loop, f"{type(stmt).__name__} outside a loop")
        self.stmt_types(stmt)

    def expr(self, expr: ops.Expr, in_loop: bool) -> None:
        """One expression and what is below it."""
        self.once(expr)
        if isinstance(expr, ops.Seq):
            self.block(expr.body, in_loop)
        for operand in operands(expr):
            self.expr(operand, in_loop)
        self.expr_types(expr)

    def once(self, node: Node) -> None:
        """A node that stands in two places would be rewritten twice."""
        self.want(id(node) not in self.seen, f"{type(node).__name__} stands in two places")
        self.seen.add(id(node))

    # --- types ----------------------------------------------------------------------------------

    def type(self, expr: ops.Expr, ty: Ty, what: str) -> None:
        """An operand has a type."""
        got = ops.type_of(expr)
        self.want(got is ty, f"{what} is {got.value}, not {ty.value}")

    def longs(self, node: Node) -> None:
        """All operands are numbers."""
        for operand in operands(node):
            self.type(operand, Ty.LONG, f"operand of {type(node).__name__}")

    def strings(self, node: Node) -> None:
        """All operands are strings."""
        for operand in operands(node):
            self.type(operand, Ty.STR, f"operand of {type(node).__name__}")

    def keys(self, g: Global, keys: list[ops.Expr | None] | list[ops.Expr], whole: bool) -> None:
        """Key parts fit the array (``whole``: or the scalar has none)."""
        self.want(g in self.globals, f"global {g.name} is not of this module")
        self.want(len(keys) == len(g.keys), f"{g.name}: {len(keys)} keys")
        self.want(whole or bool(keys), f"{g.name}: element without keys")
        for key, ty in zip(keys, g.keys):
            if key is not None:
                self.type(key, ty, f"key of {g.name}")

    def stat(self, g: Global, part: str) -> None:
        """An aggregate keeps what is asked for."""
        self.want(g.stats is not None, f"{g.name} is no aggregate")
        if g.stats is not None:
            self.want(part in g.stats.parts, f"{g.name} does not keep {part}")

    def value(self, g: Global, expr: ops.Expr) -> None:
        """A value fits a global."""
        self.want(g in self.globals, f"global {g.name} is not of this module")
        self.want(g.stats is None, f"{g.name} is an aggregate")
        self.type(expr, g.value, f"value for {g.name}")

    def local(self, var: LocalVar) -> None:
        """A local belongs to this function or handler."""
        self.want(var in self.locals, f"local {var.name} belongs elsewhere")

    def pos(self, pos: int, needed: bool = True) -> None:
        """A position exists."""
        low = 0 if needed else -1
        self.want(low <= pos < len(self.module.positions), f"position {pos}")

    def format(self, directives: tuple[Directive, ...], args: list[ops.Expr]) -> None:
        """Arguments fit a format."""
        wanted: list[Ty] = []
        for d in directives:
            if d.conv:
                wanted += [Ty.LONG for n in (d.width, d.precision) if n == STAR]
                wanted.append(Ty.STR if d.conv in "smM" else Ty.LONG)
        self.want(len(wanted) == len(args), f"format takes {len(wanted)} values, got {len(args)}")
        for arg, ty in zip(args, wanted):
            self.type(arg, ty, "format argument")

    def stmt_types(self, stmt: ops.Stmt) -> None:
        """Operands of one statement."""
        match stmt:
            case ops.SetLocal(var, value):
                self.local(var)
                self.type(value, var.ty, f"value for {var.name}")
            case ops.SetGlobal(g, value):
                self.keys(g, [], True)
                self.value(g, value)
            case ops.AddGlobal(g, delta):
                self.keys(g, [], True)
                self.value(g, delta)
                self.longs(stmt)
            case ops.SetMap(g, keys, value, pos):
                self.keys(g, keys, False)
                self.value(g, value)
                self.pos(pos)
            case ops.AddMap(g, keys, delta, pos):
                self.keys(g, keys, False)
                self.value(g, delta)
                self.type(delta, Ty.LONG, "delta")
                self.pos(pos)
            case ops.StatAdd(g, keys, value, pos):
                self.keys(g, keys, True)
                self.want(g.stats is not None, f"{g.name} is no aggregate")
                self.type(value, Ty.LONG, "sample")
                self.pos(pos)
            case ops.DeleteGlobal(g):
                self.want(g in self.globals, f"global {g.name} is not of this module")
            case ops.DeleteMap(g, slots):
                self.keys(g, slots, False)
            case ops.Store(size=size, pos=pos):
                self.longs(stmt)
                self.pos(pos)
                self.want(size in _SIZES, f"store of {size} bytes")
            case ops.If() | ops.Loop():
                self.longs(stmt)
            case ops.Eval() | ops.Next() | ops.Break() | ops.Continue():
                pass
            case ops.Emit(fmt, args):
                self.format(fmt.directives, args)
            case ops.EmitHist(kind, g, keys, pos=pos):
                self.keys(g, keys, True)
                self.stat(g, f"hist_{kind}")
                self.pos(pos)
            case _:
                self.other_stmt(stmt)

    def other_stmt(self, stmt: ops.Stmt) -> None:
        """The rest of the statements."""
        match stmt:
            case ops.Foreach():
                self.foreach(stmt)
            case ops.ForeachHist(kind, g, keys, bucket, limit, pos=pos):
                self.keys(g, keys, True)
                self.stat(g, f"hist_{kind}")
                self.local(bucket)
                self.want(bucket.ty is Ty.LONG, "bucket is no number")
                self.pos(pos)
                if limit is not None:
                    self.type(limit, Ty.LONG, "limit")
            case ops.Return(value):
                result = self.function.result if self.function else Ty.VOID
                if value is not None:
                    self.type(value, result, "returned value")
            case ops.Try(var=var) if var is not None:
                self.local(var)
                self.want(var.ty is Ty.STR, "caught message is no string")
            case ops.Action(count, pos):
                self.want(count > 0, "action without count")
                self.pos(pos)
            case ops.Locked(locks):
                self.want(self.function is None, "lock in a function")
                order = [g.index for g, _ in locks]
                self.want(order == sorted(set(order)), "locks out of order")
                self.want(all(g in self.globals for g, _ in locks), "lock of a foreign global")
            case _:
                pass

    def foreach(self, stmt: ops.Foreach) -> None:
        """An iteration over an array."""
        g = stmt.var
        self.want(g in self.globals, f"global {g.name} is not of this module")
        self.want(g.kind == "array", f"{g.name} is no array")
        self.want([k.ty for k in stmt.keys] == list(g.keys), f"{g.name}: key variables")
        for var in [*stmt.keys, *([stmt.value] if stmt.value else [])]:
            self.local(var)
        if stmt.value is not None:
            self.want(stmt.value.ty is g.value, f"{g.name}: value variable")
        if stmt.slice is not None:
            self.keys(g, stmt.slice, False)
        self.want(0 <= stmt.column <= len(g.keys), f"{g.name}: sort column {stmt.column}")
        if stmt.order and stmt.column == 0 and g.stats is not None:
            self.stat(g, stmt.sort_op)
        if stmt.limit is not None:
            self.type(stmt.limit, Ty.LONG, "limit")

    def expr_types(self, expr: ops.Expr) -> None:
        """Operands of one expression."""
        match expr:
            case ops.Const(value):
                self.want(-(2**63) <= value < 2**63, f"{value} needs more than 64 bits")
            case ops.StrConst(text):
                fits = len(text) < self.module.limits.maxstringlen
                self.want(fits and all("\1" <= c <= "\xff" for c in text), "bad string literal")
            case ops.Local(var):
                self.local(var)
            case ops.GlobalGet(g):
                self.keys(g, [], True)
                self.want(g.stats is None, f"{g.name} is an aggregate")
            case ops.MapGet(g, keys):
                self.keys(g, keys, False)
                self.want(g.stats is None, f"{g.name} is an aggregate")
            case ops.MapHas(g, slots):
                self.keys(g, slots, False)
            case ops.Arith(op, pos=pos):
                self.longs(expr)
                self.want(op in "/%" or pos == -1, f"'{op}' with a position")
                self.pos(pos, needed=op in "/%" and not _safe_divisor(expr.right))
            case ops.Neg() | ops.BitNot() | ops.Not() | ops.Compare() | ops.Logic():
                self.longs(expr)
            case ops.StrCompare() | ops.Concat() | ops.Match():
                self.strings(expr)
            case ops.Cond(cond, yes, no, ty):
                self.type(cond, Ty.LONG, "condition")
                self.type(yes, ty, "first choice")
                self.type(no, ty, "second choice")
            case ops.Load(size=size, pos=pos):
                self.longs(expr)
                self.pos(pos)
                self.want(size in _SIZES, f"load of {size} bytes")
            case _:
                self.other_expr(expr)

    def other_expr(self, expr: ops.Expr) -> None:
        """The rest of the expressions."""
        match expr:
            case ops.Sprint(fmt, args):
                self.format(fmt.directives, args)
            case ops.Call(targets, args, pos):
                self.call(targets, args)
                self.pos(pos)
            case ops.Intrinsic(name, args, pos, const):
                self.intrinsic(name, args, const)
                self.pos(pos, needed=name in INTRINSICS and INTRINSICS[name].fallible)
            case ops.StatGet(op, g, keys, pos):
                self.keys(g, keys, True)
                self.stat(g, op)
                self.pos(pos, needed=op not in ("count", "sum"))
            case ops.HistGet(kind, g, keys, bucket, pos):
                self.keys(g, keys, True)
                self.stat(g, f"hist_{kind}")
                self.type(bucket, Ty.LONG, "bucket")
                self.pos(pos)
            case ops.SprintHist(kind, g, keys, pos=pos):
                self.keys(g, keys, True)
                self.stat(g, f"hist_{kind}")
                self.pos(pos)
            case _:
                pass

    def call(self, targets: list[Function], args: list[ops.Expr]) -> None:
        """A call of functions that agree."""
        self.want(bool(targets), "call of nothing")
        for target in targets:
            self.want(target in self.functions, f"function {target.name} is not of this module")
            self.want(target.result is targets[0].result, f"{target.name}: results differ")
            self.want(len(target.params) == len(args), f"{target.name}: {len(args)} arguments")
            for arg, param in zip(args, target.params):
                self.type(arg, param.ty, f"argument {param.name} of {target.name}")

    def intrinsic(self, name: str, args: list[ops.Expr], const: tuple[int | str, ...]) -> None:
        """An intrinsic with fitting arguments."""
        info = INTRINSICS.get(name)
        if info is None:
            self.want(False, f"no intrinsic {name}")
            return
        self.want(len(info.args) == len(args), f"{name}: {len(args)} arguments")
        self.want(info.consts == len(const), f"{name}: {len(const)} constants")
        for arg, ty in zip(args, info.args):
            self.type(arg, ty, f"argument of {name}")


def _safe_divisor(expr: ops.Expr) -> bool:
    return isinstance(expr, ops.Const) and expr.value != 0
