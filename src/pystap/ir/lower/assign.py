"""Assignments, increments and decrements, as statements or for their value.

Order of evaluation: the keys of the target, then the right side, then reading the target (for
``op=``) and storing.  The value is what was stored (for postfix forms: what was there before).
"""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.lower import expr as lower_expr
from pystap.ir.lower.scope import Frame, refuse
from pystap.ir.types import Global, LocalVar, Ty
from pystap.lang import ast
from pystap.longs import signed
from pystap.probes.core import CoreLoad, register_of
from pystap.sema.program import LocalSymbol
from pystap.typing import Final, Literal, cast

_Result = tuple[list[ops.Stmt], ops.Expr | None]
_ADDITIVE: Final = ("+", "-")


def value_of_assign(frame: Frame, expr: ast.Assign) -> ops.Expr:
    """An assignment whose value is used."""
    return _seq(*_assign(frame, expr, True))


def value_of_crement(frame: Frame, expr: ast.Crement) -> ops.Expr:
    """``++`` or ``--`` whose value is used."""
    if expr.prefix:
        return _seq(*_update(frame, expr.op[0], expr.operand, ops.Const(1), expr, True))
    return _seq(*_postfix(frame, expr))


def effect_of_assign(frame: Frame, expr: ast.Assign) -> list[ops.Stmt]:
    """An assignment as a statement."""
    return _assign(frame, expr, False)[0]


def effect_of_crement(frame: Frame, expr: ast.Crement) -> list[ops.Stmt]:
    """``++`` or ``--`` as a statement."""
    return _update(frame, expr.op[0], expr.operand, ops.Const(1), expr, False)[0]


def _seq(body: list[ops.Stmt], value: ops.Expr | None) -> ops.Expr:
    assert value is not None
    return ops.Seq(body, value)


def _assign(frame: Frame, expr: ast.Assign, want: bool) -> _Result:
    if expr.op == "=":
        return _store(frame, expr.target, expr.value, want)
    if expr.op == "<<<":
        return _sample(frame, expr, want)
    body: list[ops.Stmt] = []
    keys = _target_keys(frame, expr.target)
    right = lower_expr.value(frame, expr.value)
    return _update(frame, expr.op[:-1], expr.target, right, expr, want, keys, body)


def _target_keys(frame: Frame, target: ast.Expr) -> list[ops.Expr]:
    """The key parts (or the address) that a target names, lowered before the right side."""
    if isinstance(target, ast.Index):
        return lower_expr.keys(frame, target.indexes)
    if isinstance(target, CoreLoad):
        return [lower_expr.value(frame, target.addr)]
    return []


def _store(frame: Frame, target: ast.Expr, right: ast.Expr, want: bool) -> _Result:
    """``target = right``."""
    keys = _target_keys(frame, target)
    value = lower_expr.value(frame, right)
    if isinstance(target, ast.Name) and isinstance(target.symbol, LocalSymbol):
        var = frame.local(target.symbol)
        return [ops.SetLocal(var, value)], ops.Local(var)
    body: list[ops.Stmt] = []
    if want:
        after = frame.effects(value)
        keys = [frame.keep(k, after, body)() for k in keys]
        copy = frame.keep(value, frame.effects(), body)
        return [*body, _put(frame, target, keys, copy())], copy()
    return [_put(frame, target, keys, value)], None


def _put(frame: Frame, target: ast.Expr, keys: list[ops.Expr], value: ops.Expr) -> ops.Stmt:
    """The statement that stores into a global, an element or memory."""
    match target:
        case ast.Name():
            return ops.SetGlobal(lower_expr.array_of(frame, target), value)
        case ast.Index(base=ast.Name() as base):
            var = lower_expr.array_of(frame, base)
            return ops.SetMap(var, keys, value, frame.pos(base.tok))
        case CoreLoad():
            return _poke(frame, target, keys[0], value)
        case _:
            return _put_register(frame, target, value)


def _put_register(frame: Frame, target: ast.Expr, value: ops.Expr) -> ops.Stmt:
    """A change of the registers that the event came with."""
    found = register_of(target)
    if found is None:
        raise refuse("this cannot be assigned to", target.tok)
    where, bits = found
    kind = cast(Literal["sysarg", "sysret", "reg", "funcarg", "retval"], where.kind)
    return ops.SetContext(kind, where.index, bits, value, frame.pos(target.tok))


def _poke(frame: Frame, target: CoreLoad, addr: ops.Expr, value: ops.Expr) -> ops.Stmt:
    """A store to memory; a bitfield is merged into the unit around it."""
    pos = frame.pos(target.tok)
    if not target.bit_size:
        return ops.Store(addr, target.space, target.size, value, pos)
    body: list[ops.Stmt] = []
    where = frame.keep(addr, frame.effects(value), body)
    mask = (1 << target.bit_size) - 1
    low, shift = signed(mask), target.bit_offset
    field = ops.Arith("<<", ops.Arith("&", value, ops.Const(low)), ops.Const(shift))
    unit = ops.Load(where(), target.space, target.size, False, pos)
    rest = ops.Arith("&", unit, ops.Const(signed(~(mask << shift))))
    merged = ops.Arith("|", rest, field)
    at: ops.Expr = ops.Seq(body, where()) if body else where()
    return ops.Store(at, target.space, target.size, merged, pos)


def _sample(frame: Frame, expr: ast.Assign, want: bool) -> _Result:
    """``target <<< value``."""
    stat, keys = lower_expr.stat_of(frame, expr.target)
    value = lower_expr.value(frame, expr.value)
    pos = frame.pos(expr.target.tok)
    if not want:
        return [ops.StatAdd(stat, keys, value, pos)], None
    body: list[ops.Stmt] = []
    keys = [frame.keep(k, frame.effects(value), body)() for k in keys]
    copy = frame.keep(value, frame.effects(), body)
    return [*body, ops.StatAdd(stat, keys, copy(), pos)], copy()


def _update(
    frame: Frame,
    op: str,
    target: ast.Expr,
    right: ops.Expr,
    node: ast.Expr,
    want: bool,
    keys: list[ops.Expr] | None = None,
    body: list[ops.Stmt] | None = None,
) -> _Result:
    """``target op= right``: one commutative addition where nobody asks for the value."""
    keys = _target_keys(frame, target) if keys is None else keys
    body = [] if body is None else body
    if not want and op in _ADDITIVE and _is_shared(target):
        return [*body, _add(frame, target, keys, _delta(op, right))], None
    after = frame.effects(right)
    makers = [frame.keep(k, after, body) for k in keys]
    old = _get(frame, target, [m() for m in makers])
    if any(after.changes(v) for v in _variables(old)) or after.unknown:
        right = frame.settle(right, body)
    value = lower_expr.arith(frame, op, old, right, node)
    if isinstance(old, ops.Local):
        return [*body, ops.SetLocal(old.var, value)], ops.Local(old.var)
    if not want:
        return [*body, _put(frame, target, [m() for m in makers], value)], None
    copy = frame.keep(value, frame.effects(), body)
    return [*body, _put(frame, target, [m() for m in makers], copy())], copy()


def _postfix(frame: Frame, expr: ast.Crement) -> _Result:
    """The value before the change."""
    body: list[ops.Stmt] = []
    keys = _target_keys(frame, expr.operand)
    makers = [frame.keep(k, frame.effects(), body) for k in keys]
    old = _get(frame, expr.operand, [m() for m in makers])
    before = frame.temp(Ty.LONG)
    body.append(ops.SetLocal(before, old))
    value = lower_expr.arith(frame, expr.op[0], ops.Local(before), ops.Const(1), expr)
    if isinstance(old, ops.Local):
        body.append(ops.SetLocal(old.var, value))
    else:
        body.append(_put(frame, expr.operand, [m() for m in makers], value))
    return body, ops.Local(before)


def _is_shared(target: ast.Expr) -> bool:
    """Whether a target is a global or an element of one."""
    if isinstance(target, ast.Name):
        return not isinstance(target.symbol, LocalSymbol)
    return isinstance(target, ast.Index)


def _add(frame: Frame, target: ast.Expr, keys: list[ops.Expr], delta: ops.Expr) -> ops.Stmt:
    if isinstance(target, ast.Index):
        assert isinstance(target.base, ast.Name)
        var = lower_expr.array_of(frame, target.base)
        return ops.AddMap(var, keys, delta, frame.pos(target.base.tok))
    assert isinstance(target, ast.Name)
    return ops.AddGlobal(lower_expr.array_of(frame, target), delta)


def _delta(op: str, right: ops.Expr) -> ops.Expr:
    if op == "+":
        return right
    if isinstance(right, ops.Const):
        return ops.Const(signed(-right.value))
    return ops.Neg(right)


def _get(frame: Frame, target: ast.Expr, keys: list[ops.Expr]) -> ops.Expr:
    """The present value of a target."""
    match target:
        case ast.Name(symbol=LocalSymbol() as symbol):
            return ops.Local(frame.local(symbol))
        case ast.Name():
            return ops.GlobalGet(lower_expr.array_of(frame, target))
        case ast.Index(base=ast.Name() as base):
            return ops.MapGet(lower_expr.array_of(frame, base), keys)
        case CoreLoad():
            pos = frame.pos(target.tok)
            load = ops.Load(keys[0], target.space, target.size, target.signed, pos)
            load.bit_offset, load.bit_size = target.bit_offset, target.bit_size
            return load
        case _:
            return lower_expr.value(frame, target)


def _variables(old: ops.Expr) -> list[Global | LocalVar]:
    """The variable that holds a target's value."""
    match old:
        case ops.Local(local):
            return [local]
        case ops.GlobalGet(g) | ops.MapGet(g):
            return [g]
        case _:
            return []
