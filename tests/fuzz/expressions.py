"""Random expressions of a given type."""

from __future__ import annotations

from collections.abc import Callable

from .formats import sprint_call, sprintf_call
from .library import BASIC, MORE
from .patterns import pattern, subject
from .scope import LONG, STATS, STRING, Array, Function, Place, Shape
from .tree import Node, joined, node

NUMBERS = (
    *("0", "0", "1", "1", "2", "3", "5", "7", "8", "10", "13", "31", "63", "64", "65", "100"),
    *("255", "256", "1000", "4095", "65536", "0x7fffffff", "0x80000000", "0xffffffff"),
    *("0x7fffffffffffffff", "0x8000000000000000", "0xffffffffffffffff", "1234567890123"),
    *("9", "16", "32", "62", "017", "0400", "127", "128", "32767", "32768", "65535", "4294967296"),
)
KEYS = ("", "a", "b", "ab", "k")
TEXTS = (
    *("", "", "a", "b", "ab", "abc", "b a", "x=1", "12", "-7", "0x1f", "hello world", "a,b,,c"),
    *("aaaa", "0123456789", r"\t|\n", r"\"q\"", r"back\\slash", r"\303\251", r"\377\200"),
    *("%d %s", "a longer text, of about forty characters", "Abc-42_z", "key=value;"),
    *(r"\001\x7f\r", "07", "-0x8", "99999999999999999999", "a" * 70, r"x\0y", "/usr/bin/x"),
)
_ARITHMETIC = ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", ">>>")
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_EXTRACTORS = (*("count", "sum") * 5, "min", "max", "avg", "variance")


def expression(place: Place, wanted: str, budget: int) -> Node:
    """An expression of type long or string; ``budget`` limits how deep it nests."""
    return long_(place, budget) if wanted == LONG else string(place, budget)


def long_(place: Place, budget: int) -> Node:
    """A number."""
    if budget <= 0 or place.chance(0.2):
        return _simple_long(place)
    return place.rng.choice(_LONGS)(place, budget - 1)


def string(place: Place, budget: int) -> Node:
    """A string."""
    if budget <= 0 or place.chance(0.25):
        return _simple_string(place)
    return place.rng.choice(_STRINGS)(place, budget - 1)


def element(place: Place, array: Array, budget: int) -> Node:
    """``array[keys]``."""
    return node(array.value, f"{array.name}[", *joined(", ", keys(place, array, budget)), "]")


def keys(place: Place, array: Array, budget: int) -> list[Node]:
    """Keys that are likely to meet an element."""
    return [_key(place, ty, budget) for ty in array.keys]


def small(place: Place) -> Node:
    """A number that is not far from 0; LLVM may know so, and a verifier not."""
    if place.chance(0.25):
        range_ = place.rng.choice(("& 15) / 7", "& 255) % 5", ">>> 60) * 3 / 5", ">> 62) + 1"))
        return node(LONG, "((", _simple_long(place), f" {range_})")
    return node(LONG, str(place.rng.choice((-1, 0, 1, 2, 3, 4, 5, 6, 8, 12, 20))))


def call(place: Place, function: Function, budget: int) -> Node:
    """A call of a function of the program."""
    place.writes |= function.writes
    args = [expression(place, ty, min(budget, 2)) for ty in function.params]
    if function.recursive:
        args[0] = node(LONG, str(place.rng.choice((0, 1, 2, 3, 3, 4, 4, 5, 30))))
    return node(function.result, f"{function.name}(", *joined(", ", args), ")")


def condition(place: Place, budget: int) -> Node:
    """A number that is 0 about as often as not."""
    kind = place.rng.randrange(4)
    if kind == 0:
        return long_(place, budget)
    if kind == 1:
        return node(LONG, "((", long_(place, budget), ") & 1)")
    return place.rng.choice((_comparison, _comparison, _logic, _membership, _match))(place, budget)


# --- numbers ------------------------------------------------------------------------------------


def _simple_long(place: Place) -> Node:
    names = place.names(LONG)
    if names and place.chance(0.6):
        return node(LONG, place.rng.choice(names))
    number = place.rng.choice(NUMBERS)
    return node(LONG, f"(-{number})" if place.chance(0.2) else number)


def _key(place: Place, ty: str, budget: int) -> Node:
    if ty == STRING:
        if place.chance(0.7):
            return node(STRING, '"' + place.rng.choice(KEYS) + '"')
        return string(place, min(budget, 1))
    if place.chance(0.6):
        return small(place)
    return node(LONG, "((", long_(place, min(budget, 1)), ") % 5)")


def _arithmetic(place: Place, budget: int) -> Node:
    op = place.rng.choice(_ARITHMETIC)
    return node(LONG, "(", long_(place, budget), f" {op} ", long_(place, budget), ")")


def _comparison(place: Place, budget: int) -> Node:
    op = place.rng.choice(_COMPARISONS)
    ty = place.rng.choice((LONG, LONG, STRING))
    left, right = expression(place, ty, budget), expression(place, ty, budget)
    parts = [left, f" {op} ", right]
    if place.chance(0.1):  # its result compared in turn
        parts += [f" {place.rng.choice(_COMPARISONS)} ", long_(place, budget)]
    return node(LONG, "(", *parts, ")")


def _logic(place: Place, budget: int) -> Node:
    op = place.rng.choice(("&&", "||"))
    return node(LONG, "(", long_(place, budget), f" {op} ", long_(place, budget), ")")


def _unary(place: Place, budget: int) -> Node:
    return node(LONG, f"({place.rng.choice('-~!-~!+')}(", long_(place, budget), "))")


def _ternary(place: Place, budget: int, wanted: str = LONG) -> Node:
    yes, no = expression(place, wanted, budget), expression(place, wanted, budget)
    return node(wanted, "(", long_(place, budget), " ? ", yes, " : ", no, ")")


def _assignment(place: Place, budget: int) -> Node:
    names = place.names(LONG)
    op = place.rng.choice(("=", "+=", "-=", "*=", "/=", "%=", "<<=", ">>=", "&=", "|=", "^="))
    target = target_of(place, LONG, names, budget)
    return node(LONG, "(", target, f" {op} ", long_(place, budget), ")")


def target_of(place: Place, wanted: str, names: list[str], budget: int) -> Node:
    """Something of a type that can be assigned to; not of kind ``long`` or ``string``, because
    nothing else can stand there."""
    arrays = place.arrays(wanted, writable=True)
    if arrays and (not names or place.chance(0.4)):
        array = place.rng.choice(arrays)
        place.writes.add(array.name)
        return node("target", *element(place, array, budget).parts)
    name = place.rng.choice(names)
    if wanted == STATS:
        place.writes.add(name)
    return node("target", name)


def _crement(place: Place, budget: int) -> Node:
    op = place.rng.choice(("++", "--"))
    target = target_of(place, LONG, place.names(LONG), budget)
    return place.rng.choice((node(LONG, "(", target, op, ")"), node(LONG, f"({op}", target, ")")))


def _element_long(place: Place, budget: int) -> Node:
    arrays = place.arrays(LONG)
    return element(place, place.rng.choice(arrays), budget) if arrays else _simple_long(place)


def _membership(place: Place, budget: int) -> Node:
    if not place.world.arrays:
        return _simple_long(place)
    array = place.rng.choice(place.world.arrays)
    wanted = keys(place, array, budget)
    if len(wanted) > 1 and place.chance(0.4):
        wanted[place.rng.randrange(len(wanted))] = node("wildcard", "*")
    if len(wanted) == 1 and place.chance(0.5):
        return node(LONG, "((", *wanted, f") in {array.name})")
    return node(LONG, "([", *joined(", ", wanted), f"] in {array.name})")


def statistic(place: Place, budget: int) -> tuple[Node, Shape] | None:
    """An aggregate global or element of one and its shape, if the program has any."""
    scalars, arrays = place.aggregates(), place.arrays(STATS)
    if arrays and (not scalars or place.chance(0.5)):
        array = place.rng.choice(arrays)
        return element(place, array, budget), place.world.shapes[array.name]
    if not scalars:
        return None
    name = place.rng.choice(scalars)
    return node(STATS, name), place.world.shapes[name]


def _extractor(place: Place, budget: int) -> Node:
    found = statistic(place, budget)
    if found is None:
        return _simple_long(place)
    stat, shape = found
    op = place.rng.choice(_EXTRACTORS)
    more = f", {shape.shift}" if op == "variance" and shape.shift is not None else ""
    return node(LONG, f"@{op}(", stat, more, ")")


def histogram(place: Place, found: tuple[Node, Shape]) -> Node:
    """``@hist_log`` or ``@hist_linear`` of an aggregate."""
    stat, shape = found
    if place.chance(0.5):
        return node("histogram", "@hist_log(", stat, ")")
    return node("histogram", "@hist_linear(", stat, ", {}, {}, {})".format(*shape.linear))


def _bucket(place: Place, budget: int) -> Node:
    found = statistic(place, budget)
    if found is None:
        return _simple_long(place)
    numbers = (-1, 0, 1, 2, 5, 14, 15, 63, 64, 65, 66, 70, 127, 128)
    index = node(LONG, str(place.rng.choice(numbers)))
    if place.chance(0.3):
        index = node(LONG, "((", long_(place, min(budget, 1)), ") & 127)")
    return node(LONG, histogram(place, found), "[", index, "]")


def _sample_value(place: Place, budget: int) -> Node:
    """``<<<`` as a value."""
    arrays, scalars = place.arrays(STATS, writable=True), place.aggregates(writable=True)
    if not arrays and not scalars:
        return _arithmetic(place, budget)
    return node(LONG, "(", target_of(place, STATS, scalars, budget), " <<< ", small(place), ")")


def _call_long(place: Place, budget: int) -> Node:
    functions = place.callable(LONG)
    return call(place, place.rng.choice(functions), budget) if functions else _simple_long(place)


def _match(place: Place, budget: int) -> Node:
    op = place.rng.choice(("=~", "=~", "!~"))
    if place.chance(0.5):
        text = node(STRING, f'"{subject(place.rng)}"')
    else:
        text = string(place, min(budget, 1))
    return node(LONG, "(", text, f' {op} "{pattern(place.rng)}")')


def _of_library(place: Place, budget: int, wanted: str = LONG) -> Node:
    if wanted == LONG and place.chance(0.03):
        return node(LONG, "ngroups()")
    if wanted == STRING and place.chance(0.08):
        return node(STRING, f"matched({place.rng.choice('00123')})")
    table = MORE if place.world.library and place.chance(0.4) else BASIC
    name, kinds = place.rng.choice(table[wanted])
    args = [_argument(place, kind, budget) for kind in kinds]
    return node(wanted, f"{name}(", *joined(", ", args), ")")


def _argument(place: Place, kind: str, budget: int) -> Node:
    match kind:
        case "string":
            return string(place, budget)
        case "long":
            return long_(place, budget)
        case "small":
            return small(place)
        case "base":
            return node("base", place.rng.choice(("0", "2", "8", "10", "16", "36", "1", "37")))
        case "flag":
            return node("flag", place.rng.choice(("0", "1", "2")))
        case "delims":
            return node("delims", place.rng.choice(('" ,|="', '"a"', '""', '", "', '"bx"')))
        case "nowhere":
            return node("nowhere", place.rng.choice(("0", "1", "8", "0x100", "4000")))
        case _:
            raise ValueError(kind)


# --- strings ------------------------------------------------------------------------------------


def _simple_string(place: Place) -> Node:
    names = place.names(STRING)
    if names and place.chance(0.6):
        return node(STRING, place.rng.choice(names))
    if place.chance(0.2):
        return node(STRING, f'"{subject(place.rng)}"')
    return node(STRING, f'"{place.rng.choice(TEXTS)}"')


def _concatenation(place: Place, budget: int) -> Node:
    parts = [string(place, budget) for _ in range(place.rng.choice((2, 2, 3)))]
    return node(STRING, "(", *joined(" . ", parts), ")")


def _element_string(place: Place, budget: int) -> Node:
    arrays = place.arrays(STRING)
    return element(place, place.rng.choice(arrays), budget) if arrays else _simple_string(place)


def _ternary_string(place: Place, budget: int) -> Node:
    return _ternary(place, budget, STRING)


def _assignment_string(place: Place, budget: int) -> Node:
    target = target_of(place, STRING, place.names(STRING), budget)
    return node(STRING, "(", target, place.rng.choice((" = ", " .= ")), string(place, budget), ")")


def _call_string(place: Place, budget: int) -> Node:
    functions = place.callable(STRING)
    return call(place, place.rng.choice(functions), budget) if functions else _simple_string(place)


def _made_string(place: Place, budget: int) -> Node:
    return _of_library(place, budget, STRING)


def _histogram_text(place: Place, budget: int) -> Node:
    found = statistic(place, budget)
    if found is None or place.chance(0.6):
        return _simple_string(place)
    name = place.rng.choice(("sprint", "sprintln"))
    return node(STRING, f"{name}(", histogram(place, found), ")")


def _sprintf(place: Place, budget: int) -> Node:
    return sprintf_call(place, lambda ty: expression(place, ty, min(budget, 1)))


def _sprint(place: Place, budget: int) -> Node:
    return sprint_call(place, lambda ty: expression(place, ty, min(budget, 1)))


_LONGS: tuple[Callable[[Place, int], Node], ...] = (
    *(_arithmetic, _arithmetic, _arithmetic, _comparison, _comparison, _logic, _unary),
    *(_ternary, _assignment, _crement, _element_long, _element_long, _membership, _extractor),
    *(_bucket, _sample_value, _call_long, _call_long, _match, _of_library, _of_library),
)
_STRINGS: tuple[Callable[[Place, int], Node], ...] = (
    *(_concatenation, _concatenation, _element_string, _ternary_string, _assignment_string),
    *(_call_string, _made_string, _made_string, _sprintf, _sprintf, _sprint, _histogram_text),
)
