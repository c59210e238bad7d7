"""Loops compiled to Python closures.

``foreach`` goes over a snapshot: in order of insertion, or sorted, with equal elements in order
of insertion (scripts may rely on neither the one nor the other).
"""

from __future__ import annotations

from pystap.backend.reference import access
from pystap.backend.reference.expressions import (
    compile_expr,
    compile_key,
    compile_pattern,
    counts_of,
)
from pystap.backend.reference.outcome import BREAK, NEXT, NORMAL, RETURN
from pystap.backend.reference.state import Frame
from pystap.ir import ops
from pystap.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.reference.arrays import Key, Pattern
    from pystap.backend.reference.compiler import Scope
    from pystap.backend.reference.state import Context, Evaluate


def compile_loop(scope: Scope, stmt: ops.Loop) -> Evaluate:
    """``while`` and ``for``."""
    cond = compile_expr(scope, stmt.cond)
    body, step = scope.block(stmt.body), scope.block(stmt.step)

    def run(frame: Frame) -> int:
        while cond(frame):
            outcome: int = body(frame)
            if outcome == BREAK:
                break
            if outcome in (RETURN, NEXT):
                return outcome
            step(frame)
        return NORMAL

    return run


def compile_foreach(scope: Scope, stmt: ops.Foreach) -> Evaluate:
    """``foreach`` over an array."""
    key_slots = [scope.slot(var) for var in stmt.keys]
    value_slot = None if stmt.value is None else scope.slot(stmt.value)
    pattern = compile_pattern(scope, stmt.slice or [None] * len(stmt.var.keys))
    limit = _compile_limit(scope, stmt.limit)
    body = scope.block(stmt.body)

    def run(frame: Frame) -> int:
        wanted, rounds = pattern(frame), limit(frame)
        for key, value in _snapshot(frame.context, stmt, wanted)[:rounds]:
            for slot, part in zip(key_slots, key):
                frame.variables[slot] = part
            if value_slot is not None:
                frame.variables[value_slot] = value
            outcome: int = body(frame)
            if outcome == BREAK:
                break
            if outcome in (RETURN, NEXT):
                return outcome
        return NORMAL

    return run


def compile_foreach_hist(scope: Scope, stmt: ops.ForeachHist) -> Evaluate:
    """``foreach`` over the buckets of a histogram."""
    key = compile_key(scope, stmt.stat_keys)
    slot = scope.slot(stmt.bucket)
    limit = _compile_limit(scope, stmt.limit)
    body = scope.block(stmt.body)

    def run(frame: Frame) -> int:
        element, rounds = key(frame), limit(frame)
        counts = counts_of(frame.context, stmt.kind, stmt.stat, element, stmt.pos)
        for bucket in range(len(counts))[:: -1 if stmt.order < 0 else 1][:rounds]:
            frame.variables[slot] = bucket
            outcome: int = body(frame)
            if outcome == BREAK:
                break
            if outcome in (RETURN, NEXT):
                return outcome
        return NORMAL

    return run


def _compile_limit(scope: Scope, limit: ops.Expr | None) -> Callable[[Frame], int | None]:
    """A closure that gives the number of rounds, None for all."""
    if limit is None:
        return lambda _frame: None
    value = compile_expr(scope, limit)
    return lambda frame: max(0, value(frame))


def _snapshot(context: Context, stmt: ops.Foreach, pattern: Pattern) -> list[tuple[Key, Any]]:
    """The elements to go over, in the order asked for."""
    var = stmt.var
    access.check_read(context, var)
    array = context.state.array(var)
    found = [(key, array.elements[key]) for key in array.matching(pattern)]
    if stmt.order:
        found.sort(key=_sort_key(stmt), reverse=stmt.order < 0)
    return found


def _sort_key(stmt: ops.Foreach) -> Callable[[tuple[Key, Any]], Any]:
    if stmt.column:
        return lambda item: item[0][stmt.column - 1]
    if stmt.var.stats is not None:
        return lambda item: item[1].merged().extract(stmt.sort_op)
    return lambda item: item[1]
