"""Arrays whose elements belong to one thread or CPU each.

``start[tid()] = t`` in one handler and ``start[tid()]`` in another touch the same element only
on the same thread, and a thread runs one handler at a time: handlers of events do not nest, a
hit inside a handler is skipped.  The same holds for ``cpu()``.  So an array that all handlers
access by single elements, with ``tid()`` (or ``cpu()``) in the same key part, needs no lock.
Timers, profiles and perf events interrupt handlers of events, so they must not access it.
Tracepoints and functions of the kernel occur on idle CPUs too, whose threads all have number 0,
and events of processes may speak of another thread than the one they fire in: these may go by
``cpu()`` only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pystap.ir import ops
from pystap.ir.module import Function, Handler, Module
from pystap.ir.types import Global, LocalVar
from pystap.ir.walk import Node, blocks, operands, reachable, walk_body
from pystap.probes.attach import KernelFunction, ProcessEvent, SyscallEvent, Tracepoint, Uprobe
from pystap.typing import Final, TypeAlias

_NUMBERED: Final = (SyscallEvent, Uprobe)  # fire in threads with numbers of their own
_BY_CPU: Final = (*_NUMBERED, Tracepoint, ProcessEvent, KernelFunction)

_Columns: TypeAlias = frozenset[tuple[int, str]]  # key parts that name the owner, and how
_Known: TypeAlias = dict[LocalVar, str]


def private_arrays(module: Module, handlers: Iterable[Handler]) -> set[Global]:
    """The private arrays, considering ``handlers``: those that may run at the same time."""
    columns: dict[Global, _Columns] = {}
    for handler in handlers:
        attached = [p.attach for p in module.probes if p.handler == handler.index]
        owners = set()
        if all(isinstance(a, _NUMBERED) for a in attached):
            owners.add("tid")
        if all(isinstance(a, _BY_CPU) for a in attached):
            owners.add("cpu")
        pieces: list[Function | Handler] = [handler, *reachable(handler.body)]
        for piece in pieces:
            _Scan(piece, columns, owners).block(piece.body, {})
    return {g for g, found in columns.items() if found and not g.wrap}


class _Scan:
    """Looks at the accesses of one function or handler."""

    def __init__(
        self, piece: Function | Handler, columns: dict[Global, _Columns], owners: set[str]
    ) -> None:
        self.columns = columns
        self.owners = owners
        sets: Counter[LocalVar] = Counter()
        for node in walk_body(piece.body):
            match node:
                case ops.SetLocal(var) | ops.ForeachHist(bucket=var):
                    sets[var] += 1
                case ops.Foreach(keys=keys, value=value):
                    sets.update(keys)
                    sets.update([value] if value else [])
                case ops.Try(var=caught) if caught is not None:
                    sets[caught] += 1
        self.once = {var for var, count in sets.items() if count == 1}

    def block(self, body: list[ops.Stmt], known: _Known) -> None:
        """Statements in order; ``known``: locals that hold an owner."""
        known = dict(known)
        for stmt in body:
            self.node(stmt, known)
            if isinstance(stmt, ops.SetLocal) and stmt.var in self.once:
                name = self.owner(stmt.value, known)
                if name:
                    known[stmt.var] = name

    def node(self, node: Node, known: _Known) -> None:
        """One statement or expression and what is below it."""
        if isinstance(node, ops.Seq):
            self.block(node.body, known)  # its value is looked at without what it sets
        for operand in operands(node):
            self.node(operand, known)
        if not isinstance(node, ops.Seq):
            for block in blocks(node):
                self.block(block, known)
        self.access(node, known)

    def access(self, node: Node, known: _Known) -> None:
        """Narrow down the columns of the array that a node accesses."""
        match node:
            case (
                ops.MapGet(g, keys)
                | ops.MapHas(g, keys)
                | ops.SetMap(g, keys)
                | ops.AddMap(g, keys)
                | ops.DeleteMap(g, keys)
                | ops.StatAdd(g, keys)
                | ops.StatGet(_, g, keys)
                | ops.HistGet(_, g, keys)
            ):
                named = [(i, self.owner(k, known)) for i, k in enumerate(keys) if k is not None]
                self.narrow(g, frozenset((i, name) for i, name in named if name))
            case ops.Foreach(var=g) | ops.DeleteGlobal(g):
                self.narrow(g, frozenset())
            case ops.SprintHist(var=g) | ops.EmitHist(var=g) | ops.ForeachHist(stat=g):
                self.narrow(g, frozenset())
            case _:
                pass

    def narrow(self, g: Global, found: _Columns) -> None:
        """Keep what all accesses have in common."""
        self.columns[g] = self.columns[g] & found if g in self.columns else found

    def owner(self, expr: ops.Expr, known: _Known) -> str:
        """``tid`` or ``cpu`` when an expression is that and tells owners apart here."""
        match expr:
            case ops.Intrinsic(name) if name in self.owners:
                return name
            case ops.Local(var):
                return known.get(var, "")
            case _:
                return ""
