"""Recursion and the depth of calls: marks recursive functions and computes MAXNESTING."""

from __future__ import annotations

from pystap.ir.module import Function, Module
from pystap.ir.walk import callees
from pystap.typing import Final

_EXTRA: Final = 10  # levels granted to recursive programs


def note_nesting(module: Module) -> None:
    """Set ``Function.recursive`` and, unless ``-D MAXNESTING`` gave it, ``limits.maxnesting``:
    the deepest chain of calls plus one, plus ten when anything recurses (language.md §14)."""
    graph = {f: callees(f.body) for f in module.functions}
    for function in module.functions:
        function.recursive = _reaches(graph, function, function)
    if "MAXNESTING" in module.limits.defines:
        return
    depth: dict[Function, int] = {}
    deepest = 0
    for handler in module.handlers:
        for called in callees(handler.body):
            deepest = max(deepest, _depth(graph, called, depth))
    extra = _EXTRA if any(f.recursive for f in module.functions) else 0
    module.limits.maxnesting = deepest + 1 + extra


def _reaches(graph: dict[Function, list[Function]], start: Function, goal: Function) -> bool:
    """Whether a chain of calls leads from ``start`` to ``goal``."""
    seen: set[Function] = set()
    waiting = list(graph[start])
    while waiting:
        function = waiting.pop()
        if function is goal:
            return True
        if function not in seen:
            seen.add(function)
            waiting += graph[function]
    return False


def _depth(graph: dict[Function, list[Function]], at: Function, known: dict[Function, int]) -> int:
    """Longest chain of calls from ``at`` without going round."""
    if at not in known:
        known[at] = 0  # met again below: a cycle
        known[at] = 1 + max((_depth(graph, f, known) for f in graph[at]), default=0)
    return known[at]
