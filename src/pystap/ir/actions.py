"""Drops the counting of actions where MAXACTION can never be reached.

Lowering puts an ``Action`` before every straight-line piece of code: handler, function, round of
a loop.  A handler without loops and recursion runs at most the sum of its pieces; when that is
within the limit, nothing in it needs counting.
"""

from __future__ import annotations

from math import inf

from pystap.ir import ops
from pystap.ir.module import Function, Module
from pystap.ir.walk import Node, blocks, callees, operands, owners, walk_body


def drop_actions(module: Module) -> None:
    """Remove needless ``Action`` statements (all of them without time limits)."""
    if not module.limits.time_limits:
        for owner in owners(module):
            _strip(owner.body)
        return
    cost: dict[Function, float] = {}
    needed: set[Function] = set()
    for handler in module.handlers:
        if _cost(handler.body, cost) <= module.limits.maxaction:
            _strip(handler.body)
        else:
            _reach(handler.body, needed)
    for function in module.functions:
        if function not in needed:
            _strip(function.body)


def _cost(body: list[ops.Stmt], known: dict[Function, float]) -> float:
    """Most actions that one run of a body can take."""
    total: float = 0
    for node in walk_body(body):
        match node:
            case ops.Action(count):
                total += count
            case ops.Loop() | ops.Foreach() | ops.ForeachHist():
                return inf
            case ops.Call(targets):
                total += sum(_function_cost(t, known) for t in targets)
    return total


def _function_cost(function: Function, known: dict[Function, float]) -> float:
    if function not in known:
        known[function] = inf  # met again below: recursion
        known[function] = _cost(function.body, known)
    return known[function]


def _reach(body: list[ops.Stmt], found: set[Function]) -> None:
    for function in callees(body):
        if function not in found:
            found.add(function)
            _reach(function.body, found)


def _strip(body: list[ops.Stmt]) -> None:
    """Remove every ``Action`` of a body."""
    body[:] = [s for s in body if not isinstance(s, ops.Action)]
    waiting: list[Node] = list(body)
    while waiting:
        node = waiting.pop()
        waiting += operands(node)
        for block in blocks(node):
            block[:] = [s for s in block if not isinstance(s, ops.Action)]
            waiting += block
