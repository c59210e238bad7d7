"""Where handlers hold the locks they need.

Which locks those are says :mod:`pystap.ir.access`.  All accesses to locked globals lie in one
region, with the locks taken together in the order of the globals, so there is no deadlock.  As
in SystemTap since 4.4 the region is the smallest piece of the handler that encloses them all.

Where the region lies
    It goes from the first to the last statement that accesses a locked global, and into the
    branches of an ``if`` or the parts of a ``try`` when only those need it; never into a loop,
    whose rounds would not be one unit then.  It begins earlier when something visible (output,
    a change of a lock-free global, a message) would happen before: a lock that cannot be had
    skips the handler, and a skipped handler must leave no trace.
"""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.access import Needs, lock_needs
from pystap.ir.effects import Effects, Summaries, summarise
from pystap.ir.module import Module
from pystap.ir.types import Global


def place_locks(module: Module, whole_handlers: bool = False) -> None:
    """Insert ``Locked`` regions and note the locks of conditions.

    ``whole_handlers`` locks whole bodies (before SystemTap 4.4).
    """
    needs = lock_needs(module)
    summaries = summarise(module)
    module.condition_locks = [_in_order(locks) for locks in needs.conditions]
    for handler in module.handlers:
        locks = needs.handlers[handler]
        if not locks:
            continue
        if whole_handlers:
            handler.body = [ops.Locked(_in_order(locks), handler.body)]
        else:
            _Placer(locks, summaries).place(handler.body)


def _in_order(locks: Needs) -> list[tuple[Global, ops.LockMode]]:
    return sorted(locks.items(), key=lambda lock: lock[0].index)


class _Placer:
    """Places the region of one handler."""

    def __init__(self, locks: Needs, summaries: Summaries) -> None:
        self.locks = locks
        self.summaries = summaries

    def place(self, body: list[ops.Stmt]) -> None:
        """Put the region into a list of statements before which nothing visible happens."""
        effects = [self.summaries.of([s]) for s in body]
        touching = [i for i, e in enumerate(effects) if self._touches(e)]
        if not touching:
            return
        last = touching[-1]
        first = next(i for i, e in enumerate(effects) if i == touching[0] or _leaves_trace(e))
        if first == last and self._descend(body[first]):
            return
        body[first : last + 1] = [ops.Locked(_in_order(self.locks), body[first : last + 1])]

    def _descend(self, stmt: ops.Stmt) -> bool:
        """Place the region inside a statement; false when it must lie around it."""
        match stmt:
            case ops.If(cond, then, orelse):
                effects = self.summaries.of([cond])
                if self._touches(effects) or _leaves_trace(effects):
                    return False
                self.place(then)
                self.place(orelse)
                return True
            case ops.Try(body, _, handler):
                effects = self.summaries.of(body)
                if self._touches(self.summaries.of(handler)):
                    if self._touches(effects) or _leaves_trace(effects):
                        return False
                    self.place(handler)
                else:
                    self.place(body)
                return True
            case _:
                return False

    def _touches(self, effects: Effects) -> bool:
        return any(
            g in effects.reads or g in effects.updates or g in effects.writes for g in self.locks
        )


def _leaves_trace(effects: Effects) -> bool:
    """Whether a handler skipped after this would have been noticed."""
    return bool(effects.visible or effects.updates or effects.writes)
