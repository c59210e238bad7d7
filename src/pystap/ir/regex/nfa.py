"""Thompson's construction, with preferences and tags."""

from __future__ import annotations

from pystap.ir.regex import syntax
from pystap.ir.regex.syntax import RegexError, Tree
from pystap.records import dataclass, field
from pystap.typing import Final, Literal

MAX_STATES: Final = 20_000

StateKind = Literal["chars", "split", "begin", "end", "tag", "accept"]


@dataclass(slots=True)
class State:
    """One step.

    ``chars`` takes a byte of ``allowed``; the others take nothing: ``split`` goes on to ``next``
    in order of preference, ``begin`` and ``end`` only at the edges of the subject, ``tag`` notes
    the place in tag ``tag``.
    """

    kind: StateKind
    next: list[int] = field(default_factory=list)
    allowed: frozenset[int] = frozenset()
    tag: int = -1


@dataclass(slots=True)
class Nfa:
    """States, the first one, and the number of tags (two a group: begin and end)."""

    states: list[State]
    start: int
    tags: int


def build_nfa(tree: Tree, groups: int, captures: bool) -> Nfa:
    """The automaton of a tree.  Without ``captures`` it has no tags.

    Raises RegexError when repeat counts make it too big.
    """
    builder = _Builder(captures)
    accept = builder.add(State("accept"))
    start = builder.build(tree, accept)
    return Nfa(builder.states, start, 2 * groups if captures else 0)


class _Builder:
    """Builds from the end: every tree is given the state that follows it."""

    def __init__(self, captures: bool) -> None:
        self.captures = captures
        self.states: list[State] = []

    def add(self, state: State) -> int:
        """Number of a new state."""
        if len(self.states) >= MAX_STATES:
            raise RegexError("pattern is too big", 0)
        self.states.append(state)
        return len(self.states) - 1

    def build(self, tree: Tree, follow: int) -> int:
        """States for a tree that go on to ``follow``; gives the first of them."""
        match tree:
            case syntax.Chars(allowed):
                return self.add(State("chars", [follow], allowed))
            case syntax.Anchor(end):
                return self.add(State("end" if end else "begin", [follow]))
            case syntax.Sequence(parts):
                for part in reversed(parts):
                    follow = self.build(part, follow)
                return follow
            case syntax.Choice(options):
                return self.add(State("split", [self.build(o, follow) for o in options]))
            case syntax.Repeat(body, least, most):
                return self.repeat(body, least, most, follow)
            case syntax.Group(body, number):
                if not self.captures:
                    return self.build(body, follow)
                close = self.add(State("tag", [follow], tag=2 * number + 1))
                return self.add(State("tag", [self.build(body, close)], tag=2 * number))

    def repeat(self, body: Tree, least: int, most: int | None, follow: int) -> int:
        """Copies of ``body``: first those that must be, then those that may."""
        if most is None:
            loop = self.add(State("split"))
            self.states[loop].next = [self.build(body, loop), follow]
            follow = loop
        else:
            leave = follow
            for _ in range(most - least):
                follow = self.add(State("split", [self.build(body, follow), leave]))
        for _ in range(least):
            follow = self.build(body, follow)
        return follow
