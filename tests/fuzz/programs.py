"""Random well-typed programs."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .expressions import KEYS, expression, long_
from .scope import LONG, STATS, STRING, Array, Function, Place, World
from .statements import braced, show, statement
from .tree import Node, node

_TYPES = (LONG, LONG, STRING)


@dataclass(frozen=True)
class Program:
    """A random program, the options it runs with and the types of its globals."""

    tree: Node
    options: tuple[str, ...]
    types: dict[str, str]


def random_program(seed: int) -> Program:
    """The program of a seed."""
    rng = random.Random(seed)
    world = World(deepest=rng.choice((1, 2, 2, 3, 4)))
    items = _globals(rng, world)
    for number in range(rng.choice((0, 1, 2, 3))):
        items += _function(rng, world, number)
    items.append(_first_probe(rng, world))
    for number in range(rng.choice((1, 1, 2, 3))):
        items.append(_probe(rng, world, f"begin({number})"))
    if rng.random() < 0.3:
        items.append(_probe(rng, world, "end(-1)"))
    if rng.random() < 0.3:
        items.append(_probe(rng, world, "error(-1)"))
    items.append(_last_probe(world))
    types = world.scalars | {a.name: a.value for a in world.arrays}
    return Program(node("program", *items), _options(rng), types)


def _options(rng: random.Random) -> tuple[str, ...]:
    options = ["-w"]
    if rng.random() < 0.3:
        options.append(f"-DMAXSTRINGLEN={rng.choice((9, 16, 33, 64, 200))}")
    if rng.random() < 0.2:
        options.append("-DMAXMAPENTRIES=6")
    if rng.random() < 0.5:
        options.append("-DMAXERRORS=3")
    if rng.random() < 0.2:
        options.append("-u")
    if rng.random() < 0.1:
        options.append("--compatible=4.3")
    if rng.random() < 0.1:
        options.append("-DMAXACTION=10")
    return tuple(options)


def _item(*parts: str | Node) -> Node:
    return node("item", *parts, "\n")


def _globals(rng: random.Random, world: World) -> list[Node]:
    items = []
    for name, ty, value in (("g0", LONG, "5"), ("g1", LONG, "-1"), ("t0", STRING, '"start"')):
        world.scalars[name] = ty
        items.append(_item(f"global {name} = {value}"))
    for number in range(rng.choice((0, 1, 1, 2))):
        world.scalars[f"x{number}"] = STATS
        items.append(_item(f"global x{number}"))
    for number in range(rng.choice((1, 2, 3))):
        key_types = tuple(rng.choice(_TYPES) for _ in range(rng.choice((1, 1, 2, 3))))
        value = rng.choice((LONG, LONG, STRING, STATS))
        wrap, size = rng.choice(("", "", "%")), rng.choice(("", "", "[3]", "[8]"))
        name = f"a{number}"
        world.arrays.append(Array(name, key_types, value, f"{name}{wrap}{size}"))
        items.append(_item(f"global {name}{wrap}{size}"))
    return items


def _locals(rng: random.Random) -> dict[str, str]:
    found = {f"l{n}": LONG for n in range(rng.choice((2, 3)))}
    return found | {f"s{n}": STRING for n in range(rng.choice((1, 2)))}


def _start(names: dict[str, str]) -> list[Node]:
    """Statements that give locals their type."""
    values = {LONG: "0", STRING: '""'}
    return [node("stmt", f"{name} = {values[ty]}") for name, ty in names.items()]


def _function(rng: random.Random, world: World, number: int) -> list[Node]:
    """A function, or two of one name, the first of which may leave by ``next``."""
    recursive = rng.random() < 0.3
    params = tuple(rng.choice(_TYPES) for _ in range(rng.randint(0, 3)))
    if recursive:
        params = (LONG, *params)
    result = rng.choice(_TYPES)
    function = Function(f"f{number}", params, result, frozenset(), recursive)
    writes: set[str] = set()
    bodies = 2 if rng.random() < 0.25 and not recursive else 1
    items = [_function_body(rng, world, function, writes, bodies - n) for n in range(bodies)]
    world.functions.append(Function(function.name, params, result, frozenset(writes), recursive))
    return items


def _function_body(
    rng: random.Random, world: World, function: Function, writes: set[str], remaining: int
) -> Node:
    names = {f"p{n}": ty for n, ty in enumerate(function.params)}
    own = _locals(rng)
    place = Place(world, rng, names | own, list(world.functions), function, writes=writes)
    body = _start(own)
    if remaining > 1:
        body.append(node("stmt", "if (", long_(place, 2), ") next"))
    if function.recursive:
        body += _recursion(place, function)
    body += [statement(place) for _ in range(rng.randint(1, 4))]
    body.append(node("stmt", "return ", expression(place, function.result, 2)))
    params = ", ".join(f"{n}:{ty}" for n, ty in names.items())
    head = f"function {function.name}:{function.result}({params}) "
    return _item(head, braced(body))


def _recursion(place: Place, function: Function) -> list[Node]:
    """The end of the recursion, and a call one level down."""
    done = node("stmt", "if (p0 <= 0) return ", expression(place, function.result, 1))
    again = [expression(place, ty, 1) for ty in function.params[1:]]
    target = "s0" if function.result == STRING else "l1"
    inner = node("stmt", f"{target} = {function.name}(p0 - 1")
    for arg in again:
        inner.parts += [", ", arg]
    inner.parts.append(")")
    return [done, inner]


def _first_probe(rng: random.Random, world: World) -> Node:
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
    return _item("probe begin(-1) ", braced(body))


def _probe(rng: random.Random, world: World, point: str) -> Node:
    own = _locals(rng)
    place = Place(world, rng, own, list(world.functions))
    body = _start(own)
    body += [statement(place) for _ in range(rng.randint(2, 7))]
    body.append(show(place))
    return _item(f"probe {point} ", braced(body))


def _last_probe(world: World) -> Node:
    """Prints every global at the end, and ends the session; the latter always stays."""
    body = []
    for name, ty in world.scalars.items():
        if ty == STATS:
            body.append(node("stmt", f'printf("{name} %d %d\\n", @count({name}), @sum({name}))'))
        else:
            directive = "%d" if ty == LONG else '"%#s"'.replace('"', '\\"')
            body.append(node("stmt", f'printf("{name}={directive}\\n", {name})'))
    for array in world.arrays:
        body.append(node("stmt", *_dump(array)))
    items = [
        _item("probe end, error ", braced(body)),
        node("fixed", "probe begin(99) { exit() }\n"),
    ]
    return node("fixed", *items)


def _dump(array: Array) -> list[str | Node]:
    names = [f"q{n}{ty[0]}" for n, ty in enumerate(array.keys)]
    listed = ", ".join(names)
    value = f"{array.name}[{listed}]"
    directives = " ".join("%d" if ty == LONG else "<%s>" for ty in array.keys)
    if array.value == STATS:
        values, more = "%d %d", f"@count({value}), @sum({value})"
    else:
        values, more = ("%d" if array.value == LONG else "<%s>"), value
    line = f'printf("{array.name}[{directives}]={values}\\n", {listed}, {more})'
    return [f"foreach ([{listed}] in {array.name}) {line}"]
