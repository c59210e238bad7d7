"""Random functions: plain, overloaded, recursive."""

from __future__ import annotations

import random
from collections.abc import Callable

from .expressions import condition, expression
from .scope import LONG, NOTHING, STRING, Function, Place, World
from .statements import braced, locals_of, statement, with_start
from .tree import Node, joined, node

_TYPES = (LONG, LONG, STRING)


def random_functions(rng: random.Random, world: World, number: int) -> list[Node]:
    """A function, or several that belong together; the world knows them afterwards."""
    return rng.choice(_KINDS)(rng, world, f"f{number}")


def _plain(rng: random.Random, world: World, name: str) -> list[Node]:
    function = Function(name, _params(rng), rng.choice((*_TYPES, NOTHING)), frozenset())
    return _define(rng, world, [function], [(function, [], "")])


def _overloaded_by_arity(rng: random.Random, world: World, name: str) -> list[Node]:
    """Two functions of one name; the second may call the first."""
    result = rng.choice(_TYPES)
    params = _params(rng)
    items = []
    for wanted in (params, (*params, rng.choice(_TYPES))):
        function = Function(name, wanted, result, frozenset())
        items += _define(rng, world, [function], [(function, [], "")])
    return items


def _overloaded_by_next(rng: random.Random, world: World, name: str) -> list[Node]:
    """Functions of one name and arity; all but the last may leave by ``next``."""
    function = Function(name, _params(rng), rng.choice(_TYPES), frozenset())
    priorities = rng.choice((("", ""), ("", ""), (":3", ":2"), (":1", ""), ("", "", "")))
    bodies = []
    for at, priority in enumerate(priorities):
        leave = ["next"] if at < len(priorities) - 1 or rng.random() < 0.2 else []
        bodies.append((function, leave, priority))
    return _define(rng, world, [function], bodies)


def _recursive(rng: random.Random, world: World, name: str) -> list[Node]:
    function = Function(name, (LONG, *_params(rng)), rng.choice(_TYPES), frozenset(), True)
    return _define(rng, world, [function], [(function, [name] * rng.choice((1, 1, 1, 2)), "")])


def _mutually_recursive(rng: random.Random, world: World, name: str) -> list[Node]:
    """Two functions that call each other."""
    result, params = rng.choice(_TYPES), (LONG, *_params(rng))
    pair = [Function(f"{name}{end}", params, result, frozenset(), True) for end in "ab"]
    return _define(rng, world, pair, [(pair[0], [f"{name}b"], ""), (pair[1], [f"{name}a"], "")])


_KINDS: tuple[Callable[[random.Random, World, str], list[Node]], ...] = (
    *(_plain, _plain, _plain, _overloaded_by_arity, _overloaded_by_next, _recursive),
    *(_recursive, _mutually_recursive),
)


def _params(rng: random.Random) -> tuple[str, ...]:
    return tuple(rng.choice(_TYPES) for _ in range(rng.choice((0, 1, 1, 2, 3))))


def _define(
    rng: random.Random,
    world: World,
    functions: list[Function],
    bodies: list[tuple[Function, list[str], str]],
) -> list[Node]:
    """The bodies of functions that share what they change: each the function, how it goes on
    (``next`` or names of functions to call one level down) and its priority."""
    writes: set[str] = set()
    items = [_body(rng, world, function, writes, *more) for function, *more in bodies]
    for f in functions:
        world.functions.append(
            Function(f.name, f.params, f.result, frozenset(writes), f.recursive)
        )
    return items


def _body(
    rng: random.Random,
    world: World,
    function: Function,
    writes: set[str],
    further: list[str],
    priority: str,
) -> Node:
    names = {f"p{n}": ty for n, ty in enumerate(function.params)}
    own = locals_of(rng)
    place = Place(world, rng, names | own, list(world.functions), function, writes=writes)
    if function.recursive:
        del place.locals["p0"]  # counts down, and nothing else
    body = []
    if further == ["next"]:
        body.append(node("stmt", "if (", condition(place, 2), ") next"))
    elif further:
        body += _recursion(place, function, further)
    body += [statement(place) for _ in range(rng.randint(1, 3))]
    if function.result != NOTHING and not place.chance(0.05):
        body.append(node("stmt", "return ", expression(place, function.result, 2)))
    params = ", ".join(f"{n}:{ty}" for n, ty in names.items())
    result = "" if function.result == NOTHING else f":{function.result}"
    head = f"function {function.name}{result}({params}){priority} "
    return node("item", head, with_start(own, body), "\n")


def _recursion(place: Place, function: Function, further: list[str]) -> list[Node]:
    """The end of the recursion, and calls one level down."""
    alone = set(further) == {function.name}
    arrays = [a.name for a in place.world.arrays if len(a.keys) == 1]
    iterated = place.rng.choice(arrays) if alone and arrays and place.chance(0.15) else ""
    if iterated:  # by a loop around the call: nothing in here may change the array
        place.iterated |= {iterated}
    done = node("stmt", "if (p0 <= 0) return ", expression(place, function.result, 1))
    return [done, *(_one_down(place, function, name, iterated) for name in further)]


def _one_down(place: Place, function: Function, name: str, iterated: str) -> Node:
    args = [expression(place, ty, 1) for ty in function.params[1:]]
    called = node(function.result, *joined(", ", [node("one", f"{name}(p0 - 1"), *args]), ")")
    simple = expression(place, function.result, 1)
    target = "s0" if function.result == STRING else "l1"
    operator = "." if function.result == STRING else "+"
    call = node("stmt", f"{target} = ", called)
    if iterated:
        return node("stmt", f"foreach (r0 in {iterated} limit 2) ", braced([call]))
    ways = [
        call,
        node("stmt", f"{target} = (", simple, f" {operator} ", called, ")"),
        node("stmt", "if (", condition(place, 1), ") ", call),
        node("stmt", "try ", braced([call]), " catch { l0++ }"),
        node("stmt", "for (i0 = 0; i0 < 2; i0++) ", braced([call])),
        node("stmt", "return (", simple, f" {operator} ", called, ")"),
    ]
    return place.rng.choice(ways)
