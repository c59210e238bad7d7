"""What names a random program has, and where it is being written."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

LONG, STRING, STATS = "long", "string", "stats"


@dataclass(frozen=True)
class Array:
    """An array global; ``keys`` are the types of its keys."""

    name: str
    keys: tuple[str, ...]
    value: str
    declaration: str


@dataclass(frozen=True)
class Function:
    """A function; ``writes`` are the arrays it (or what it calls) changes."""

    name: str
    params: tuple[str, ...]
    result: str
    writes: frozenset[str]
    recursive: bool


@dataclass
class World:
    """The globals and functions of a program, and how deep its statements may nest."""

    deepest: int = 3
    scalars: dict[str, str] = field(default_factory=dict)  # name -> type
    arrays: list[Array] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)


@dataclass
class Place:
    """Where a statement or expression is written.

    ``iterated`` are the arrays that must not be changed here; ``writes`` collects what is
    changed; ``calls`` are the functions that may be called; ``depth`` is how deep statements nest.
    """

    world: World
    rng: random.Random
    locals: dict[str, str]
    calls: list[Function]
    function: Function | None = None
    iterated: frozenset[str] = frozenset()
    depth: int = 0
    in_loop: bool = False
    writes: set[str] = field(default_factory=set)
    counters: list[int] = field(default_factory=lambda: [0])

    def inside(self, *, loop: bool | None = None, iterated: str = "") -> Place:
        """One level further in."""
        return Place(
            self.world,
            self.rng,
            dict(self.locals),
            self.calls,
            self.function,
            self.iterated | {iterated} if iterated else self.iterated,
            self.depth + 1,
            self.in_loop if loop is None else loop,
            self.writes,
            self.counters,
        )

    def fresh(self, prefix: str) -> str:
        """A name of a local that is used nowhere else."""
        self.counters[0] += 1
        return f"{prefix}{self.counters[0]}"

    def names(self, wanted: str) -> list[str]:
        """Variables of a type that can be read and written."""
        mine = [n for n, ty in self.locals.items() if ty == wanted]
        return mine + [n for n, ty in self.world.scalars.items() if ty == wanted]

    def arrays(self, value: str, *, writable: bool = False) -> list[Array]:
        """Arrays of values of a type."""
        found = [a for a in self.world.arrays if a.value == value]
        return [a for a in found if a.name not in self.iterated] if writable else found

    def callable(self, result: str) -> list[Function]:
        """Functions that may be called here for a result of a type."""
        return [f for f in self.calls if f.result == result and not f.writes & self.iterated]
