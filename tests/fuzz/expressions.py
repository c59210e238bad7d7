"""Random expressions of a given type."""

from __future__ import annotations

from collections.abc import Callable

from .formats import sprint_call, sprintf_call
from .scope import LONG, STATS, STRING, Array, Function, Place
from .tree import Node, joined, node

NUMBERS = (
    *("0", "0", "1", "1", "2", "3", "5", "7", "8", "10", "13", "31", "63", "64", "65", "100"),
    *("255", "256", "1000", "4095", "65536", "0x7fffffff", "0x80000000", "0xffffffff"),
    *("0x7fffffffffffffff", "0x8000000000000000", "0xffffffffffffffff", "1234567890123"),
)
KEYS = ("", "a", "b", "ab", "k")
TEXTS = (
    *("", "", "a", "b", "ab", "abc", "b a", "x=1", "12", "-7", "0x1f", "hello world", "a,b,,c"),
    *("aaaa", "0123456789", r"\t|\n", r"\"q\"", r"back\\slash", r"\303\251", r"\377\200"),
    *("%d %s", "a longer text, of about forty characters", "Abc-42_z", "key=value;"),
)
PATTERNS = (
    *("a", "^a", "a$", "^$", "b+", "[0-9]+", "(a)(b)?", "^[a-z]*$", "a|b", "x=([0-9]+)"),
    *("(ab|a)(c|bcd)?", "[^a-z]", ".", "l{2}", "o.*o", "([a-z]+)=([a-z]+);", "[[:alpha:]]{2,3}"),
)
_ARITHMETIC = ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", ">>>")
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_EXTRACTORS = (*("count", "sum") * 5, "min", "max", "avg", "variance")
LINEAR = (-20, 100, 10)  # shape of all linear histograms: start, stop, step


def expression(place: Place, wanted: str, budget: int) -> Node:
    """An expression of type long or string; ``budget`` limits how deep it nests."""
    return long_(place, budget) if wanted == LONG else string(place, budget)


def long_(place: Place, budget: int) -> Node:
    """A number."""
    if budget <= 0 or place.rng.random() < 0.2:
        return _simple_long(place)
    return place.rng.choice(_LONGS)(place, budget - 1)


def string(place: Place, budget: int) -> Node:
    """A string."""
    if budget <= 0 or place.rng.random() < 0.25:
        return _simple_string(place)
    return place.rng.choice(_STRINGS)(place, budget - 1)


def element(place: Place, array: Array, budget: int) -> Node:
    """``array[keys]``."""
    return node(array.value, f"{array.name}[", *joined(", ", keys(place, array, budget)), "]")


def keys(place: Place, array: Array, budget: int) -> list[Node]:
    """Keys that are likely to meet an element."""
    return [_key(place, ty, budget) for ty in array.keys]


def small(place: Place) -> Node:
    """A number that is not far from 0."""
    return node(LONG, str(place.rng.choice((-1, 0, 1, 2, 3, 4, 5, 6, 8, 12, 20))))


def call(place: Place, function: Function, budget: int) -> Node:
    """A call of a function of the program."""
    place.writes |= function.writes
    args = [expression(place, ty, min(budget, 2)) for ty in function.params]
    if function.recursive:
        args[0] = node(LONG, str(place.rng.choice((0, 1, 2, 3, 4, 30))))
    return node(function.result, f"{function.name}(", *joined(", ", args), ")")


# --- numbers ------------------------------------------------------------------------------------


def _simple_long(place: Place) -> Node:
    names = place.names(LONG)
    if names and place.rng.random() < 0.6:
        return node(LONG, place.rng.choice(names))
    number = place.rng.choice(NUMBERS)
    return node(LONG, f"(-{number})" if place.rng.random() < 0.2 else number)


def _key(place: Place, ty: str, budget: int) -> Node:
    if ty == STRING:
        if place.rng.random() < 0.7:
            return node(STRING, '"' + place.rng.choice(KEYS) + '"')
        return string(place, min(budget, 1))
    if place.rng.random() < 0.6:
        return small(place)
    return node(LONG, "((", long_(place, min(budget, 1)), ") % 5)")


def _arithmetic(place: Place, budget: int) -> Node:
    op = place.rng.choice(_ARITHMETIC)
    return node(LONG, "(", long_(place, budget), f" {op} ", long_(place, budget), ")")


def _comparison(place: Place, budget: int) -> Node:
    op = place.rng.choice(_COMPARISONS)
    ty = place.rng.choice((LONG, LONG, STRING))
    left, right = expression(place, ty, budget), expression(place, ty, budget)
    return node(LONG, "(", left, f" {op} ", right, ")")


def _logic(place: Place, budget: int) -> Node:
    op = place.rng.choice(("&&", "||"))
    return node(LONG, "(", long_(place, budget), f" {op} ", long_(place, budget), ")")


def _unary(place: Place, budget: int) -> Node:
    return node(LONG, f"({place.rng.choice('-~!')}(", long_(place, budget), "))")


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
    if arrays and (not names or place.rng.random() < 0.4):
        array = place.rng.choice(arrays)
        place.writes.add(array.name)
        return node("target", *element(place, array, budget).parts)
    return node("target", place.rng.choice(names))


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
    if len(wanted) > 1 and place.rng.random() < 0.4:
        wanted[place.rng.randrange(len(wanted))] = node("wildcard", "*")
    return node(LONG, "([", *joined(", ", wanted), f"] in {array.name})")


def statistic(place: Place, budget: int) -> Node | None:
    """An aggregate global or element of one, if the program has any."""
    scalars = [n for n, ty in place.world.scalars.items() if ty == STATS]
    arrays = place.arrays(STATS)
    if arrays and (not scalars or place.rng.random() < 0.5):
        return element(place, place.rng.choice(arrays), budget)
    return node(STATS, place.rng.choice(scalars)) if scalars else None


def _extractor(place: Place, budget: int) -> Node:
    stat = statistic(place, budget)
    if stat is None:
        return _simple_long(place)
    return node(LONG, f"@{place.rng.choice(_EXTRACTORS)}(", stat, ")")


def histogram(place: Place, stat: Node) -> Node:
    """``@hist_log`` or ``@hist_linear`` of an aggregate."""
    if place.rng.random() < 0.5:
        return node("histogram", "@hist_log(", stat, ")")
    return node("histogram", "@hist_linear(", stat, ", {}, {}, {})".format(*LINEAR))


def _bucket(place: Place, budget: int) -> Node:
    stat = statistic(place, budget)
    if stat is None:
        return _simple_long(place)
    index = node(LONG, str(place.rng.choice((-1, 0, 1, 2, 5, 14, 15, 63, 64, 65, 66, 70, 128))))
    return node(LONG, histogram(place, stat), "[", index, "]")


def _call_long(place: Place, budget: int) -> Node:
    functions = place.callable(LONG)
    return call(place, place.rng.choice(functions), budget) if functions else _simple_long(place)


def _match(place: Place, budget: int) -> Node:
    op = place.rng.choice(("=~", "=~", "!~"))
    pattern = place.rng.choice(PATTERNS)
    return node(LONG, "(", string(place, min(budget, 1)), f' {op} "{pattern}")')


def _of_strings(place: Place, budget: int) -> Node:
    one = string(place, budget)
    if place.rng.random() < 0.03:
        return node(LONG, "ngroups()")
    match place.rng.randrange(6):
        case 0:
            return node(LONG, "strlen(", one, ")")
        case 1:
            return node(LONG, "isinstr(", one, ", ", string(place, 0), ")")
        case 2:
            return node(LONG, "strpos(", one, ", ", string(place, 0), ")")
        case 3:
            return node(LONG, "isdigit(", one, ")")
        case 4:
            base = place.rng.choice(("0", "2", "8", "10", "16", "36"))
            return node(LONG, "strtol(", one, f", {base})")
        case _:
            return node(LONG, "stringat(", one, ", ", small(place), ")")


# --- strings ------------------------------------------------------------------------------------


def _simple_string(place: Place) -> Node:
    names = place.names(STRING)
    if names and place.rng.random() < 0.6:
        return node(STRING, place.rng.choice(names))
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
    one = string(place, budget)
    if place.rng.random() < 0.05:
        return node(STRING, f"matched({place.rng.choice('0012')})")
    match place.rng.randrange(6):
        case 0:
            return node(STRING, "substr(", one, ", ", small(place), ", ", small(place), ")")
        case 1:
            new = string(place, 0)
            return node(STRING, "str_replace(", one, ", ", string(place, 0), ", ", new, ")")
        case 2:
            return node(STRING, "text_str(", one, ")")
        case 3:
            limit, quoted = small(place), place.rng.choice("01")
            return node(STRING, "text_strn(", one, ", ", limit, f", {quoted})")
        case 4:
            return node(STRING, "tokenize(", one, ', " ,|=")')
        case _:
            return node(STRING, 'tokenize(" ,|=")')


def _sprintf(place: Place, budget: int) -> Node:
    return sprintf_call(place, lambda ty: expression(place, ty, min(budget, 1)))


def _sprint(place: Place, budget: int) -> Node:
    return sprint_call(place, lambda ty: expression(place, ty, min(budget, 1)))


_LONGS: tuple[Callable[[Place, int], Node], ...] = (
    *(_arithmetic, _arithmetic, _arithmetic, _comparison, _comparison, _logic, _unary),
    *(_ternary, _assignment, _crement, _element_long, _element_long, _membership, _extractor),
    *(_bucket, _call_long, _call_long, _match, _of_strings, _of_strings),
)
_STRINGS: tuple[Callable[[Place, int], Node], ...] = (
    *(_concatenation, _concatenation, _element_string, _ternary_string, _assignment_string),
    *(_call_string, _made_string, _made_string, _sprintf, _sprintf, _sprint),
)
