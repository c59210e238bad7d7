"""Determinisation with tags (Laurikari's method, with preferences).

A state is an ordered list of threads, most preferred first; a thread is a state of the NFA and,
for each tag, the register that holds its offset.  Threads that began further left come first, so
where two threads meet in one NFA state the first is kept.  As soon as a thread accepts, those
that began further right are dropped and no new ones begin; its equals go on, for a longer match.
Registers are numbered in order of appearance, so states that differ in register names only are
one.  The result registers come after those of the threads.
"""

from __future__ import annotations

from dataclasses import dataclass

from pystap.ir.regex import HERE, UNSET, Move, TaggedDfa
from pystap.ir.regex.classes import byte_classes
from pystap.ir.regex.nfa import Nfa
from pystap.ir.regex.syntax import RegexError
from pystap.typing import Final

MAX_TAGGED_STATES: Final = 4096

_Tags = tuple[int, ...]  # register, HERE or UNSET of each tag
_Thread = tuple[int, _Tags]


@dataclass(slots=True, frozen=True)
class _State:
    """Threads with registers in canonical numbering; ``open``: new threads may still begin;
    ``end``: the tags of the match there is if nothing follows."""

    threads: tuple[_Thread, ...]
    open: bool
    end: _Tags | None


def build_tagged(nfa: Nfa, groups: int) -> TaggedDfa:
    """The table that finds the leftmost longest match and its groups.  Raises RegexError."""
    class_of, samples = byte_classes(s.allowed for s in nfa.states if s.kind == "chars")
    builder = _Builder(nfa)
    fresh = (nfa.start, (UNSET,) * nfa.tags)
    start, start_map = builder.number([fresh], True, at_begin=True)
    rows: list[tuple[int, _Tags]] = []
    at = 1
    while at < len(builder.states):
        state = builder.states[at]
        for byte in samples:
            moved = [
                (nfa.states[s].next[0], tags)
                for s, tags in state.threads
                if byte in nfa.states[s].allowed
            ]
            rows.append(builder.number(moved + [fresh] * state.open, state.open))
        at += 1
    return _assemble(builder, class_of, len(samples), groups, start, start_map, rows)


class _Builder:
    """Numbers the states met; 0 is DEAD."""

    def __init__(self, nfa: Nfa) -> None:
        self.nfa = nfa
        self.states: list[_State] = [_State((), False, None)]
        self.numbers: dict[_State, int] = {self.states[0]: 0}
        self.registers = 0

    def closure(self, entries: list[_Thread], at_begin: bool, at_end: bool) -> list[_Thread]:
        """Threads that wait for a byte or accept, most preferred first."""
        seen: set[int] = set()
        found: list[_Thread] = []
        stack = entries[::-1]
        while stack:
            number, tags = stack.pop()
            if number in seen:
                continue
            seen.add(number)
            state = self.nfa.states[number]
            if state.kind in ("chars", "accept"):
                found.append((number, tags))
            elif {"begin": at_begin, "end": at_end}.get(state.kind, True):
                if state.kind == "tag":
                    tags = (*tags[: state.tag], HERE, *tags[state.tag + 1 :])
                stack += [(n, tags) for n in reversed(state.next)]
        return found

    def number(
        self, entries: list[_Thread], still_open: bool, at_begin: bool = False
    ) -> tuple[int, _Tags]:
        """Number of the state reached by threads, and where each of its registers comes from."""
        threads = self.closure(entries, at_begin, at_end=False)
        end = self.accepting(self.closure(entries, at_begin, at_end=True))
        accepting = self.accepting(threads)
        if accepting is not None:
            still_open = False
            at = next(i for i, (s, _) in enumerate(threads) if self.is_accept(s))
            threads = [t for i, t in enumerate(threads) if i <= at or t[1][0] == accepting[0]]
        if not threads and end is None:
            still_open = False  # nothing can begin where nothing has begun
        sources: dict[int, int] = {}
        for tags in [*(t for _, t in threads), end or ()]:
            for source in tags:
                if source != UNSET:
                    sources.setdefault(source, len(sources))

        def renamed(tags: _Tags) -> _Tags:
            return tuple(sources.get(t, UNSET) for t in tags)

        state = _State(
            tuple((number, renamed(tags)) for number, tags in threads),
            still_open,
            None if end is None else renamed(end),
        )
        if state not in self.numbers:
            if len(self.states) >= MAX_TAGGED_STATES:
                raise RegexError("pattern is too complex", 0)
            self.numbers[state] = len(self.states)
            self.states.append(state)
            self.registers = max(self.registers, len(sources))
        return self.numbers[state], tuple(sources)

    def is_accept(self, number: int) -> bool:
        """Whether an NFA state accepts."""
        return self.nfa.states[number].kind == "accept"

    def accepting(self, threads: list[_Thread]) -> _Tags | None:
        """Tags of the first thread that accepts."""
        return next((tags for s, tags in threads if self.is_accept(s)), None)


def _assemble(
    builder: _Builder,
    class_of: bytes,
    classes: int,
    groups: int,
    start: int,
    start_sources: _Tags,
    rows: list[tuple[int, _Tags]],
) -> TaggedDfa:
    """The tables, with result registers first and moves put in order."""
    tags = builder.nfa.tags
    spare = tags + builder.registers
    lists: dict[tuple[Move, ...], int] = {(): 0}

    def listed(targets_from: int, sources: _Tags) -> int:
        """Index of the assignment of ``sources`` (thread registers) to consecutive registers."""
        moves = {targets_from + i: s + tags if s >= 0 else s for i, s in enumerate(sources)}
        return lists.setdefault(_sequential(moves, spare), len(lists))

    table, actions = [0] * classes, [0] * classes
    for number, sources in rows:
        table.append(number)
        actions.append(listed(tags, sources))
    accept, at_end = [-1], [-1]
    for state in builder.states[1:]:
        now = builder.accepting(list(state.threads))
        accept.append(-1 if now is None else listed(0, now))
        at_end.append(-1 if state.end is None else listed(0, state.end))
    start_moves = listed(tags, start_sources)
    return TaggedDfa(
        class_of=class_of,
        classes=classes,
        groups=groups,
        registers=spare + 1,
        start=start,
        start_moves=start_moves,
        table=tuple(table),
        actions=tuple(actions),
        accept=tuple(accept),
        at_end=tuple(at_end),
        moves=tuple(lists),
    )


def _sequential(moves: dict[int, int], spare: int) -> tuple[Move, ...]:
    """Simultaneous assignments as a sequence; ``spare`` helps where they go round."""
    waiting = {target: source for target, source in moves.items() if target != source}
    done: list[Move] = []
    while waiting:
        needed = set(waiting.values())
        ready = [t for t in waiting if t not in needed]
        if ready:
            for target in ready:
                done.append((target, waiting.pop(target)))
            continue
        target = next(iter(waiting))
        done.append((spare, target))  # keep the old value for the one who needs it
        waiting = {t: spare if s == target else s for t, s in waiting.items()}
    return tuple(done)
