"""Makes operands safe to hold by reference.

A runtime may keep the address of a string operand until the operation runs.  So an operand
that stands for a variable or element is copied to a temporary first when a later operand of the
same operation (or the body of an iteration, for what its head evaluates once) may change it.
Numbers are treated alike: an operand that is a plain variable can be read when it is needed.
"""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.effects import Effects, Summaries, summarise
from pystap.ir.module import Function, Handler, Module
from pystap.ir.types import Global, LocalVar, Ty
from pystap.ir.walk import Node, operands, owners, rewrite_operands, walk_body


def order_operands(module: Module) -> None:
    """Insert the copies that :mod:`pystap.ir.ops` promises."""
    summaries = summarise(module)
    for owner in owners(module):
        for node in list(walk_body(owner.body)):
            _settle(node, owner, summaries, module.limits.maxstringlen)


def unordered(module: Module) -> list[ops.Expr]:
    """Operands that a later operand may change: none after :func:`order_operands`."""
    summaries = summarise(module)
    found: list[ops.Expr] = []
    for owner in owners(module):
        for node in walk_body(owner.body):
            found += _hazards(node, summaries)
    return found


def _settle(node: Node, owner: Function | Handler, summaries: Summaries, size: int) -> None:
    unsafe = {id(e) for e in _hazards(node, summaries)}
    if not unsafe:
        return

    def copied(operand: ops.Expr) -> ops.Expr:
        if id(operand) not in unsafe:
            return operand
        ty = ops.type_of(operand)
        temp = LocalVar("", ty, len(owner.locals), size if ty is Ty.STR else 0)
        owner.locals.append(temp)
        return ops.Seq([ops.SetLocal(temp, operand)], ops.Local(temp))

    rewrite_operands(node, copied)


def _hazards(node: Node, summaries: Summaries) -> list[ops.Expr]:
    """The operands of one node that something evaluated later may change."""
    if isinstance(node, (ops.Cond, ops.Logic, ops.Seq)):
        return []
    parts = operands(node)
    if not any(_roots(part) for part in parts):
        return []
    later = _during(node, summaries)
    found = []
    for i in range(len(parts) - 1, -1, -1):
        if any(later.changes(root) for root in _roots(parts[i])):
            found.append(parts[i])
        if i:
            later.add(summaries.of([parts[i]]))
    return found


def _during(node: Node, summaries: Summaries) -> Effects:
    """What an iteration changes while it holds what its head evaluated."""
    during = Effects()
    match node:
        case ops.Foreach(keys=keys, value=value, body=body):
            during = summaries.of(body)
            during.locals_set.update(keys)
            if value is not None:
                during.locals_set.add(value)
        case ops.ForeachHist(bucket=bucket, body=body):
            during = summaries.of(body)
            during.locals_set.add(bucket)
        case _:
            pass
    return during


def _roots(expr: ops.Expr) -> list[Global | LocalVar]:
    """The variables a value may be a reference into (views of string arguments included)."""
    match expr:
        case ops.Local(var):
            return [var]
        case ops.GlobalGet(g) | ops.MapGet(g):
            return [g]
        case ops.Cond(_, yes, no):
            return _roots(yes) + _roots(no)
        case ops.Seq(_, value):
            return _roots(value)
        case ops.Intrinsic(args=args) if ops.type_of(expr) is Ty.STR:
            return [r for a in args for r in _roots(a)]
        case _:
            return []
