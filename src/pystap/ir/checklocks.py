"""The checker's part about locks: shared globals are accessed under the locks they need."""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.access import Needs, lock_needs
from pystap.ir.effects import Effects, Summaries, summarise
from pystap.ir.module import Module
from pystap.ir.types import Global
from pystap.ir.walk import blocks, operands


def check_locks(module: Module) -> list[str]:
    """Everything wrong with the lock regions of a module."""
    needs = lock_needs(module).handlers
    summaries = summarise(module)
    found: list[str] = []
    for handler in module.handlers:
        checker = _Handler(needs[handler], summaries)
        checker.block(handler.body, {}, False)
        found += [f"handler {handler.index}: {m}" for m in checker.found]
    return found


class _Handler:
    """Follows one handler.  ``block`` and ``stmt`` return whether something visible may have
    happened by their end."""

    def __init__(self, needs: Needs, summaries: Summaries) -> None:
        self.needs = needs
        self.summaries = summaries
        self.found: list[str] = []

    def block(self, body: list[ops.Stmt], held: Needs, before: bool) -> bool:
        """Statements one after another; ``before``: something visible may have happened."""
        for stmt in body:
            before = self.stmt(stmt, held, before)
        return before

    def stmt(self, stmt: ops.Stmt, held: Needs, before: bool) -> bool:
        """One statement."""
        if isinstance(stmt, ops.Locked):
            if before:
                self.found.append("lock taken after something visible")
            if held:
                self.found.append("lock region inside another")
            self.block(stmt.body, dict(stmt.locks), False)
            return True
        for operand in operands(stmt):
            effects = self.summaries.of([operand])
            self.covered(effects, held)
            before |= _visible(effects)
        parts = [list(b) for b in blocks(stmt)]
        shallow = self.own(stmt)
        self.covered(shallow, held)
        before |= _visible(shallow)
        if isinstance(stmt, (ops.Loop, ops.Foreach, ops.ForeachHist)):
            before |= any(_has_region(part) for part in parts)
        if isinstance(stmt, ops.If):
            ends = [self.block(part, held, before) for part in parts]
            return any(ends)
        for part in parts:
            before = self.block(part, held, before)
        return before

    def own(self, stmt: ops.Stmt) -> Effects:
        """Effects of a statement apart from its operands and blocks."""
        effects = Effects()
        self.summaries.note(stmt, effects)
        return effects

    def covered(self, effects: Effects, held: Needs) -> None:
        """Accesses are allowed by the locks held."""
        for g in sorted(effects.reads | effects.updates | effects.writes, key=_index):
            if g not in self.needs:
                continue
            if g not in held:
                self.found.append(f"access to {g.name} without lock")
                continue
            mode = held[g]
            wrong = (
                (g in effects.reads and "read" not in _allowed(mode))
                or (g in effects.updates and not g.wrap and "update" not in _allowed(mode))
                or (g in effects.updates and g.wrap and mode != "write")
                or (g in effects.writes and mode != "write")
            )
            if wrong:
                self.found.append(f"access to {g.name} under a lock for {mode}")


def _allowed(mode: ops.LockMode) -> tuple[str, ...]:
    return ("read", "update", "write") if mode == "write" else (mode,)


def _index(g: Global) -> int:
    return g.index


def _visible(effects: Effects) -> bool:
    return bool(effects.visible or effects.updates or effects.writes)


def _has_region(body: list[ops.Stmt]) -> bool:
    return any(isinstance(s, ops.Locked) or any(_has_region(b) for b in blocks(s)) for s in body)
