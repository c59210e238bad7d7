"""Functions that can come back to themselves."""

from __future__ import annotations

from pystap.sema.elide import Live


def note_recursion(live: Live) -> None:
    """Mark the recursive functions of the program."""
    for function in live.functions:
        calls = live.effects.own(function).calls
        function.recursive = bool(calls) and function in live.effects.reachable(calls)
