"""``foreach`` over arrays and histograms."""

from __future__ import annotations

from collections.abc import Callable

from pystap.ir import ops
from pystap.ir.lower import expr as lower_expr
from pystap.ir.lower.scope import Frame
from pystap.ir.types import Global, LocalVar, Ty
from pystap.lang import ast
from pystap.sema.program import LocalSymbol
from pystap.typing import Any, Literal, cast

_Body = Callable[[], list[ops.Stmt]]


def foreach(frame: Frame, stmt: ast.Foreach, body: _Body) -> list[ops.Stmt]:
    """Lower an iteration; ``body`` makes its statements."""
    if isinstance(stmt.base, ast.Histogram):
        return _over_histogram(frame, stmt, stmt.base, body)
    array = lower_expr.array_of(frame, stmt.base)
    slots = None if stmt.slice is None else lower_expr.slots(frame, stmt.slice)
    limit = None if stmt.limit is None else lower_expr.value(frame, stmt.limit)
    keys, value, first = _receivers(frame, stmt, array)
    made = ops.Foreach(
        var=array,
        keys=keys,
        value=value,
        slice=None if slots is None or all(s is None for s in slots) else slots,
        order=_order(stmt),
        column=stmt.sort_column if stmt.sort else 0,
        sort_op=cast(Any, stmt.sort_op or "count"),
        limit=limit,
        body=first + body(),
        pos=frame.pos(stmt.tok),
    )
    return [made]


def receive(frame: Frame, name: ast.Name | None) -> tuple[LocalVar | None, list[ops.Stmt]]:
    """The local that a statement sets for ``name``, and how the value gets from it to a global
    when ``name`` is one."""
    if name is None:
        return None, []
    if isinstance(name.symbol, LocalSymbol):
        return frame.local(name.symbol), []
    target = lower_expr.array_of(frame, name)
    hidden = frame.temp(target.value)
    return hidden, [ops.SetGlobal(target, ops.Local(hidden))]


def _order(stmt: ast.Foreach) -> Literal[-1, 0, 1]:
    return 0 if not stmt.sort else 1 if stmt.sort == "+" else -1


def _receivers(
    frame: Frame, stmt: ast.Foreach, array: Global
) -> tuple[list[LocalVar], LocalVar | None, list[ops.Stmt]]:
    """The variables the iteration sets and the statements that pass their values on."""
    first: list[ops.Stmt] = []
    keys: list[LocalVar] = []
    if array.stats is not None and stmt.value is not None:
        symbol = cast(LocalSymbol, stmt.value.symbol)
        keys = [frame.temp(ty) for ty in array.keys]
        frame.stats[symbol] = (array, keys)
        for name, hidden in zip(stmt.keys, keys):
            first.append(_copy(frame, name, hidden))
        return keys, None, first
    for name in stmt.keys:
        var, pass_on = receive(frame, name)
        assert var is not None
        keys.append(var)
        first += pass_on
    value, pass_on = receive(frame, stmt.value)
    return keys, value, first + pass_on


def _copy(frame: Frame, name: ast.Name, hidden: LocalVar) -> ops.Stmt:
    if isinstance(name.symbol, LocalSymbol):
        return ops.SetLocal(frame.local(name.symbol), ops.Local(hidden))
    return ops.SetGlobal(lower_expr.array_of(frame, name), ops.Local(hidden))


def _over_histogram(
    frame: Frame, stmt: ast.Foreach, hist: ast.Histogram, body: _Body
) -> list[ops.Stmt]:
    """Iteration over bucket indexes; the value variable receives the count of the bucket."""
    stat, keys = lower_expr.stat_of(frame, hist.stat)
    limit = None if stmt.limit is None else lower_expr.value(frame, stmt.limit)
    setup: list[ops.Stmt] = []
    pos = frame.pos(stmt.tok)
    first: list[ops.Stmt] = []
    if stmt.value is not None:
        keys = [frame.settle(k, setup) for k in keys]
    name = stmt.keys[0] if stmt.keys else None
    if name is not None and isinstance(name.symbol, LocalSymbol) and stmt.value is None:
        bucket = frame.local(name.symbol)
    else:
        bucket = frame.temp(Ty.LONG)
        if name is not None:
            first.append(_copy(frame, name, bucket))
    if stmt.value is not None:
        again = [_again(k) for k in keys]
        count = ops.HistGet(hist.kind, stat, again, ops.Local(bucket), pos)
        var, pass_on = receive(frame, stmt.value)
        assert var is not None
        first += [ops.SetLocal(var, count), *pass_on]
    made = ops.ForeachHist(
        kind=hist.kind,
        stat=stat,
        stat_keys=keys,
        bucket=bucket,
        limit=limit,
        order=_order(stmt),
        body=first + body(),
        pos=pos,
    )
    return [*setup, made]


def _again(key: ops.Expr) -> ops.Expr:
    """Another node for a settled key."""
    match key:
        case ops.Const(number):
            return ops.Const(number)
        case ops.StrConst(text):
            return ops.StrConst(text)
        case ops.Local(var):
            return ops.Local(var)
        case _:
            raise TypeError(f"not settled: {key!r}")
