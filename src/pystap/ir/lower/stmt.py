"""Statements.

Statements are counted for MAXACTION: every handler, function and round of a loop starts with an
``Action`` for the most statements its straight-line part can run.  :mod:`pystap.ir.actions`
drops the ones that can never fail.
"""

from __future__ import annotations

from collections.abc import Callable

from pystap.ir import ops
from pystap.ir.lower import expr as lower_expr
from pystap.ir.lower import iteration
from pystap.ir.lower.assign import effect_of_assign, effect_of_crement
from pystap.ir.lower.printing import effect_of_print
from pystap.ir.lower.scope import Frame, refuse
from pystap.ir.types import Ty
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.sema.program import LocalSymbol
from pystap.typing import Any, Final


def block(frame: Frame, body: list[ast.Stmt]) -> list[ops.Stmt]:
    """Lower statements."""
    made: list[ops.Stmt] = []
    for stmt in body:
        made += statement(frame, stmt)
    return made


def statement(frame: Frame, stmt: ast.Stmt) -> list[ops.Stmt]:
    """Lower one statement."""
    return _LOWER[stmt.__class__](frame, stmt)


def counted(frame: Frame, body: list[ast.Stmt], tok: Token, base: int = 0) -> list[ops.Stmt]:
    """Lower the body of a handler, function or loop with its count of actions in front."""
    count = base + weight(body)
    action: list[ops.Stmt] = [ops.Action(count, frame.pos(tok))] if count else []
    return action + block(frame, body)


def weight(body: list[ast.Stmt]) -> int:
    """Most statements that one run through a body takes, loops counted as one."""
    return sum(map(_weight, body))


def _weight(stmt: ast.Stmt) -> int:
    match stmt:
        case ast.Block(body=body):
            return weight(body)
        case ast.Null():
            return 0
        case ast.If(then=then, orelse=orelse):
            return 1 + max(_weight(then), _weight(orelse) if orelse else 0)
        case ast.For(init=init) if init is not None:
            return 2
        case ast.TryCatch(body=body, handler=handler):
            return 1 + weight(body.body) + weight(handler.body)
        case _:
            return 1


def effect(frame: Frame, expr: ast.Expr) -> list[ops.Stmt]:
    """Lower an expression for its effect."""
    match expr:
        case ast.Assign():
            return effect_of_assign(frame, expr)
        case ast.Crement():
            return effect_of_crement(frame, expr)
        case ast.Print() if not expr.name.startswith("s"):
            return effect_of_print(frame, expr)
        case ast.Ternary(cond=cond, yes=yes, no=no):
            test = lower_expr.value(frame, cond)
            return _branch(frame, test, effect(frame, yes), effect(frame, no))
        case ast.Binary(op="&&", left=left, right=right):
            return _branch(frame, lower_expr.value(frame, left), effect(frame, right), [])
        case ast.Binary(op="||", left=left, right=right):
            return _branch(frame, lower_expr.value(frame, left), [], effect(frame, right))
        case _:
            return drop(frame, lower_expr.value(frame, expr))


def drop(frame: Frame, expr: ops.Expr) -> list[ops.Stmt]:
    """The statements that remain of an expression nobody wants the value of."""
    if frame.effects(expr).none:
        return []
    match expr:
        case ops.Seq(body, value):
            return body + drop(frame, value)
        case ops.Cond(cond, yes, no):
            return _branch(frame, cond, drop(frame, yes), drop(frame, no))
        case ops.Compare(_, left, right) | ops.StrCompare(_, left, right):
            return drop(frame, left) + drop(frame, right)
        case ops.Neg(operand) | ops.Not(operand) | ops.BitNot(operand):
            return drop(frame, operand)
        case ops.Arith(_, left, right, pos) if pos < 0:
            return drop(frame, left) + drop(frame, right)
        case ops.Concat(parts):
            return [s for p in parts for s in drop(frame, p)]
        case _:
            return [ops.Eval(expr)]


def _branch(
    frame: Frame, cond: ops.Expr, then: list[ops.Stmt], orelse: list[ops.Stmt]
) -> list[ops.Stmt]:
    """``if`` without empty or impossible parts."""
    if isinstance(cond, ops.Const):
        return then if cond.value else orelse
    if not then and not orelse:
        return drop(frame, cond)
    if not then:
        return [ops.If(ops.Not(cond), orelse)]
    return [ops.If(cond, then, orelse)]


# --- one function a node class ------------------------------------------------------------------


def _block(frame: Frame, stmt: ast.Block) -> list[ops.Stmt]:
    return block(frame, stmt.body)


def _null(_frame: Frame, _stmt: ast.Null) -> list[ops.Stmt]:
    return []


def _expr(frame: Frame, stmt: ast.ExprStmt) -> list[ops.Stmt]:
    return effect(frame, stmt.expr)


def _if(frame: Frame, stmt: ast.If) -> list[ops.Stmt]:
    cond = lower_expr.value(frame, stmt.cond)
    then = statement(frame, stmt.then)
    orelse = statement(frame, stmt.orelse) if stmt.orelse else []
    return _branch(frame, cond, then, orelse)


def _while(frame: Frame, stmt: ast.While) -> list[ops.Stmt]:
    cond = lower_expr.value(frame, stmt.cond)
    if ops.is_const(cond, 0):
        return []
    return [ops.Loop(cond, counted(frame, [stmt.body], stmt.tok, 1))]


def _for(frame: Frame, stmt: ast.For) -> list[ops.Stmt]:
    init = effect(frame, stmt.init) if stmt.init else []
    cond = lower_expr.value(frame, stmt.cond) if stmt.cond else ops.Const(1)
    if ops.is_const(cond, 0):
        return init
    body = counted(frame, [stmt.body], stmt.tok, 2 if stmt.step else 1)
    step = effect(frame, stmt.step) if stmt.step else []
    return [*init, ops.Loop(cond, body, step)]


def _return(frame: Frame, stmt: ast.Return) -> list[ops.Stmt]:
    if stmt.value is None:
        return [ops.Return()]
    return [ops.Return(lower_expr.value(frame, stmt.value))]


def _break(_frame: Frame, _stmt: ast.Break) -> list[ops.Stmt]:
    return [ops.Break()]


def _continue(_frame: Frame, _stmt: ast.Continue) -> list[ops.Stmt]:
    return [ops.Continue()]


def _next(_frame: Frame, _stmt: ast.Next) -> list[ops.Stmt]:
    return [ops.Next()]


def _delete(frame: Frame, stmt: ast.Delete) -> list[ops.Stmt]:
    match stmt.target:
        case ast.Name(symbol=LocalSymbol() as symbol):
            var = frame.local(symbol)
            zero = ops.StrConst("") if var.ty is Ty.STR else ops.Const(0)
            return [ops.SetLocal(var, zero)]
        case ast.Name() as name:
            return [ops.DeleteGlobal(lower_expr.array_of(frame, name))]
        case ast.Index(base=ast.Name() as base, indexes=indexes):
            var_of_array = lower_expr.array_of(frame, base)
            if all(i is None for i in indexes):
                return [ops.DeleteGlobal(var_of_array)]
            return [ops.DeleteMap(var_of_array, lower_expr.slots(frame, indexes))]
        case _:
            raise refuse("this cannot be deleted", stmt.tok)


def _try(frame: Frame, stmt: ast.TryCatch) -> list[ops.Stmt]:
    body = block(frame, stmt.body.body)
    if not body:
        return []
    into, first = iteration.receive(frame, stmt.var)
    return [ops.Try(body, into, first + block(frame, stmt.handler.body))]


def _foreach(frame: Frame, stmt: ast.Foreach) -> list[ops.Stmt]:
    return iteration.foreach(frame, stmt, lambda: counted(frame, [stmt.body], stmt.tok, 1))


_LOWER: Final[dict[type, Callable[[Frame, Any], list[ops.Stmt]]]] = {
    ast.Block: _block,
    ast.Null: _null,
    ast.ExprStmt: _expr,
    ast.If: _if,
    ast.While: _while,
    ast.For: _for,
    ast.Foreach: _foreach,
    ast.Return: _return,
    ast.Break: _break,
    ast.Continue: _continue,
    ast.Next: _next,
    ast.Delete: _delete,
    ast.TryCatch: _try,
}
