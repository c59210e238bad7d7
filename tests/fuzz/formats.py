"""Random calls of the print family."""

from __future__ import annotations

from collections.abc import Callable

from .scope import LONG, STRING, Place
from .tree import Node, joined, node

Make = Callable[[str], Node]  # an expression of a type

_LITERALS = ("", " ", ", ", "=", "[", "] ", "%%", r"\t", "x", r"\303\251")
_CONVERSIONS = "dddiuoxXpcsssss"
_BINARY = ("%1b", "%2b", "%4b", "%8b", "%b", "%.2b", "%8.4b", "%-8.1b", "%08.2b")
_MEMORY = ("%m", "%3m", "%.4m", "%M", "%.8M", "%#m", "%#.2M")
_DELIMITERS = (",", " ", "", " | ", "%d")


def _directive(place: Place, make: Make) -> tuple[str, list[Node]]:
    """The text of a directive and its arguments."""
    rng = place.rng
    if place.chance(0.04):
        return rng.choice(_BINARY), [make(LONG)]
    if place.world.library and place.chance(0.02):  # memory that cannot be read
        return rng.choice(_MEMORY), [node("nowhere", rng.choice(("0", "1", "4000")))]
    conversion = rng.choice(_CONVERSIONS)
    args: list[Node] = []
    text = "%" + rng.choice(("", "", "", "", "-", "+", " ", "#", "0"))
    if place.chance(0.3):
        if place.chance(0.25):
            text += "*"
            args.append(_size(place))
        else:
            text += str(rng.choice((1, 2, 5, 8, 12, 20)))
    if place.chance(0.2):
        if place.chance(0.3):
            text += ".*"
            args.append(_size(place))
        else:
            text += "." + rng.choice(("", "0", "1", "3", "7"))
    text += rng.choice(("", "", "", "l")) if conversion != "s" else ""
    args.append(make(STRING if conversion == "s" else LONG))
    return text + conversion, args


def _size(place: Place) -> Node:
    """A width or precision, perhaps negative, not huge."""
    names = place.names(LONG)
    if names and place.chance(0.4):
        return node(LONG, f"({place.rng.choice(names)} % 12)")
    return node(LONG, str(place.rng.choice((-8, -1, 0, 1, 3, 6, 11))))


def _format(place: Place, make: Make, most: int) -> tuple[str, list[Node]]:
    text, args = place.rng.choice(_LITERALS), list[Node]()
    for _ in range(place.rng.randint(1, most)):
        directive, wanted = _directive(place, make)
        text += directive + place.rng.choice(_LITERALS)
        args += wanted
    return text, args


def printf_call(place: Place, make: Make) -> Node:
    """``printf(...)`` of a line."""
    text, args = _format(place, make, place.rng.choice((1, 2, 4)))
    end = place.rng.choice((r"\n", r"\n", r"\n", "", r"\n%"))
    return node("print", f'printf("{text}{end}", ', *joined(", ", args), ")")


def sprintf_call(place: Place, make: Make) -> Node:
    """``sprintf(...)``."""
    text, args = _format(place, make, place.rng.choice((1, 2, 3)))
    return node(STRING, f'sprintf("{text}", ', *joined(", ", args), ")")


def _values(place: Place, make: Make, least: int) -> list[Node]:
    count = place.rng.randint(least, 4)
    return [make(place.rng.choice((LONG, STRING))) for _ in range(count)]


def print_call(place: Place, make: Make) -> Node:
    """``print``, ``println``, ``printd`` or ``printdln``."""
    if place.chance(0.5):
        name = place.rng.choice(("print", "println"))
        return node("print", f"{name}(", *joined(", ", _values(place, make, 1)), ")")
    name, between = place.rng.choice(("printd", "printdln")), place.rng.choice(_DELIMITERS)
    return node("print", f'{name}("{between}", ', *joined(", ", _values(place, make, 2)), ")")


def sprint_call(place: Place, make: Make) -> Node:
    """``sprint``, ``sprintln``, ``sprintd`` or ``sprintdln``."""
    call = print_call(place, make)
    return node(STRING, "s" + str(call.parts[0]), *call.parts[1:])
