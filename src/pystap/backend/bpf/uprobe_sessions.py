"""Values that returns have from the entry of the call, kept by the kernel.

A handler at a return with ``@entry`` comes with one at the entry; both share arrays, by thread
and depth (:mod:`pystap.sema.entry`).  Where the kernel has session links, one program stands at
both places, and the kernel keeps 8 bytes for each call.  A single long goes there instead: no
arrays, no locks, and the value is that of the call whatever happened to calls inside of it, in a
child that was forked inside the function, too.
"""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.types import Ty
from pystap.ir.walk import blocks, children, walk_body
from pystap.probes.attach import Uprobe
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.backend.bpf.facts import KernelFacts
    from pystap.ir.module import Handler, Module
    from pystap.ir.types import Global, LocalVar
    from pystap.ir.walk import Node

_USES_AT_RETURN: Final = 8  # operations on the arrays, as _taken knows them


class Pair(NamedTuple):
    """Indexes of probes: the entry and the return of the same function."""

    entry: int
    back: int


class _Taken(NamedTuple):
    """What the return does with the value: the arrays it is in and the local it goes to."""

    depth: Global
    value: Global
    local: LocalVar


def pair_probes(module: Module, kernel: KernelFacts) -> list[Pair]:
    """The pairs that one program can serve; their handlers no longer use arrays."""
    if module.limits.timing == "hits":  # handlers do not run
        return []
    found: list[Pair] = []
    for back in list(module.handlers):
        taken = _taken(back)
        if taken is None or len(_uses(back.body, taken)) != _USES_AT_RETURN:
            continue
        entry = _only_other(module, taken, back)
        pairs = _same_places(module, entry, back) if entry is not None else []
        if entry is None or not pairs or not _stored_once(entry, taken):
            continue
        if not kernel.has("uprobe_session"):
            return []
        _save_in_call(entry, taken)
        back.body = _without_locks(back.body, taken)
        back.body = [_from_call(stmt, taken) for stmt in back.body]
        gone = (id(taken.depth), id(taken.value))
        module.globals = [var for var in module.globals if id(var) not in gone]
        found += pairs
    return found


# ---- recognizing


def _taken(handler: Handler) -> _Taken | None:
    """The beginning of a return's handler with one long of the entry."""
    first = handler.body[0] if handler.body else None
    if isinstance(first, ops.Locked):
        first = first.body[0] if first.body else None
    match first:
        case ops.If(
            ops.MapGet(depth),
            [
                ops.SetLocal(local, ops.MapGet(value)),
                ops.DeleteMap(deleted),
                ops.AddMap(lowered),
                ops.If(_, [ops.DeleteMap()], []),
            ],
            [ops.Next()],
        ) if value.value is Ty.LONG and deleted is value and lowered is depth:
            return _Taken(depth, value, local)
    return None


def _only_other(module: Module, taken: _Taken, back: Handler) -> Handler | None:
    """The one handler besides that uses the arrays, if no function does."""
    if any(_uses(function.body, taken) for function in module.functions):
        return None
    used = [h for h in module.handlers if h is not back and _uses(h.body, taken)]
    return used[0] if len(used) == 1 else None


def _uses(body: list[ops.Stmt], taken: _Taken) -> list[Node]:
    """The operations on the arrays."""
    nodes = ((node, getattr(node, "var", None)) for node in walk_body(body))
    return [node for node, var in nodes if var is taken.depth or var is taken.value]


def _same_places(module: Module, entry: Handler, back: Handler) -> list[Pair]:
    """Entry and return of each function; none unless all of both handlers' probes fit."""
    entries = [i for i, p in enumerate(module.probes) if p.handler == entry.index]
    returns = [i for i, p in enumerate(module.probes) if p.handler == back.index]
    if len(entries) != len(returns):
        return []
    pairs = [Pair(*pair) for pair in zip(entries, returns)]
    return pairs if all(_same_place(module, pair) for pair in pairs) else []


def _same_place(module: Module, pair: Pair) -> bool:
    entry, back = module.probes[pair.entry], module.probes[pair.back]
    if not (isinstance(entry.attach, Uprobe) and isinstance(back.attach, Uprobe)):
        return False
    same = entry.attach == back.attach._replace(is_return=False, body=0)
    return same and back.attach.is_return and entry.condition == back.condition


def _stored_once(entry: Handler, taken: _Taken) -> bool:
    """Whether an entry's handler does nothing with the arrays but count and store."""
    using = _uses(entry.body, taken)
    stores = [node for node in using if isinstance(node, ops.SetMap)]
    keys = [node for node in using if isinstance(node, ops.MapGet)]
    counts = [node for node in using if isinstance(node, ops.AddMap)]
    return [len(stores), len(keys), len(counts)] == [1, 1, 1] and len(using) == 3


# ---- rewriting


def _save_in_call(entry: Handler, taken: _Taken) -> None:
    entry.body = _without_locks(entry.body, taken)
    _rewrite(entry.body, taken)


def _rewrite(body: list[ops.Stmt], taken: _Taken) -> None:
    """Counting becomes the note that there is a value, 0 so far; storing gives it."""
    for at, stmt in enumerate(body):
        match stmt:
            case ops.AddMap(var, _, _, pos) if var is taken.depth:
                body[at] = ops.SetContext("saved", 0, 64, ops.Const(0), pos)
            case ops.SetMap(var, _, value, pos) if var is taken.value:
                body[at] = ops.SetContext("saved", 0, 64, value, pos)
            case _:
                for inner in blocks(stmt):
                    _rewrite(inner, taken)


def _without_locks(body: list[ops.Stmt], taken: _Taken) -> list[ops.Stmt]:
    """The statements with the arrays' locks left out."""
    result: list[ops.Stmt] = []
    for stmt in body:
        if isinstance(stmt, ops.Locked):
            gone = (id(taken.depth), id(taken.value))
            stmt.locks = [lock for lock in stmt.locks if id(lock[0]) not in gone]
            if not stmt.locks:
                result += stmt.body
                continue
        result.append(stmt)
    return result


def _from_call(stmt: ops.Stmt, taken: _Taken) -> ops.Stmt:
    if isinstance(stmt, ops.Locked):
        stmt.body = [_from_call(inner, taken) for inner in stmt.body]
        return stmt
    if any(getattr(node, "var", None) is taken.depth for node in children(stmt)):
        return ops.SetLocal(taken.local, ops.ContextValue("saved"))
    return stmt
