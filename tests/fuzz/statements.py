"""Random statements."""

from __future__ import annotations

from collections.abc import Callable

from .expressions import (
    call,
    expression,
    histogram,
    keys,
    long_,
    small,
    statistic,
    string,
    target_of,
)
from .formats import print_call, printf_call
from .scope import LONG, STATS, STRING, Array, Place
from .tree import Node, joined, node

_VALUE = 3  # how deep expressions nest


def block(place: Place, most: int = 4) -> Node:
    """Statements in braces."""
    count = place.rng.randint(1, max(1, most - place.depth))
    return braced([statement(place) for _ in range(count)])


def braced(statements: list[Node]) -> Node:
    """A block of given statements."""
    parts: list[str | Node] = ["{\n"]
    for each in statements:
        parts += [each, "\n"]
    return Node("block", [*parts, "}"])


def statement(place: Place) -> Node:
    """One statement."""
    kinds = _SIMPLE if place.depth >= place.world.deepest else _ALL
    return place.rng.choice(kinds)(place)


def show(place: Place) -> Node:
    """Print something."""

    def make(ty: str) -> Node:
        return expression(place, ty, _VALUE - 1)

    maker = place.rng.choice((printf_call, printf_call, print_call))
    return node("stmt", maker(place, make))


def _assign(place: Place) -> Node:
    names = place.names(LONG)
    op = place.rng.choice(("=", "=", "=", "+=", "-=", "*=", "/=", "%=", ">>=", "^="))
    target = target_of(place, LONG, names, 1)
    return node("stmt", target, f" {op} ", long_(place, _VALUE))


def _assign_string(place: Place) -> Node:
    target = target_of(place, STRING, place.names(STRING), 1)
    op = place.rng.choice((" = ", " = ", " .= "))
    return node("stmt", target, op, string(place, _VALUE))


def _crement(place: Place) -> Node:
    op = place.rng.choice(("++", "--"))
    return node("stmt", target_of(place, LONG, place.names(LONG), 1), op)


def _sample(place: Place) -> Node:
    arrays = place.arrays(STATS, writable=True)
    scalars = [n for n, ty in place.world.scalars.items() if ty == STATS]
    if not arrays and not scalars:
        return _assign(place)
    target = target_of(place, STATS, scalars, 1)
    value = small(place) if place.rng.random() < 0.5 else long_(place, 1)
    return node("stmt", target, " <<< ", value)


def _evaluate(place: Place) -> Node:
    functions = [f for f in place.calls if not f.writes & place.iterated]
    if not functions:
        return show(place)
    return node("stmt", call(place, place.rng.choice(functions), 2))


def _delete(place: Place) -> Node:
    arrays = [a for a in place.world.arrays if a.name not in place.iterated]
    if not arrays or place.rng.random() < 0.2:
        ty = place.rng.choice((LONG, STRING))
        return node("stmt", f"delete {place.rng.choice(place.names(ty))}")
    array = place.rng.choice(arrays)
    place.writes.add(array.name)
    if place.rng.random() < 0.15:
        return node("stmt", f"delete {array.name}")
    wanted = keys(place, array, 1)
    if len(wanted) > 1 and place.rng.random() < 0.5:
        wanted[place.rng.randrange(len(wanted))] = node("wildcard", "*")
    return node("stmt", f"delete {array.name}[", *joined(", ", wanted), "]")


def _leave(place: Place) -> Node:
    """Something that ends a loop, a function or the handler early, under a condition."""
    rng = place.rng
    ways = ["next", "next"]
    if place.in_loop:
        ways += ["break", "continue"] * 6
    if place.function is not None:
        ways += ["return"] * 4
    way = node("stmt", rng.choice(ways))
    if place.function is not None and str(way) == "return":
        way = node("stmt", "return ", expression(place, place.function.result, 2))
    if rng.random() < 0.1:
        way = node("stmt", rng.choice(("exit()", "abort()")))
    return node("stmt", "if (", long_(place, 1), ") ", braced([way]))


def _error(place: Place) -> Node:
    raising = node("stmt", "error(", string(place, 1), ")")
    return node("stmt", "if (", long_(place, 1), ") ", braced([raising]))


def _show_histogram(place: Place) -> Node:
    stat = statistic(place, 1)
    if stat is None:
        return show(place)
    printing = node("stmt", "print(", histogram(place, stat), ")")
    return node("stmt", "if (@count(", stat, ")) ", braced([printing]))


# --- statements with statements in them ---------------------------------------------------------


def _if(place: Place) -> Node:
    parts: list[str | Node] = ["if (", long_(place, 2), ") ", block(place.inside())]
    if place.rng.random() < 0.5:
        parts += [" else ", block(place.inside())]
    return node("stmt", *parts)


def _for(place: Place) -> Node:
    var = place.fresh("i")
    rounds = place.rng.choice((1, 2, 3, 3, 5))
    inner = place.inside(loop=True)
    body = block(inner)
    body.parts.insert(1, node("stmt", f"l0 ^= {var}\n"))
    head = f"for ({var} = 0; {var} < {rounds}; {var}++) "
    return node("stmt", head, body)


def _while(place: Place) -> Node:
    var = place.fresh("w")
    rounds = place.rng.choice((1, 2, 3, 4))
    inner = place.inside(loop=True)
    extra: list[str | Node] = []
    if place.rng.random() < 0.4:
        extra = [" && ", long_(place, 1)]
    head = node("stmt", f"{var} = {rounds}\nwhile ({var}-- > 0", *extra, ") ")
    return node("stmt", head, block(inner))


def _foreach(place: Place) -> Node:
    if not place.world.arrays:
        return _for(place)
    array = place.rng.choice(place.world.arrays)
    names = [place.fresh("k") for _ in array.keys]
    inner = place.inside(loop=True, iterated=array.name)
    inner.locals |= dict(zip(names, array.keys))
    head = _foreach_head(place, array, names, inner)
    return node("stmt", head, block(inner))


def _foreach_head(place: Place, array: Array, names: list[str], inner: Place) -> Node:
    """``foreach (... in ...)`` with an order, perhaps a value, a slice and a limit."""
    rng = place.rng
    where = rng.randrange(3)  # what the order is of: a key, the value, nothing
    direction = rng.choice("+-")
    shown = list(names)
    if where == 0:
        shown[rng.randrange(len(shown))] += direction
    variables = f"[{', '.join(shown)}]"
    if array.value != STATS and rng.random() < 0.3:
        value = place.fresh("v")
        inner.locals[value] = array.value
        variables = f"{value} = {variables}"
    parts: list[str | Node] = [f"foreach ({variables} in {array.name}"]
    if len(names) > 1 and rng.random() < 0.3:
        wanted = keys(place, array, 1)
        wanted[rng.randrange(len(wanted))] = node("wildcard", "*")
        parts += ["[", *joined(", ", wanted), "]"]
    if where == 1:
        op = f" @{rng.choice(('count', 'sum', 'min', 'max', 'avg'))}"
        parts.append((op if array.value == STATS else "") + direction)
    if rng.random() < 0.3:
        parts += [" limit ", small(place)]
    return node("stmt", *parts, ") ")


def _foreach_bucket(place: Place) -> Node:
    stat = statistic(place, 1)
    if stat is None:
        return _for(place)
    bucket = place.fresh("b")
    table = histogram(place, stat)
    line = node("stmt", f'if ({table}[{bucket}]) printf("%d:%d ", {bucket}, {table}[{bucket}])')
    return node("stmt", f"foreach ({bucket} in ", table, ") ", braced([line]))


def _try(place: Place) -> Node:
    parts: list[str | Node] = ["try ", block(place.inside())]
    inner = place.inside()
    if place.rng.random() < 0.6:
        name = place.rng.choice([n for n, ty in place.locals.items() if ty == STRING])
        handler = block(inner)
        handler.parts.insert(1, node("stmt", f'printf("caught %s\\n", {name})\n'))
        return node("stmt", *parts, f" catch ({name}) ", handler)
    return node("stmt", *parts, " catch ", block(inner))


_SIMPLE: tuple[Callable[[Place], Node], ...] = (
    *(show, show, show, show, _assign, _assign, _assign, _assign_string, _assign_string, _crement),
    *(_sample, _sample, _evaluate, _delete, _leave, _error, _show_histogram),
)
_ALL: tuple[Callable[[Place], Node], ...] = (
    *_SIMPLE,
    *(_if, _if, _if, _for, _for, _while, _foreach, _foreach, _foreach_bucket, _try, _try, _try),
)
