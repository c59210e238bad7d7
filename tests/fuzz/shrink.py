"""Cuts a failing program down to what makes it fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from .programs import Program
from .tree import Node, node

_KEPT = ("-w", "-T0.001")  # without the latter a program may never end
_LITERALS = {"long": ("0", "1"), "string": ('""', '"a"')}


def shrink(program: Program, fails: Callable[[Program], bool], seconds: float) -> Program:
    """The smallest program found in some time for which ``fails`` still holds."""
    deadline = time.monotonic() + seconds
    program = _fewer_options(program, fails)
    length = len(str(program.tree))
    before = length + 1
    while length < before:
        before = length
        for undo in _changes(program.tree):
            now = len(str(program.tree))
            if now < length and time.monotonic() < deadline and fails(program):
                length = now
            else:
                undo()
    return program


def _fewer_options(program: Program, fails: Callable[[Program], bool]) -> Program:
    for option in program.options:
        fewer = replace(program, options=tuple(o for o in program.options if o != option))
        if option not in _KEPT and fails(fewer):
            program = fewer
    return program


def _changes(tree: Node) -> Iterator[Callable[[], None]]:
    """Makes one change after the other in place; each gives what takes it back."""
    for kinds, change in (
        (("program", "block", "fixed"), _removals),
        (("stmt", "long", "string"), _replacements),
    ):
        for each in list(tree.nodes()):
            if each.kind in kinds and any(n is each for n in tree.nodes()):  # not gone since
                yield from change(each)


def _removals(parent: Node) -> Iterator[Callable[[], None]]:
    """Without some of the statements (or items): halves first, then one by one."""
    size = len(parent.parts) // 2
    while size:
        at = 0
        while at < len(parent.parts):
            before = parent.parts
            gone = [
                p
                for p in before[at : at + size]
                if isinstance(p, Node) and p.kind in ("stmt", "item")
            ]
            if not gone:
                at += size
                continue
            parent.parts = [p for p in before if not any(p is g for g in gone)]
            yield _restorer(parent, before)
            at += 0 if parent.parts is not before else size
        size //= 2


def _replacements(parent: Node) -> Iterator[Callable[[], None]]:
    """A smaller piece of the same kind in its place."""
    if parent.kind == "stmt":
        smaller = [n for n in parent.nodes() if n is not parent and n.kind in ("stmt", "block")]
    else:
        literals = _LITERALS[parent.kind]
        if str(parent) in literals:
            return
        smaller = [node(parent.kind, text) for text in literals]
        smaller += [n for n in parent.nodes() if n is not parent and n.kind == parent.kind]
    for candidate in smaller:
        before = parent.parts
        parent.parts = list(candidate.parts)
        yield _restorer(parent, before)
        if parent.parts is not before:
            return


def _restorer(parent: Node, parts: list[str | Node]) -> Callable[[], None]:
    def undo() -> None:
        parent.parts = parts

    return undo
