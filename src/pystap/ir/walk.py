"""Walking IR trees: operands, nested blocks, calls; the one place that knows every field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pystap.ir import ops
from pystap.ir.module import Function, Handler, Module
from pystap.typing import Final, TypeAlias

Node: TypeAlias = ops.Expr | ops.Stmt

# Fields that hold operands, in the order they are evaluated.
_OPERANDS: Final[dict[type, tuple[str, ...]]] = {
    ops.MapGet: ("keys",),
    ops.MapHas: ("keys",),
    ops.Arith: ("left", "right"),
    ops.Neg: ("operand",),
    ops.BitNot: ("operand",),
    ops.Not: ("operand",),
    ops.Compare: ("left", "right"),
    ops.StrCompare: ("left", "right"),
    ops.Logic: ("left", "right"),
    ops.Cond: ("cond", "yes", "no"),
    ops.Concat: ("parts",),
    ops.Sprint: ("args",),
    ops.Call: ("args",),
    ops.Intrinsic: ("args",),
    ops.Load: ("addr",),
    ops.StatGet: ("keys",),
    ops.HistGet: ("keys", "bucket"),
    ops.SprintHist: ("keys",),
    ops.Match: ("operand",),
    ops.Seq: ("value",),
    ops.SetLocal: ("value",),
    ops.SetGlobal: ("value",),
    ops.AddGlobal: ("delta",),
    ops.SetMap: ("keys", "value"),
    ops.AddMap: ("keys", "delta"),
    ops.StatAdd: ("keys", "value"),
    ops.DeleteMap: ("keys",),
    ops.Store: ("addr", "value"),
    ops.SetContext: ("value",),
    ops.If: ("cond",),
    ops.Loop: ("cond",),
    ops.Foreach: ("slice", "limit"),
    ops.ForeachHist: ("stat_keys", "limit"),
    ops.Return: ("value",),
    ops.Emit: ("args",),
    ops.EmitHist: ("keys",),
    ops.Eval: ("value",),
}

_BLOCKS: Final[dict[type, tuple[str, ...]]] = {
    ops.Seq: ("body",),
    ops.If: ("then", "orelse"),
    ops.Loop: ("body", "step"),
    ops.Foreach: ("body",),
    ops.ForeachHist: ("body",),
    ops.Try: ("body", "handler"),
    ops.Locked: ("body",),
}

# Operands first, but the statements of a Seq come before its value.
_CHILDREN: Final[dict[type, tuple[str, ...]]] = {
    **_BLOCKS,
    **{kind: (*names, *_BLOCKS.get(kind, ())) for kind, names in _OPERANDS.items()},
    ops.Seq: ("body", "value"),
}


def operands(node: Node) -> list[ops.Expr]:
    """The operands of an expression or statement in the order they are evaluated."""
    found: list[ops.Expr] = []
    for name in _OPERANDS.get(node.__class__, ()):
        value = getattr(node, name)
        if isinstance(value, list):
            found += [v for v in value if v is not None]
        elif value is not None:
            found.append(value)
    return found


def rewrite_operands(node: Node, fn: Callable[[ops.Expr], ops.Expr]) -> None:
    """Replace every operand by what ``fn`` makes of it, in the order they are evaluated."""
    for name in _OPERANDS.get(node.__class__, ()):
        value = getattr(node, name)
        if isinstance(value, list):
            value[:] = [None if v is None else fn(v) for v in value]
        elif value is not None:
            setattr(node, name, fn(value))


def blocks(node: Node) -> list[list[ops.Stmt]]:
    """The statement lists directly inside a node."""
    return [getattr(node, name) for name in _BLOCKS.get(node.__class__, ())]


def children(node: Node) -> list[Node]:
    """What is directly below a node, in order; of a ``Seq`` its statements, then its value."""
    below: list[Node] = []
    for name in _CHILDREN.get(node.__class__, ()):
        value = getattr(node, name)
        if value.__class__ is list:
            below += [v for v in value if v is not None]
        elif value is not None:
            below.append(value)
    return below


def walk(node: Node) -> Iterator[Node]:
    """``node`` and all below it, parents first."""
    stack: list[Node] = [node]
    while stack:
        node = stack.pop()
        yield node
        below = children(node)
        below.reverse()
        stack += below


def walk_body(body: Iterable[Node]) -> Iterator[Node]:
    """Every node of a statement list."""
    for stmt in body:
        yield from walk(stmt)


def owners(module: Module) -> list[Function | Handler]:
    """All functions and handlers."""
    return [*module.functions, *module.handlers]


def callees(body: list[ops.Stmt]) -> list[Function]:
    """The functions that a body may call directly, in order of first mention."""
    found: dict[Function, None] = {}
    for node in walk_body(body):
        if isinstance(node, ops.Call):
            found.update(dict.fromkeys(node.targets))
        elif isinstance(node, (ops.CBody, ops.CExpr)):
            found.update(dict.fromkeys(node.accessors.values()))
    return list(found)


def reachable(body: list[ops.Stmt]) -> list[Function]:
    """The functions that a body may call directly or through others."""
    found: dict[Function, None] = dict.fromkeys(callees(body))
    waiting = list(found)
    while waiting:
        for function in callees(waiting.pop().body):
            if function not in found:
                found[function] = None
                waiting.append(function)
    return list(found)
