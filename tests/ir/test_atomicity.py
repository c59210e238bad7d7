"""Handlers that run at once behave as if they ran one after another.

A small model of several CPUs runs the IR of random handlers, switching between them at every
access to a global, in every possible order.  What they print and leave behind must be what some
serial order gives.  This checks which globals go without locks as well as where locks lie.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystap.ir import ops
from pystap.ir.module import Module
from pystap.lang.limits import allow_deep_trees

from .frontend import make_options, module_of

allow_deep_trees()  # now, so that it does not happen in the middle of a hypothesis test

Step = tuple[str, object]  # what a CPU does next: an access, or taking or giving back locks
Run = Generator[Step, None, "str | None"]

_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    ">": lambda a, b: int(a > b),
    "==": lambda a, b: int(a == b),
}


class Cpu:
    """Runs one handler; yields before every access to what is shared."""

    def __init__(self, body: list[ops.Stmt], memory: dict[object, int]) -> None:
        self.memory = memory
        self.locals: dict[object, int] = {}
        self.printed: list[int] = []
        self.run = self.block(body)

    def block(self, body: list[ops.Stmt]) -> Run:
        for stmt in body:
            outcome = yield from self.stmt(stmt)
            if outcome:
                return outcome
        return None

    def stmt(self, stmt: ops.Stmt) -> Run:
        match stmt:
            case ops.SetLocal(var, value):
                self.locals[var] = yield from self.expr(value)
            case ops.SetGlobal(g, value):
                number = yield from self.expr(value)
                yield "access", g
                self.memory[g] = number
            case ops.AddGlobal(g, delta):
                number = yield from self.expr(delta)
                yield "access", g
                self.memory[g] += number
            case ops.SetMap(g, [key], value):
                place = yield from self.place(g, key)
                number = yield from self.expr(value)
                yield "access", g
                self.memory[place] = number
            case ops.AddMap(g, [key], delta):
                place = yield from self.place(g, key)
                number = yield from self.expr(delta)
                yield "access", g
                self.memory[place] = self.memory.get(place, 0) + number
            case ops.DeleteMap(g, [ops.Const() as key]):
                place = yield from self.place(g, key)
                yield "access", g
                self.memory.pop(place, None)
            case ops.If(cond, then, orelse):
                number = yield from self.expr(cond)
                return (yield from self.block(then if number else orelse))
            case ops.Emit(_, args):
                for arg in args:
                    self.printed.append((yield from self.expr(arg)))
            case ops.Next():
                return "next"
            case ops.Locked(locks, body):
                yield "lock", locks
                outcome = yield from self.block(body)
                yield "unlock", locks
                return outcome
            case _:
                raise NotImplementedError(stmt)
        return None

    def place(self, g: object, key: ops.Expr) -> Generator[Step, None, tuple[object, int]]:
        return g, (yield from self.expr(key))

    def expr(self, expr: ops.Expr) -> Generator[Step, None, int]:
        match expr:
            case ops.Const(value):
                return value
            case ops.Local(var):
                return self.locals.get(var, 0)
            case ops.GlobalGet(g):
                yield "access", g
                return self.memory[g]
            case ops.MapGet(g, [key]):
                place = yield from self.place(g, key)
                yield "access", g
                return self.memory.get(place, 0)
            case ops.MapHas(g, [ops.Const() as key]):
                place = yield from self.place(g, key)
                yield "access", g
                return int(place in self.memory)
            case ops.Arith(op, left, right) | ops.Compare(op, left, right):
                first = yield from self.expr(left)
                second = yield from self.expr(right)
                return _ARITHMETIC[op](first, second)
            case _:
                raise NotImplementedError(expr)


class Machine:
    """Several CPUs with one memory and its locks."""

    def __init__(self, module: Module, handlers: list[int]) -> None:
        self.memory: dict[object, int] = {
            g: int(g.init) for g in module.globals if g.kind == "scalar"
        }
        self.cpus = [Cpu(module.handlers[h].body, self.memory) for h in handlers]
        self.next: list[Step | None] = [None] * len(handlers)
        self.held: list[tuple[int, object, str]] = []  # cpu, global, mode
        for cpu in range(len(handlers)):
            self.advance(cpu)

    def advance(self, cpu: int) -> None:
        """Run a CPU to its next step."""
        try:
            self.next[cpu] = next(self.cpus[cpu].run)
        except StopIteration:
            self.next[cpu] = None
            self.held = [h for h in self.held if h[0] != cpu]

    def ready(self) -> list[int]:
        """CPUs that can go on."""
        return [c for c, step in enumerate(self.next) if step is not None and self.free(step)]

    def free(self, step: Step) -> bool:
        kind, locks = step
        if kind != "lock":
            return True
        assert isinstance(locks, list)
        return all(
            mode == other != "write"
            for g, mode in locks
            for _, held, other in self.held
            if held is g
        )

    def go(self, cpu: int) -> None:
        """Do the next step of a CPU."""
        step = self.next[cpu]
        assert step is not None
        kind, locks = step
        if kind == "lock":
            assert isinstance(locks, list)
            self.held += [(cpu, g, mode) for g, mode in locks]
        elif kind == "unlock":
            self.held = [h for h in self.held if h[0] != cpu]
        self.advance(cpu)

    def result(self) -> tuple[object, ...]:
        """What can be noticed when all is over."""
        assert all(step is None for step in self.next), "deadlock"
        left = sorted(
            (g.name, 0, n) if not isinstance(g, tuple) else (g[0].name, g[1], n)  # type: ignore[attr-defined]
            for g, n in self.memory.items()
        )
        return tuple(tuple(c.printed) for c in self.cpus), tuple(left)


def outcomes(module: Module, handlers: list[int], most: int) -> Iterator[tuple[object, ...]]:
    """Results of all orders in which the CPUs can take turns (the first ``most`` of them)."""
    schedules: list[list[int]] = [[]]
    while schedules and most:
        schedule = schedules.pop()
        machine = Machine(module, handlers)
        for cpu in schedule:
            machine.go(cpu)
        while ready := machine.ready():
            schedules += [[*schedule, other] for other in ready[1:]]
            schedule = [*schedule, ready[0]]
            machine.go(ready[0])
        most -= 1
        yield machine.result()


def serial(module: Module, handlers: list[int]) -> set[tuple[object, ...]]:
    """Results of running one handler after another, in every order."""
    found = set()
    for order in permutations(range(len(handlers))):
        machine = Machine(module, handlers)
        for cpu in order:
            while machine.next[cpu] is not None:
                machine.go(cpu)
        found.add(machine.result())
    return found


STATEMENTS = [
    "c++", "c += 2", "d++", "c = 5", "d = 7", "c = c * 2 + 1", "println(c)", "println(d)",
    "println(c, d)", "d = c", "x = c", "println(x)", "if (c > 1) d++", "if (x) c++; else c--",
    "if (c > 3) next", "println(9)", "x = c++", "m[1]++", "m[1] = 3", "m[2] += 2", "x = m[1]",
    "m[1] = m[2] + 1", "println(m[1], m[2])", "delete m[1]", "if (1 in m) m[2] = 1", "m[x]++",
    "if (x == 0) { println(8); m[1] = c }", "n++", "w = 4", "y = w",
]  # fmt: skip

bodies = st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=3).map("; ".join)


def module_with(handlers: list[str]) -> Module:
    """Handlers of events that happen on all CPUs."""
    script = "global c = 1, d = 2, m, n, w\nprobe begin { m[5] = 1; n = 0; w = 0 }\n"
    script += "".join(f"probe timer.profile {{ x = 0; y = 0; {body} }}\n" for body in handlers)
    return module_of(script, make_options())


def disagreement(handlers: list[str], running: list[int], most: int = 400) -> object:
    """A result that no serial order gives, if there is one."""
    module = module_with(handlers)
    expected = serial(module, running)
    return next((r for r in outcomes(module, running, most) if r not in expected), None)


@settings(max_examples=150, deadline=None)
@given(st.lists(bodies, min_size=2, max_size=3))
def test_handlers_are_atomic(handlers: list[str]) -> None:
    running = list(range(1, len(handlers) + 1))
    assert disagreement(handlers, running) is None
    assert disagreement(handlers, [1, 1, 2]) is None  # a handler runs at the same time as itself


@pytest.mark.parametrize(
    "handlers",
    [
        ["c++", "println(c)"],
        ["c++; d++", "println(c, d)"],
        ["w = 4", "w = 5", "y = w; println(y)"],
        ["x = c++; println(x)", "c = 5"],
        ["m[1]++", "println(m[1]); m[1] = 0"],
    ],
)
def test_every_order_of_small_handlers(handlers: list[str]) -> None:
    running = [*range(1, len(handlers) + 1), 1]
    assert disagreement(handlers, running, most=20_000) is None


def test_the_model_notices_missing_locks() -> None:
    module = module_with(["c = c * 2 + 1", "println(c, c)"])
    for handler in module.handlers:
        handler.body = [
            inner
            for stmt in handler.body
            for inner in (stmt.body if isinstance(stmt, ops.Locked) else [stmt])
        ]
    running = [1, 1, 2]
    assert any(r not in serial(module, running) for r in outcomes(module, running, 1000))
