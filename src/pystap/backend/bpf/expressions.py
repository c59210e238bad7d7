"""Expressions on longs."""

from __future__ import annotations

from pystap.backend.bpf import emit
from pystap.backend.bpf.errors import raise_error
from pystap.ir import errors, ops
from pystap.ir.types import Ty
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import Value

_PLAIN: Final = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor"}
_SHIFTS: Final = {"<<": "shl", ">>": "ashr", ">>>": "lshr"}
_COMPARE: Final = {"==": "eq", "!=": "ne", "<": "slt", "<=": "sle", ">": "sgt", ">=": "sge"}


@emit.emits_long(ops.Const)
def _const(s: Scope, e: ops.Const) -> Value:
    return s.b.const("i64", e.value)


@emit.emits_long(ops.Local)
def _local(s: Scope, e: ops.Local) -> Value:
    return s.b.load("i64", s.local(e.var))


@emit.emits_long(ops.Neg)
def _negate(s: Scope, e: ops.Neg) -> Value:
    return -emit.long(s, e.operand)


@emit.emits_long(ops.BitNot)
def _bit_not(s: Scope, e: ops.BitNot) -> Value:
    return ~emit.long(s, e.operand)


@emit.emits_long(ops.Arith)
def _arith(s: Scope, e: ops.Arith) -> Value:
    left, right = emit.pair(s, e.left, e.right)
    if e.op in _PLAIN:
        return emit.settled(s, s.b.binary(_PLAIN[e.op], left, right))
    if e.op in _SHIFTS:
        return s.b.binary(_SHIFTS[e.op], left, right & 63)
    return _divide(s, e, left, right)


def _divide(s: Scope, e: ops.Arith, left: Value, right: Value) -> Value:
    b = s.b
    if e.pos >= 0:
        with b.if_(right.eq(0)):
            raise_error(s, errors.DIVISION_BY_ZERO, e.pos)
    # BPF defines a division by 0, but LLVM does not.
    divisor = b.select(right.eq(0), b.const("i64", 1), right)
    return b.opaque(left.sdiv(divisor) if e.op == "/" else left.srem(divisor))


def condition(s: Scope, expr: ops.Expr) -> Value:
    """Emit an expression as condition: ``i1``, set when it is not zero."""
    if isinstance(expr, ops.Compare):
        left, right = emit.pair(s, expr.left, expr.right)
        return s.b.compare(_COMPARE[expr.op], left, right)
    if isinstance(expr, ops.Not):
        return condition(s, expr.operand) ^ 1
    return emit.long(s, expr).ne(0)


@emit.emits_long(ops.Compare, ops.Not)
def _as_long(s: Scope, e: ops.Compare | ops.Not) -> Value:
    return condition(s, e).zext("i64")


@emit.emits_long(ops.Logic)
def _logic(s: Scope, e: ops.Logic) -> Value:
    b = s.b
    short = int(e.op == "||")
    result = b.var("i64", short)
    left = condition(s, e.left)
    with b.if_(left ^ short if short else left):
        right = condition(s, e.right)
        result.set(right.zext("i64"))
    return result.get()


@emit.emits_long(ops.Cond)
def _cond(s: Scope, e: ops.Cond) -> Value:
    b = s.b
    result = b.var("i64")
    with b.if_else(condition(s, e.cond)) as (yes, no):
        with yes:
            result.set(emit.long(s, e.yes))
        with no:
            result.set(emit.long(s, e.no))
    return result.get()


@emit.emits_long(ops.Seq)
def _seq(s: Scope, e: ops.Seq) -> Value:
    emit.statements(s, e.body)
    return emit.long(s, e.value)


def discard(s: Scope, expr: ops.Expr) -> None:
    """Emit an expression for its effect only."""
    from pystap.backend.bpf import strings

    if ops.type_of(expr) is Ty.STR:
        strings.discard(s, expr)
    else:
        emit.long(s, expr)
