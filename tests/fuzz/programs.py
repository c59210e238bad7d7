"""Random well-typed programs."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from .expressions import KEYS
from .functions import random_functions
from .scope import LONG, STATS, STRING, Array, Place, Shape, World
from .statements import braced, locals_of, show, statement, with_start
from .tree import Node, node

_TYPES = (LONG, LONG, STRING)
_LINEAR = ((-20, 100, 10), (0, 40, 10), (-5, 5, 1), (0, 1000, 50), (0, 100, 7), (-1000, 0, 999))


@dataclass(frozen=True)
class Program:
    """A random program, the options it runs with, and the types of its globals and shapes of its
    aggregates by name."""

    tree: Node
    options: tuple[str, ...]
    types: dict[str, str]
    shapes: dict[str, Shape]


# By the size of a program, of which there are three.
_SIZES = (40, 4, 1)  # how many
_DEEPEST = ((1, 1, 2), (1, 2, 2, 3), (2, 3, 4))  # how deep statements nest
_BUDGET = ((1, 2, 2, 3), (2, 3), (3, 3, 4))  # how deep expressions do
_FUNCTIONS = ((0, 0, 1), (0, 1, 2), (1, 2, 3))
_PROBES = ((1,), (1, 2), (2, 3))
_STATEMENTS = (2, 5, 7)
_AGGREGATES = ((0, 0, 1), (0, 0, 1), (0, 0, 1, 2))
_ARRAYS = ((0, 1, 1), (0, 1, 1, 2), (1, 2, 3))

# Probes that never hit because the session ends before it has begun: their handlers must be
# accepted in programs of other kinds, and globals shared with them are locked.
_ELSEWHERE = (
    *('kernel.trace("mark_victim")', "timer.profile", "syscall.acct", "syscall.acct.return"),
    *('process("/bin/true").begin', "perf.sw.cpu_migrations", "timer.hz(1)", "timer.s(100)"),
)


def random_program(seed: int) -> Program:
    """The program of a seed: most are small, which finds more in the same time."""
    rng = random.Random(seed)
    size = rng.choices((0, 1, 2), _SIZES)[0]
    world = World(rng.choice(_DEEPEST[size]), rng.choice(_BUDGET[size]), rng.random() < 0.25)
    items = _globals(rng, world, size)
    for number in range(rng.choice(_FUNCTIONS[size])):
        items += random_functions(rng, world, number)
    first = _first_values(rng, world)
    if first and rng.random() < 0.3:
        items.append(_item("probe begin(-1) ", braced(first)))
        first = []
    elsewhere = rng.random() < 0.15
    for number in range(rng.choice(_PROBES[size])):
        point = f"begin({number})"
        if rng.random() < 0.05:
            point += f", begin({number + 10})"
        if elsewhere:
            point += ", " + rng.choice(_ELSEWHERE)
        items.append(_probe(rng, world, point, first, _STATEMENTS[size]))
        first = []
    for point in ("end(-1)", "error(-1)"):
        if rng.random() < 0.1:
            items.append(_probe(rng, world, point, [], _STATEMENTS[size]))
    types = world.scalars | {a.name: a.value for a in world.arrays}
    options = _options(rng)
    tree = node("program", *items)
    if elsewhere or rng.random() < 0.1:
        tree.parts.append(node("fixed", "probe begin(99) { exit() }\n"))
    else:
        options = (*options, "-T0.001")  # which spares the probe
    tree.parts += _last_probe(rng, world, str(tree))
    return Program(tree, options, types, world.shapes)


def _options(rng: random.Random) -> tuple[str, ...]:
    options = ["-w"] if rng.random() < 0.8 else []
    for probability, choices in (
        (0.3, [f"-DMAXSTRINGLEN={n}" for n in (9, 16, 33, 64, 200, 1000)]),
        (0.2, ["-DMAXMAPENTRIES=6"]),
        (0.5, ["-DMAXERRORS=3"]),
        (0.05, ["--compatible=4.3"]),
        (0.1, ["-DMAXACTION=10", "-DMAXACTION=3"]),
        (0.05, ["-DMAXNESTING=2", "-DMAXNESTING=5"]),
        (0.05, ["-DHIST_WIDTH=20", "-DHIST_ELISION=0", "-DHIST_ELISION=-1"]),
        (0.05, ["--suppress-handler-errors"]),
        (0.05, ["-Gg0=7", "-Gt0=other"]),
    ):
        if rng.random() < probability:
            options.append(rng.choice(choices))
    if rng.random() < 0.35:  # what the oracle looks at
        options += ["-u", "--no-global-var-display"]
    return tuple(options)


def _item(*parts: str | Node) -> Node:
    return node("item", *parts, "\n")


def _globals(rng: random.Random, world: World, size: int) -> list[Node]:
    items = []
    for name, ty, value in (("g0", LONG, "5"), ("g1", LONG, "-1"), ("t0", STRING, '"start"')):
        world.scalars[name] = ty
        items.append(_item(f"global {name} = {value}"))
    for number in range(rng.choice(_AGGREGATES[size])):
        name = f"x{number}"
        world.scalars[name] = STATS
        world.shapes[name] = _shape(rng)
        items.append(_item(f"global {name}"))
    for number in range(rng.choice(_ARRAYS[size])):
        key_types = tuple(
            rng.choice(_TYPES) for _ in range(rng.choice((1, 1, 1, 2, 2, 3, rng.randint(1, 9))))
        )
        value = rng.choice((LONG, LONG, STRING, STATS))
        wrap, length = rng.choice(("", "", "%")), rng.choice(("", "", "[3]", "[8]", "[1]"))
        name = f"a{number}"
        if value == STATS:
            world.shapes[name] = _shape(rng)
        world.arrays.append(Array(name, key_types, value))
        items.append(_item(f"global {name}{wrap}{length}"))
    return items


def _shape(rng: random.Random) -> Shape:
    return Shape(rng.choice(_LINEAR), rng.choice((None, None, 0, 4, 10, 62)))


def _first_values(rng: random.Random, world: World) -> list[Node]:
    """Writes every array and aggregate: that settles all types and gives loops something to do."""
    body = []
    for name, ty in world.scalars.items():
        if ty == STATS:
            body.append(node("stmt", f"{name} <<< {rng.randint(-40, 120)}"))
    for array in world.arrays:
        for _ in range(rng.choice((1, 2, 3))):
            keys = ", ".join(
                str(rng.randint(0, 4)) if ty == LONG else f'"{rng.choice(KEYS)}"'
                for ty in array.keys
            )
            number = rng.choice((-7, 0, 1, 2, 50, 1000))
            value = {LONG: f"= {number}", STRING: f'= "{number}"', STATS: f"<<< {number}"}
            body.append(node("stmt", f"{array.name}[{keys}] {value[array.value]}"))
    return body


def _probe(rng: random.Random, world: World, point: str, first: list[Node], most: int) -> Node:
    own = locals_of(rng)
    place = Place(world, rng, own, list(world.functions))
    body = [statement(place) for _ in range(rng.randint(1, most))]
    body.append(show(place))
    return _item(f"probe {point} ", with_start(own, first + body))


def _last_probe(rng: random.Random, world: World, text: str) -> list[Node]:
    """Prints the globals at the end.  What it leaves out the session may print by itself."""
    body = []
    for name, ty in world.scalars.items():
        if rng.random() < 0.2 or len(re.findall(rf"\b{name}\b", text)) < 2:
            continue
        if ty == STATS:
            body += _dump_aggregate(rng, world, name)
        else:
            directive = "%d" if ty == LONG else '"%#s"'.replace('"', '\\"')
            body.append(node("stmt", f'printf("{name}={directive}\\n", {name})'))
    for array in world.arrays:
        if rng.random() < 0.5:
            body.append(node("stmt", *_dump(rng, world, array)))
    point = rng.choice(("end", "end", "end, error"))
    return [_item(f"probe {point} ", braced(body))] if body else []


def _dump_aggregate(rng: random.Random, world: World, name: str) -> list[Node]:
    count = node("stmt", f'printf("{name} %d %d\\n", @count({name}), @sum({name}))')
    if rng.random() < 0.6:
        return [count]
    shown = 'printf("%d/%d/%d/%d ", @min({0}), @max({0}), @avg({0}), {1})'
    linear = "{}, {}, {}".format(*world.shapes[name].linear)
    hist = f"println(@hist_linear({name}, {linear}))"
    full = shown.format(name, _variance(world, name, name))
    return [
        node("stmt", f"if (@count({name})) {{\n", node("stmt", full), "\n", hist, "\n}"),
        count,
    ]


def _variance(world: World, name: str, stat: str) -> str:
    shift = world.shapes[name].shift
    return f"@variance({stat})" if shift is None else f"@variance({stat}, {shift})"


def _dump(rng: random.Random, world: World, array: Array) -> list[str | Node]:
    names = [f"q{n}{ty[0]}" for n, ty in enumerate(array.keys)]
    listed = ", ".join(names)
    value = f"{array.name}[{listed}]"
    directives = " ".join("%d" if ty == LONG else "<%s>" for ty in array.keys)
    if array.value == STATS:
        ops = ["count", "sum"] if rng.random() < 0.7 else ["count", "min", "max", "avg"]
        extracted = [f"@{op}({value})" for op in ops]
        if len(ops) > 2:
            extracted.append(_variance(world, array.name, value))
        values, more = " ".join(["%d"] * len(extracted)), ", ".join(extracted)
    else:
        values, more = ("%d" if array.value == LONG else "<%s>"), value
    line = f'printf("{array.name}[{directives}]={values}\\n", {listed}, {more})'
    return [f"foreach ([{listed}] in {array.name}) {line}"]
