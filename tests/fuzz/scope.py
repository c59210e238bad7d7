"""What names a random program has, and where it is being written."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

LONG, STRING, STATS, NOTHING = "long", "string", "stats", "nothing"


@dataclass(frozen=True)
class Shape:
    """How an aggregate is asked: its linear histogram (start, stop, step), and the bit shift of
    its variance, None where none is written."""

    linear: tuple[int, int, int] = (-20, 100, 10)
    shift: int | None = None


@dataclass(frozen=True)
class Array:
    """An array global; ``keys`` are the types of its keys."""

    name: str
    keys: tuple[str, ...]
    value: str


@dataclass(frozen=True)
class Function:
    """A function; ``writes`` are the arrays and aggregates it (or what it calls) changes.  A
    recursive one counts down its first parameter."""

    name: str
    params: tuple[str, ...]
    result: str
    writes: frozenset[str]
    recursive: bool = False


@dataclass
class World:
    """The globals and functions of a program, and how it is written.

    ``deepest`` is how deep its statements nest, ``budget`` how deep its expressions do;
    ``library`` allows functions of the tapset that are more than an operation of the runtimes.
    """

    deepest: int = 3
    budget: int = 3
    library: bool = False
    scalars: dict[str, str] = field(default_factory=dict)  # name -> type
    shapes: dict[str, Shape] = field(default_factory=dict)  # of the aggregates
    arrays: list[Array] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)


@dataclass
class Place:
    """Where a statement or expression is written.

    ``iterated`` are the arrays and aggregates that must not be changed here; ``writes`` collects
    what is changed; ``calls`` are the functions that may be called; ``depth`` is how deep
    statements nest.
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

    def chance(self, probability: float) -> bool:
        """True so often."""
        return self.rng.random() < probability

    def names(self, wanted: str) -> list[str]:
        """Variables of a type that can be read and written."""
        mine = [n for n, ty in self.locals.items() if ty == wanted]
        return mine + [n for n, ty in self.world.scalars.items() if ty == wanted]

    def arrays(self, value: str, *, writable: bool = False) -> list[Array]:
        """Arrays of values of a type."""
        found = [a for a in self.world.arrays if a.value == value]
        return [a for a in found if a.name not in self.iterated] if writable else found

    def aggregates(self, *, writable: bool = False) -> list[str]:
        """Globals that are aggregates."""
        found = [n for n, ty in self.world.scalars.items() if ty == STATS]
        return [n for n in found if n not in self.iterated] if writable else found

    def callable(self, result: str) -> list[Function]:
        """Functions that may be called here for a result of a type."""
        return [f for f in self.calls if f.result == result and not f.writes & self.iterated]
