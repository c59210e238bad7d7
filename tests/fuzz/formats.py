"""Random calls of the print family."""

from __future__ import annotations

from collections.abc import Callable

from .scope import LONG, STRING, Place
from .tree import Node, joined, node

Make = Callable[[str], Node]  # an expression of a type

_LITERALS = ("", " ", ", ", "=", "[", "] ", "%%", r"\t", "x", r"\303\251")
_CONVERSIONS = "dddiuoxXpcsssss"
_DELIMITERS = (",", " ", "", " | ", "%d")


def _directive(place: Place, make: Make) -> tuple[str, list[Node]]:
    """The text of a directive and its arguments."""
    rng = place.rng
    conversion = rng.choice(_CONVERSIONS)
    if rng.random() < 0.04:
        return rng.choice(("%1b", "%2b", "%4b", "%b", "%.2b")), [make(LONG)]
    args: list[Node] = []
    text = "%" + rng.choice(("", "", "", "", "-", "+", " ", "#", "0"))
    if rng.random() < 0.3:
        if rng.random() < 0.25:
            text += "*"
            args.append(_size(place))
        else:
            text += str(rng.choice((1, 2, 5, 8, 12, 20)))
    if rng.random() < 0.2 and conversion != "c":
        if rng.random() < 0.3:
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
    if names and place.rng.random() < 0.4:
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
    text, args = _format(place, make, 4)
    return node("print", f'printf("{text}\\n", ', *joined(", ", args), ")")


def sprintf_call(place: Place, make: Make) -> Node:
    """``sprintf(...)``."""
    text, args = _format(place, make, 3)
    return node(STRING, f'sprintf("{text}", ', *joined(", ", args), ")")


def _values(place: Place, make: Make, least: int) -> list[Node]:
    count = place.rng.randint(least, 4)
    return [make(place.rng.choice((LONG, STRING))) for _ in range(count)]


def print_call(place: Place, make: Make) -> Node:
    """``print``, ``println``, ``printd`` or ``printdln``."""
    if place.rng.random() < 0.5:
        name = place.rng.choice(("print", "println"))
        return node("print", f"{name}(", *joined(", ", _values(place, make, 1)), ")")
    name, between = place.rng.choice(("printd", "printdln")), place.rng.choice(_DELIMITERS)
    return node("print", f'{name}("{between}", ', *joined(", ", _values(place, make, 2)), ")")


def sprint_call(place: Place, make: Make) -> Node:
    """``sprint``, ``sprintln``, ``sprintd`` or ``sprintdln``."""
    call = print_call(place, make)
    return node(STRING, "s" + str(call.parts[0]), *call.parts[1:])
