"""Which globals need locks, and in which handlers.

A handler runs as if alone.  Where other handlers change the same globals at the same time, it
must hold locks; :mod:`pystap.ir.locks` places them.

Which handlers run at the same time
    begin, end, error, init and never probes run while nothing else does.  A timer never overlaps
    itself.  Everything else may run on all CPUs at once.

Which globals need no lock
    - those that no two such handlers access, or that none of them changes;
    - those that they only change by commutative updates (``+=``, ``<<<``) and never read: the
      sum is the same in any order, and only an end probe sees it.  Not arrays declared with
      ``%``, where adding an element may remove another;
    - arrays whose elements belong to one thread or CPU each (:mod:`pystap.ir.private`);
    - those accessed only by operations that are atomic by themselves (reading, setting or adding
      to a number, or to an array element when nothing is ever deleted), each the only access of
      its handler to any variable shared this way, so that no handler can tell in which order
      others ran.

Conditions
    The condition of a probe is a piece of its own, evaluated before the handler runs.  One that
    reads a single number needs no lock: it is allowed to be late.

Lock modes
    A handler that changes a global (other than by commutative updates), or both reads and
    updates it, takes it for writing; otherwise for updating or for reading.
"""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.module import Function, Handler, Module
from pystap.ir.private import private_arrays
from pystap.ir.types import Global, Ty
from pystap.ir.walk import Node, blocks, operands, reachable, walk_body
from pystap.probes.attach import SessionEvent, Timer
from pystap.records import dataclass, field
from pystap.typing import Final, Literal, NamedTuple, TypeAlias

Needs: TypeAlias = dict[Global, ops.LockMode]
_MANY: Final = 2
_MAY_REPEAT: Final = (ops.Loop, ops.Foreach, ops.ForeachHist, ops.CBody, ops.CExpr)


class LockNeeds(NamedTuple):
    """The locks to hold while globals are accessed, by handlers and by ``Module.conditions``."""

    handlers: dict[Handler, Needs]
    conditions: list[Needs]


def lock_needs(module: Module) -> LockNeeds:
    """The locks each handler and each condition must hold while it accesses globals."""
    summary = _AccessSummary()
    conditions = [Handler(-1, [], [ops.Eval(expr)]) for expr in module.conditions]
    access = {h: summary.body(h.body) for h in (*module.handlers, *conditions)}
    free_to_read = {c for c in conditions if _reads_one_number(access[c])}
    running = _concurrent(module, conditions)
    together = [h for h in access if running[h] != "alone" and h not in free_to_read]
    shared = _contended(running, {h: access[h] for h in together})
    shared -= private_arrays(module, together)
    free = _atomic(shared, [access[h] for h in together])
    needs: dict[Handler, Needs] = {h: {} for h in access}
    for handler in together:
        mine = access[handler]
        needs[handler] = {g: a.mode for g, a in mine.items() if g in shared and g not in free}
    return LockNeeds({h: needs[h] for h in module.handlers}, [needs[c] for c in conditions])


def _reads_one_number(accesses: _Accesses) -> bool:
    """Whether a condition reads one global of type long, once."""
    scalars = [a for g, a in accesses.items() if g.kind == "scalar" and a.atomic]
    return len(scalars) == len(accesses) == sum(a.count for a in accesses.values()) == 1


# --- who runs when ------------------------------------------------------------------------------

_Running = Literal["alone", "serial", "parallel"]


def _concurrent(module: Module, conditions: list[Handler]) -> dict[Handler, _Running]:
    """Whether a handler or condition runs alone, not at the same time as itself, or anyhow."""
    result: dict[Handler, _Running] = {}
    places = {
        h: [p.attach for p in module.probes if p.handler == h.index] for h in module.handlers
    }
    for index, condition in enumerate(conditions):
        places[condition] = [p.attach for p in module.probes if p.condition == index]
    for handler, attached in places.items():
        events = [a for a in attached if not isinstance(a, SessionEvent)]
        if not events:
            result[handler] = "alone"
        elif len(attached) == 1 and isinstance(events[0], Timer):
            result[handler] = "serial"
        else:
            result[handler] = "parallel"
    return result


# --- what handlers access -----------------------------------------------------------------------


@dataclass(slots=True)
class _Access:
    """How a piece of code accesses one global; ``count`` is how often at most (2: or more)."""

    reads: bool = False
    updates: bool = False
    writes: bool = False
    atomic: bool = True
    count: int = 0

    @property
    def mode(self) -> ops.LockMode:
        """The lock it takes."""
        if self.writes or (self.reads and self.updates):
            return "write"
        return "update" if self.updates else "read"

    def merge(self, other: _Access, count: int) -> None:
        """Take over another piece's access; ``count`` is that of both together."""
        self.reads |= other.reads
        self.updates |= other.updates
        self.writes |= other.writes
        self.atomic &= other.atomic
        self.count = min(count, _MANY)


_Accesses: TypeAlias = dict[Global, _Access]


@dataclass(slots=True)
class _AccessSummary:
    """Accesses of code pieces, those of called functions included."""

    functions: dict[Function, _Accesses] = field(default_factory=dict)

    def body(self, body: list[ops.Stmt]) -> _Accesses:
        """Accesses of statements that run one after another."""
        found: _Accesses = {}
        for stmt in body:
            _then(found, self.node(stmt))
        return found

    def node(self, node: Node) -> _Accesses:
        """Accesses of one statement or expression."""
        parts = [self.node(o) for o in operands(node)]
        below = [self.body(b) for b in blocks(node)]
        found: _Accesses = {}
        match node:
            case ops.If():
                _then(found, parts[0])
                _then(found, _either(below[0], below[1]))
                return found
            case ops.Cond():
                _then(found, parts[0])
                _then(found, _either(parts[1], parts[2]))
                return found
            case ops.Call(targets):
                below = [self.function(t) for t in targets]
            case ops.CBody() | ops.CExpr():
                below = [self.function(t) for t in node.accessors.values()]
            case _:
                pass
        for part in [*parts, *below]:
            _then(found, part)
        own = _own_access(node)
        if own is not None:
            _then(found, {own[0]: own[1]})
        if isinstance(node, _MAY_REPEAT):
            for access in found.values():
                access.count = _MANY
        return found

    def function(self, function: Function) -> _Accesses:
        """Accesses of one call."""
        known = self.functions.get(function)
        if known is None:
            if function.recursive:
                known = self._recursive(function)
            else:
                known = self.body(function.body)
            self.functions[function] = known
        return known

    def _recursive(self, function: Function) -> _Accesses:
        """Everything in the reach of a recursive function, any number of times."""
        found: _Accesses = {}
        for member in reachable(function.body):
            for node in walk_body(member.body):
                own = _own_access(node)
                if own is not None:
                    _then(found, {own[0]: own[1]})
        for access in found.values():
            access.count = _MANY
        return found


def _then(found: _Accesses, other: _Accesses) -> None:
    """Add what happens after."""
    for g, access in other.items():
        mine = found.setdefault(g, _Access())
        mine.merge(access, mine.count + access.count)


def _either(one: _Accesses, other: _Accesses) -> _Accesses:
    """Of two pieces only one runs."""
    found: _Accesses = {}
    for g in [*one, *other]:
        if g not in found:
            parts = [a for a in (one.get(g), other.get(g)) if a is not None]
            access = found[g] = _Access()
            for part in parts:
                access.merge(part, max(p.count for p in parts))
    return found


def _own_access(node: Node) -> tuple[Global, _Access] | None:
    """The access that one node makes itself."""
    match node:
        case ops.GlobalGet(g):
            return g, _Access(reads=True, atomic=g.value is Ty.LONG, count=1)
        case ops.MapGet(g):
            return g, _Access(reads=True, atomic=_plain(g), count=1)
        case ops.MapHas(g, keys):
            return g, _Access(reads=True, atomic=not g.wrap and None not in keys, count=1)
        case ops.StatGet(var=g) | ops.HistGet(var=g) | ops.SprintHist(var=g) | ops.EmitHist(var=g):
            return g, _Access(reads=True, atomic=False, count=1)
        case ops.Foreach(var=g) | ops.ForeachHist(stat=g):
            return g, _Access(reads=True, atomic=False, count=1)
        case ops.AddGlobal(g):
            return g, _Access(updates=True, count=1)
        case ops.AddMap(g):
            return g, _Access(updates=not g.wrap, writes=g.wrap, atomic=not g.wrap, count=1)
        case ops.StatAdd(g):
            return g, _Access(updates=not g.wrap, writes=g.wrap, atomic=False, count=1)
        case ops.SetGlobal(g):
            return g, _Access(writes=True, atomic=g.value is Ty.LONG, count=1)
        case ops.SetMap(g):
            return g, _Access(writes=True, atomic=_plain(g), count=1)
        case ops.DeleteGlobal(g):
            atomic = g.kind == "scalar" and g.value is Ty.LONG
            return g, _Access(writes=True, atomic=atomic, count=1)
        case ops.DeleteMap(g):
            return g, _Access(writes=True, atomic=False, count=1)
        case _:
            return None


def _plain(array: Global) -> bool:
    """Whether an element can be read or set in one step: a number that stays in its place."""
    return array.value is Ty.LONG and not array.wrap


# --- what follows -------------------------------------------------------------------------------


def _contended(running: dict[Handler, _Running], access: dict[Handler, _Accesses]) -> set[Global]:
    """Globals that handlers running at the same time could notice each other by."""
    users: dict[Global, list[Handler]] = {}
    for handler, accesses in access.items():
        for g in accesses:
            users.setdefault(g, []).append(handler)
    found = set()
    for g, handlers in users.items():
        uses = [access[h][g] for h in handlers]
        constant = not any(a.updates or a.writes for a in uses)
        only_updated = not any(a.reads or a.writes for a in uses)
        one_at_a_time = len(handlers) == 1 and running[handlers[0]] == "serial"
        if not (constant or only_updated or one_at_a_time):
            found.add(g)
    return found


def _atomic(shared: set[Global], pieces: list[_Accesses]) -> set[Global]:
    """Shared globals that single atomic operations access, one in each piece."""
    free = set(shared)
    for accesses in pieces:
        used = {g: a for g, a in accesses.items() if g in shared}
        if sum(a.count for a in used.values()) > 1:
            free -= used.keys()
        free -= {g for g, a in used.items() if not a.atomic}
    return free
