"""Expressions for their value."""

from __future__ import annotations

import operator
from collections.abc import Callable

from pystap.ir import ops
from pystap.ir.intrinsics import INTRINSICS
from pystap.ir.lower import assign, printing
from pystap.ir.lower.embedded import c_expr
from pystap.ir.lower.scope import Frame, refuse, ty_of
from pystap.ir.types import Global, Ty
from pystap.lang import ast
from pystap.probes.core import CoreContext, CoreIntrinsic, CoreLoad
from pystap.sema.program import FunctionSymbol, GlobalSymbol, LocalSymbol
from pystap.typing import Any, Final, cast

# The rest is folded before lowering; constants of the session come up here.
_FOLDED: Final[dict[str, Callable[[int, int], int]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


def value(frame: Frame, expr: ast.Expr) -> ops.Expr:
    """Lower an expression.  Raises DiagnosticError for what no IR operation stands for."""
    lower = _LOWER.get(expr.__class__)
    if lower is None:
        raise refuse(f"{_what(expr)} cannot be translated here", expr.tok)
    return lower(frame, expr)


def values(frame: Frame, exprs: list[ast.Expr]) -> list[ops.Expr]:
    """Lower expressions in order."""
    return [value(frame, e) for e in exprs]


def slots(frame: Frame, exprs: list[ast.Expr | None]) -> list[ops.Expr | None]:
    """Lower key parts, keeping ``*``."""
    return [None if e is None else value(frame, e) for e in exprs]


def keys(frame: Frame, exprs: list[ast.Expr | None]) -> list[ops.Expr]:
    """Lower the key parts of one element."""
    return [value(frame, e) for e in exprs if e is not None]


def array_of(frame: Frame, name: ast.Name) -> Global:
    """The array a name stands for."""
    return frame.shared.global_of(cast(GlobalSymbol, name.symbol))


def stat_of(frame: Frame, expr: ast.Expr) -> tuple[Global, list[ops.Expr]]:
    """The aggregate an expression stands for, and the key of its element."""
    if isinstance(expr, ast.Index):
        assert isinstance(expr.base, ast.Name)
        return array_of(frame, expr.base), keys(frame, expr.indexes)
    assert isinstance(expr, ast.Name)
    symbol = expr.symbol
    if isinstance(symbol, LocalSymbol):
        stat, hidden = frame.stats[symbol]
        return stat, [ops.Local(v) for v in hidden]
    return array_of(frame, expr), []


def call_of(frame: Frame, expr: ast.Call) -> ops.Expr:
    """A call of a script function or an intrinsic."""
    symbols = cast(list[FunctionSymbol], expr.functions)
    args = values(frame, expr.args)
    if symbols[0].intrinsic:
        name, const = symbols[0].intrinsic
        return intrinsic(frame, name, args, const, frame.pos(expr.tok))
    targets = [frame.shared.function(s) for s in symbols]
    result = next((t.result for t in targets if t.result is not Ty.VOID), Ty.VOID)
    for target in targets:
        if target.result is Ty.VOID:
            target.result = result  # it never gives a value, so 0 or ""
            target.bound = frame.shared.maxstringlen if result is Ty.STR else 0
    return ops.Call(targets, args, frame.pos(expr.tok))


def intrinsic(
    frame: Frame, name: str, args: list[ops.Expr], const: tuple[int | str, ...], pos: int
) -> ops.Expr:
    """An intrinsic; what is known by now, such as the probe of a handler, becomes a literal."""
    if name == "maxstringlen":
        return ops.Const(frame.shared.maxstringlen)
    if frame.probe is not None:
        if name == "pn" and len(set(frame.probe.names)) <= 1:
            return frame.shared.string(
                frame.probe.names[0] if frame.probe.names else frame.probe.script_point
            )
        if name == "pp" and len(frame.probe.match.points) == 1:
            return frame.shared.string(frame.probe.match.points[0][0])
    fallible = name in INTRINSICS and INTRINSICS[name].fallible
    return ops.Intrinsic(name, args, pos if fallible else -1, const)


def arith(frame: Frame, op: str, left: ops.Expr, right: ops.Expr, node: ast.Expr) -> ops.Expr:
    """Arithmetic or concatenation; ``node`` is where a division fails."""
    if op == ".":
        return concat(frame, [left, right])
    if isinstance(left, ops.Const) and isinstance(right, ops.Const) and op in _FOLDED:
        return ops.Const(_wrap(_FOLDED[op](left.value, right.value)))
    safe = isinstance(right, ops.Const) and right.value != 0
    pos = -1 if op not in ("/", "%") or safe else frame.pos(node.tok)
    return ops.Arith(cast(ops.ArithOp, op), left, right, pos)


def concat(frame: Frame, parts: list[ops.Expr]) -> ops.Expr:
    """Strings joined: nested joins made flat, neighbouring literals merged."""
    flat: list[ops.Expr] = []
    for part in parts:
        for piece in part.parts if isinstance(part, ops.Concat) else [part]:
            last = flat[-1] if flat else None
            if isinstance(piece, ops.StrConst) and isinstance(last, ops.StrConst):
                flat[-1] = frame.shared.string(last.value + piece.value)
            elif not isinstance(piece, ops.StrConst) or piece.value:
                flat.append(piece)
    if not flat:
        return ops.StrConst("")
    return flat[0] if len(flat) == 1 else ops.Concat(flat)


# --- one function a node class ------------------------------------------------------------------


def _number(_frame: Frame, expr: ast.Number) -> ops.Expr:
    return ops.Const(expr.value)


def _string(frame: Frame, expr: ast.String) -> ops.Expr:
    return frame.shared.string(expr.value)


def _name(frame: Frame, expr: ast.Name) -> ops.Expr:
    if isinstance(expr.symbol, LocalSymbol):
        return ops.Local(frame.local(expr.symbol))
    return ops.GlobalGet(array_of(frame, expr))


def _index(frame: Frame, expr: ast.Index) -> ops.Expr:
    if isinstance(expr.base, ast.Histogram):
        base = expr.base
        stat, stat_keys = stat_of(frame, base.stat)
        (bucket,) = keys(frame, expr.indexes)
        return ops.HistGet(base.kind, stat, stat_keys, bucket, frame.pos(base.tok))
    return ops.MapGet(array_of(frame, expr.base), keys(frame, expr.indexes))


def _array_in(frame: Frame, expr: ast.ArrayIn) -> ops.Expr:
    return ops.MapHas(array_of(frame, expr.array), slots(frame, expr.indexes))


def _unary(frame: Frame, expr: ast.Unary) -> ops.Expr:
    operand = value(frame, expr.operand)
    match expr.op:
        case "-":
            if isinstance(operand, ops.Const):
                return ops.Const(_wrap(-operand.value))
            return ops.Neg(operand)
        case "~":
            return ops.BitNot(operand)
        case "!":
            return ops.Not(operand)
        case _:
            return operand


def _wrap(number: int) -> int:
    """A number as signed 64 bits."""
    return (number + 2**63) % 2**64 - 2**63


def _binary(frame: Frame, expr: ast.Binary) -> ops.Expr:
    left = value(frame, expr.left)
    right = value(frame, expr.right)
    if expr.op in ("&&", "||"):
        return ops.Logic("&&" if expr.op == "&&" else "||", left, right)
    return arith(frame, expr.op, left, right, expr)


def _compare(frame: Frame, expr: ast.Compare) -> ops.Expr:
    left = value(frame, expr.left)
    right = value(frame, expr.right)
    op = cast(ops.CompareOp, expr.op)
    if ops.type_of(left) is Ty.STR:
        return ops.StrCompare(op, left, right)
    return ops.Compare(op, left, right)


def _regex(frame: Frame, expr: ast.RegexMatch) -> ops.Expr:
    operand = value(frame, expr.left)
    return ops.Match(frame.shared.regex(expr.pattern), operand, expr.negated)


def _ternary(frame: Frame, expr: ast.Ternary) -> ops.Expr:
    cond = value(frame, expr.cond)
    yes = value(frame, expr.yes)
    no = value(frame, expr.no)
    return ops.Cond(cond, yes, no, ops.type_of(yes))


def _stat(frame: Frame, expr: ast.StatOp) -> ops.Expr:
    stat, stat_keys = stat_of(frame, expr.stat)
    pos = -1 if expr.op in ("count", "sum") else frame.pos(expr.tok)
    return ops.StatGet(cast(Any, expr.op), stat, stat_keys, pos)


def _at_op(frame: Frame, expr: ast.AtOp) -> ops.Expr:
    match expr.name, expr.args:
        case (("kderef" | "uderef"), [ast.Number(value=size), addr]) if size in (1, 2, 4, 8):
            space: ops.Space = "kernel" if expr.name == "kderef" else "user"
            return ops.Load(value(frame, addr), space, size, False, frame.pos(expr.tok))
        case (("kregister" | "uregister"), [ast.Number(value=number)]):
            return ops.ContextValue("reg", number)
        case _:
            raise refuse(f"{_what(expr)} cannot be translated here", expr.tok)


def _cast(frame: Frame, expr: ast.Cast | ast.Autocast) -> ops.Expr:
    if expr.components or expr.address_of:
        raise refuse(f"{_what(expr)} cannot be translated here", expr.tok)
    return value(frame, expr.operand)


def _load(frame: Frame, expr: CoreLoad) -> ops.Expr:
    addr = value(frame, expr.addr)
    return ops.Load(
        addr,
        expr.space,
        expr.size,
        expr.signed,
        frame.pos(expr.tok),
        expr.bit_offset,
        expr.bit_size,
    )


def _context(_frame: Frame, expr: CoreContext) -> ops.Expr:
    return ops.ContextValue(expr.kind, expr.index)


def _core_intrinsic(frame: Frame, expr: CoreIntrinsic) -> ops.Expr:
    args = values(frame, expr.args)
    return intrinsic(frame, expr.name, args, expr.const, frame.pos(expr.tok))


def _what(expr: ast.Expr) -> str:
    """What a message calls a construct."""
    match expr:
        case ast.AtOp():
            return f"@{expr.name}"
        case ast.TargetVar():
            return f"'{expr.name}'"
        case ast.Histogram():
            return "a histogram"
        case _:
            return f"this {ty_of(expr.type).value} expression"


_LOWER: Final[dict[type, Callable[[Frame, Any], ops.Expr]]] = {
    ast.Number: _number,
    ast.String: _string,
    ast.Name: _name,
    ast.Index: _index,
    ast.Call: call_of,
    ast.ArrayIn: _array_in,
    ast.Unary: _unary,
    ast.Binary: _binary,
    ast.Compare: _compare,
    ast.RegexMatch: _regex,
    ast.Ternary: _ternary,
    ast.StatOp: _stat,
    ast.AtOp: _at_op,
    ast.Cast: _cast,
    ast.Autocast: _cast,
    ast.Assign: assign.value_of_assign,
    ast.Crement: assign.value_of_crement,
    ast.Print: printing.value_of_print,
    ast.EmbeddedExpr: c_expr,
    CoreLoad: _load,
    CoreContext: _context,
    CoreIntrinsic: _core_intrinsic,
}
