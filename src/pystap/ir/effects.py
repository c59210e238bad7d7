"""What running a piece of IR may touch: globals, locals and the world outside.

Used by lowering (is a temporary needed?), by operand ordering, by lock placement and by the
checker.  The effects of a call are those of everything it can reach.
"""

from __future__ import annotations

from collections.abc import Iterable

from pystap.ir import ops
from pystap.ir.intrinsics import INTRINSICS
from pystap.ir.module import Function, Module
from pystap.ir.types import Global, LocalVar
from pystap.ir.walk import Node, children
from pystap.records import dataclass, field
from pystap.typing import Final

# Intrinsics that something outside the handler can notice.
_VISIBLE: Final = frozenset(
    {"warn", "exit", "abort", "system", "raise_signal", "file_set", "file_append"}
)


@dataclass(slots=True)
class Effects:
    """Sets of globals read, changed by commutative updates and changed otherwise, of locals
    set; ``visible``: prints or acts outside; ``fails``: may raise a run-time error; ``keeps``:
    must run even when its value is not used; ``unknown``: may do anything (a function that is
    still being translated)."""

    reads: set[Global] = field(default_factory=set)
    updates: set[Global] = field(default_factory=set)
    writes: set[Global] = field(default_factory=set)
    locals_set: set[LocalVar] = field(default_factory=set)
    visible: bool = False
    fails: bool = False
    keeps: bool = False
    unknown: bool = False

    def add(self, other: Effects, with_locals: bool = True) -> None:
        """Take over the effects of another piece (of a callee: without its locals)."""
        self.reads |= other.reads
        self.updates |= other.updates
        self.writes |= other.writes
        if with_locals:
            self.locals_set |= other.locals_set
        self.visible |= other.visible
        self.fails |= other.fails
        self.keeps |= other.keeps
        self.unknown |= other.unknown

    def changes(self, var: Global | LocalVar) -> bool:
        """Whether a variable may have another value afterwards."""
        if isinstance(var, LocalVar):
            return var in self.locals_set
        return self.unknown or var in self.writes or var in self.updates

    @property
    def none(self) -> bool:
        """Whether a piece may be dropped when its value is not used."""
        return not (
            self.updates
            or self.writes
            or self.locals_set
            or self.visible
            or self.fails
            or self.keeps
            or self.unknown
        )


class Summaries:
    """Effects of functions.  A function that has no entry counts as unknown."""

    def __init__(self) -> None:
        self.of_function: dict[Function, Effects] = {}
        self._remembered: dict[int, tuple[Node, Effects]] = {}

    def of(self, nodes: Iterable[Node]) -> Effects:
        """Effects of statements or expressions with everything below them."""
        found = Effects()
        waiting = list(nodes)
        while waiting:
            node = waiting.pop()
            known = self._remembered.get(id(node))
            if known is not None:
                found.add(known[1])
                continue
            self.note(node, found)
            waiting += children(node)
        return found

    def remember(self, node: Node) -> Effects:
        """Effects of a node that will not change any more: asked for again, they cost little."""
        effects = self.of([node])
        self._remembered[id(node)] = (node, effects)
        return effects

    def note(self, node: Node, found: Effects) -> None:
        """Effects of one node without its operands."""
        match node:
            case ops.GlobalGet(g) | ops.MapGet(g) | ops.MapHas(g):
                found.reads.add(g)
            case ops.StatGet(op, g, pos=pos):
                found.reads.add(g)
                found.fails |= pos >= 0 and op not in ("count", "sum")
            case ops.HistGet(var=g) | ops.SprintHist(var=g) | ops.Foreach(var=g):
                found.reads.add(g)
                found.fails |= not isinstance(node, ops.Foreach)
            case ops.ForeachHist(stat=g):
                found.reads.add(g)
                found.fails = True
            case ops.EmitHist(var=g):
                found.reads.add(g)
                found.fails = found.visible = True
            case ops.AddGlobal(g):
                found.updates.add(g)
            case ops.AddMap(g) | ops.StatAdd(g):
                found.updates.add(g)
                found.fails |= g.kind == "array"
            case ops.SetMap(g):
                found.writes.add(g)
                found.fails = True
            case ops.SetGlobal(g) | ops.DeleteGlobal(g) | ops.DeleteMap(g):
                found.writes.add(g)
            case ops.Call():
                self._note_functions(node.targets, found)
            case ops.CBody() | ops.CExpr():
                found.visible |= not node.pure
                found.fails |= bool(node.accessors) or node.text.may_fail
                found.keeps |= isinstance(node, ops.CBody) and node.passes
                self._note_functions(node.accessors.values(), found)
            case _:
                _note_other(node, found)
        _note_locals(node, found)

    def _note_functions(self, targets: Iterable[Function], found: Effects) -> None:
        for target in targets:
            known = self.of_function.get(target)
            if known is None:
                found.unknown = found.visible = found.fails = True
            else:
                found.add(known, with_locals=False)


def _note_other(node: Node, found: Effects) -> None:
    match node:
        case ops.Intrinsic(name):
            info = INTRINSICS[name]
            found.visible |= name in _VISIBLE
            found.fails |= info.fallible
            found.keeps |= not info.pure
        case ops.Match():
            found.keeps = True  # matched() asks about it later
        case ops.Arith(pos=pos) | ops.Load(pos=pos):
            found.fails |= pos >= 0
        case ops.Action():
            found.fails = True
        case ops.Emit():
            found.visible = True
        case ops.Store() | ops.SetContext():
            found.visible = found.fails = True
        case ops.Return() | ops.Next() | ops.Break() | ops.Continue() | ops.Loop():
            found.keeps = True  # control flow, or may never end
        case _:
            pass


def _note_locals(node: Node, found: Effects) -> None:
    match node:
        case ops.SetLocal(var):
            found.locals_set.add(var)
        case ops.Foreach(keys=keys, value=value):
            found.locals_set.update(keys)
            if value is not None:
                found.locals_set.add(value)
        case ops.ForeachHist(bucket=bucket):
            found.locals_set.add(bucket)
        case ops.Try(var=var) if var is not None:
            found.locals_set.add(var)
        case _:
            pass


def summarise(module: Module) -> Summaries:
    """Effects of every function of a module, recursion included (least fixed point)."""
    summaries = Summaries()
    known = summaries.of_function
    for function in module.functions:
        known[function] = Effects()
    changed = True
    while changed:
        changed = False
        for function in module.functions:
            effects = summaries.of(function.body)
            effects.locals_set = set()
            effects.fails |= function.recursive
            if effects != known[function]:
                known[function] = effects
                changed = True
    return summaries
