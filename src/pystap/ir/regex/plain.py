"""Subset construction for the question whether there is a match at all, then minimisation."""

from __future__ import annotations

from pystap.ir.regex import DEAD, MATCHED, Dfa
from pystap.ir.regex.classes import byte_classes
from pystap.ir.regex.nfa import Nfa
from pystap.ir.regex.syntax import RegexError
from pystap.typing import Final

MAX_DFA_STATES: Final = 4096

_Set = frozenset[int]


def build_plain(nfa: Nfa) -> Dfa:
    """The smallest table that finds a match anywhere in a string.  Raises RegexError."""
    class_of, samples = byte_classes(s.allowed for s in nfa.states if s.kind == "chars")
    builder = _Builder(nfa)
    start = builder.number({nfa.start}, at_begin=True)
    table: list[int] = [DEAD] * len(samples) + [MATCHED] * len(samples)
    at = MATCHED + 1
    while at < len(builder.sets):
        subset = builder.sets[at]
        for byte in samples:
            moved = {nfa.states[s].next[0] for s in subset if byte in nfa.states[s].allowed}
            moved.add(nfa.start)  # the search may begin anywhere
            table.append(builder.number(moved))
        at += 1
    return _minimise(class_of, len(samples), start, table, builder.at_end)


class _Builder:
    """Numbers the sets of states met; ``at_end`` tells which hold a match if nothing follows."""

    def __init__(self, nfa: Nfa) -> None:
        self.nfa = nfa
        nothing: _Set = frozenset()
        self.sets = [nothing, nothing]  # DEAD and MATCHED
        self.at_end = [False, True]
        self.numbers: dict[tuple[_Set, bool], int] = {}

    def number(self, entries: set[int], at_begin: bool = False) -> int:
        """Number of what is reached from NFA states without taking a byte."""
        subset = _closure(self.nfa, entries, at_begin)
        if self.accepts(subset):
            return MATCHED
        end = self.accepts(_closure(self.nfa, entries, at_begin, at_end=True))
        if not subset and not end:
            return DEAD
        known = self.numbers.get((subset, end))
        if known is None:
            if len(self.sets) >= MAX_DFA_STATES:
                raise RegexError("pattern is too complex", 0)
            known = self.numbers[subset, end] = len(self.sets)
            self.sets.append(subset)
            self.at_end.append(end)
        return known

    def accepts(self, subset: _Set) -> bool:
        """Whether a match is complete."""
        return any(self.nfa.states[s].kind == "accept" for s in subset)


def _closure(nfa: Nfa, entries: set[int], at_begin: bool, at_end: bool = False) -> _Set:
    """States reached without taking a byte: those that wait for one, and accept."""
    seen: set[int] = set()
    kept: set[int] = set()
    stack = list(entries)
    while stack:
        number = stack.pop()
        if number in seen:
            continue
        seen.add(number)
        state = nfa.states[number]
        if state.kind in ("chars", "accept"):
            kept.add(number)
        elif {"begin": at_begin, "end": at_end}.get(state.kind, True):
            stack += state.next
    return frozenset(kept)


def _minimise(
    class_of: bytes, classes: int, start: int, table: list[int], at_end: list[bool]
) -> Dfa:
    """Merge states that no string tells apart (Moore's refinement)."""
    block = [int(end) for end in at_end]
    count = len(set(block))
    while True:
        numbers: dict[tuple[int, ...], int] = {}
        refined = []
        for state in range(len(block)):
            row = table[state * classes : (state + 1) * classes]
            signature = (block[state], *(block[s] for s in row))
            refined.append(numbers.setdefault(signature, len(numbers)))
        block = refined
        if len(numbers) == count:
            break
        count = len(numbers)
    # Blocks are numbered in order of first state, so those of DEAD and MATCHED are 0 and 1.
    leaders = [block.index(n) for n in range(count)]
    rows = [block[s] for lead in leaders for s in table[lead * classes : (lead + 1) * classes]]
    ends = tuple(at_end[lead] for lead in leaders)
    return Dfa(class_of, classes, block[start], tuple(rows), ends)
