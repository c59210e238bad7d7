"""Random statements."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from .expressions import (
    call,
    condition,
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
from .scope import LONG, NOTHING, STATS, STRING, Array, Place
from .tree import Node, joined, node


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


def locals_of(rng: random.Random) -> dict[str, str]:
    """Names and types of some locals."""
    found = {f"l{n}": LONG for n in range(rng.choice((2, 3)))}
    return found | {f"s{n}": STRING for n in range(rng.choice((1, 2)))}


def with_start(names: dict[str, str], body: list[Node]) -> Node:
    """A block that begins by giving the locals it uses their type."""
    values = {LONG: "0", STRING: '""'}
    text = "\n".join(map(str, body))
    used = [n for n in names if re.search(rf"\b{n}\b", text)]
    return braced([node("stmt", f"{n} = {values[names[n]]}") for n in used] + body)


def statement(place: Place) -> Node:
    """One statement."""
    kinds = _SIMPLE if place.depth >= place.world.deepest else _ALL
    return place.rng.choice(kinds)(place)


def show(place: Place) -> Node:
    """Print something."""

    def make(ty: str) -> Node:
        return expression(place, ty, place.world.budget - 1)

    maker = place.rng.choice((printf_call, printf_call, print_call))
    return node("stmt", maker(place, make))


def _assign(place: Place) -> Node:
    names = place.names(LONG)
    ops = ("=", "=", "=", "+=", "-=", "*=", "/=", "%=", "<<=", ">>=", "&=", "|=", "^=")
    op = place.rng.choice(ops)
    target = target_of(place, LONG, names, 1)
    return node("stmt", target, f" {op} ", long_(place, place.world.budget))


def _assign_string(place: Place) -> Node:
    target = target_of(place, STRING, place.names(STRING), 1)
    op = place.rng.choice((" = ", " = ", " .= "))
    return node("stmt", target, op, string(place, place.world.budget))


def _crement(place: Place) -> Node:
    op = place.rng.choice(("++", "--"))
    return node("stmt", target_of(place, LONG, place.names(LONG), 1), op)


def _sample(place: Place) -> Node:
    arrays, scalars = place.arrays(STATS, writable=True), place.aggregates(writable=True)
    if not arrays and not scalars:
        return _assign(place)
    target = target_of(place, STATS, scalars, 1)
    value = small(place) if place.chance(0.5) else long_(place, 1)
    return node("stmt", target, " <<< ", value)


def _evaluate(place: Place) -> Node:
    functions = [f for f in place.calls if not f.writes & place.iterated]
    if not functions:
        return show(place)
    return node("stmt", call(place, place.rng.choice(functions), 2))


def _delete(place: Place) -> Node:
    arrays = [a for a in place.world.arrays if a.name not in place.iterated]
    if not arrays or place.chance(0.2):
        names = [n for ty in (LONG, STRING) for n in place.names(ty)]
        name = place.rng.choice(names + place.aggregates(writable=True))
        if name in place.aggregates():
            place.writes.add(name)
        return node("stmt", f"delete {name}")
    array = place.rng.choice(arrays)
    place.writes.add(array.name)
    if place.chance(0.15):
        return node("stmt", f"delete {array.name}")
    wanted = keys(place, array, 1)
    if len(wanted) > 1 and place.chance(0.5):
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
    if str(way) == "return" and place.function is not None and place.function.result != NOTHING:
        way = node("stmt", "return ", expression(place, place.function.result, 2))
    elif str(way) == "return":
        way = node("stmt", "return;")  # or what follows would be its value
    if place.chance(0.05):
        way = node("stmt", rng.choice(("exit()", "abort()")))
    return _under_condition(place, way)


def _under_condition(place: Place, what: Node) -> Node:
    braces = place.chance(0.7)
    return node("stmt", "if (", condition(place, 1), ") ", braced([what]) if braces else what)


def _error(place: Place) -> Node:
    raising = node("stmt", "error(", string(place, 1), ")")
    if place.world.library and place.chance(0.3):
        return node("stmt", "assert(", condition(place, 1), ", ", string(place, 0), ")")
    return _under_condition(place, raising)


def _message(place: Place) -> Node:
    name = place.rng.choice(("log", "warn"))
    return node("stmt", f"{name}(", string(place, 1), ")")


def _show_character(place: Place) -> Node:
    return node("stmt", "print_char(", long_(place, 1), ")")


def _show_histogram(place: Place) -> Node:
    found = statistic(place, 1)
    if found is None:
        return show(place)
    name = place.rng.choice(("print", "print", "println"))
    printing = node("stmt", f"{name}(", histogram(place, found), ")")
    return node("stmt", "if (@count(", found[0], ")) ", braced([printing]))


def _nothing(place: Place) -> Node:
    # Without the semicolon a variable before the parenthesis would be a function.
    return place.rng.choice((node("stmt", ";"), node("stmt", ";", long_(place, 1))))


# --- statements with statements in them ---------------------------------------------------------


def _if(place: Place) -> Node:
    parts: list[str | Node] = ["if (", condition(place, 2), ") ", block(place.inside())]
    if place.chance(0.5):
        parts += [" else ", block(place.inside())]
    return node("stmt", *parts)


def _for(place: Place) -> Node:
    var = place.fresh("i")
    rounds = place.rng.choice((1, 2, 3, 3, 5))
    inner = place.inside(loop=True)
    body = block(inner)
    body.parts.insert(1, node("stmt", f"l0 ^= {var}\n"))
    if place.chance(0.2):  # the parts of the head in other places
        body.parts.insert(1, node("fixed", f"if ({var}++ >= {rounds}) break\n"))
        head = place.rng.choice((f"{var} = 0\nfor (;;) ", f"{var} = 0\nwhile (1) "))
    else:
        head = f"for ({var} = 0; {var} < {rounds}; {var}++) "
    return node("stmt", head, body)


def _while(place: Place) -> Node:
    var = place.fresh("w")
    rounds = place.rng.choice((1, 2, 3, 4))
    inner = place.inside(loop=True)
    extra: list[str | Node] = []
    if place.chance(0.4):
        extra = [" && ", condition(place, 1)]
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
    where = rng.randrange(4)  # what the order is of: a key, the array, the value, nothing
    direction = rng.choice("+-")
    shown = list(names)
    if where == 0:
        shown[rng.randrange(len(shown))] += direction
    alone = len(shown) == 1 and place.chance(0.5)
    variables = shown[0] if alone else f"[{', '.join(shown)}]"
    if array.value != STATS and (where == 2 or place.chance(0.3)):
        value = place.fresh("v")
        inner.locals[value] = array.value
        variables = f"{value}{direction if where == 2 else ''} = {variables}"
    parts: list[str | Node] = [f"foreach ({variables} in {array.name}"]
    if len(names) > 1 and place.chance(0.3):
        wanted = keys(place, array, 1)
        for at in rng.sample(range(len(names)), rng.choice((1, 1, 2))):
            wanted[at] = node("wildcard", "*")
        parts += ["[", *joined(", ", wanted), "]"]
    if where == 1:
        op = f" @{rng.choice(('count', 'sum', 'min', 'max', 'avg'))}"
        if array.value == STATS and place.world.shapes[array.name].shift is None:
            op = rng.choice(("", op, op, op, " @variance"))
        parts.append((op if array.value == STATS else "") + direction)
    if place.chance(0.3):
        parts += [" limit ", small(place) if place.chance(0.7) else long_(place, 1)]
    return node("stmt", *parts, ") ")


def _foreach_bucket(place: Place) -> Node:
    found = statistic(place, 0)
    if found is None:
        return _for(place)
    bucket = place.fresh("b")
    table = histogram(place, found)
    inner = place.inside(loop=True, iterated=str(found[0]).partition("[")[0])
    inner.locals[bucket] = LONG
    if place.chance(0.3):
        body = block(inner)
    else:
        line = f'if ({table}[{bucket}]) printf("%d:%d ", {bucket}, {table}[{bucket}])'
        body = braced([node("stmt", line)])
    limit = [" limit ", small(place)] if place.chance(0.2) else []
    return node("stmt", f"foreach ({bucket} in ", table, *limit, ") ", body)


def _try(place: Place) -> Node:
    parts: list[str | Node] = ["try ", block(place.inside())]
    inner = place.inside()
    if place.chance(0.6):
        name = place.rng.choice([n for n, ty in place.locals.items() if ty == STRING])
        handler = block(inner)
        handler.parts.insert(1, node("stmt", f'printf("caught %s\\n", {name})\n'))
        return node("stmt", *parts, f" catch ({name}) ", handler)
    return node("stmt", *parts, " catch ", block(inner))


_SIMPLE: tuple[Callable[[Place], Node], ...] = (
    *(show, show, show, show, _assign, _assign, _assign, _assign_string, _assign_string, _crement),
    *(_sample, _sample, _evaluate, _delete, _leave, _error, _show_histogram, _message, _nothing),
    *(_show_character, show, _assign),
)
_ALL: tuple[Callable[[Place], Node], ...] = (
    *_SIMPLE,
    *(_if, _if, _if, _for, _for, _while, _foreach, _foreach, _foreach_bucket, _try, _try, _try),
)
