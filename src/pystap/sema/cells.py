"""Type variables for inference: cells that are made equal to each other or to a type."""

from __future__ import annotations

from pystap.lang.ast import ValueType
from pystap.lang.tokens import Token
from pystap.typing import Final


class Cell:
    """A type to be found.  ``tok`` is where it became known."""

    __slots__ = ("parent", "tok", "type")

    def __init__(self, value_type: ValueType = "unknown", tok: Token | None = None) -> None:
        self.parent: Cell | None = None
        self.type: ValueType = value_type
        self.tok = tok


# The type of everything that is known to be a number or a string; never changed.
LONG: Final = Cell("long")
STRING: Final = Cell("string")
STATS: Final = Cell("stats")


def find(cell: Cell) -> Cell:
    """The cell that stands for all cells equal to this one."""
    while cell.parent is not None:
        above = cell.parent
        if above.parent is not None:
            cell.parent = above.parent
        cell = above
    return cell


def unify(a: Cell, b: Cell, tok: Token) -> tuple[Cell, Cell] | None:
    """Make two cells equal because of what stands at ``tok``; both, found, if they clash."""
    a, b = find(a), find(b)
    if a is b:
        return None
    if a.type == "unknown":
        a, b = b, a
    # Now ``a`` is known, or both are unknown.
    if b.type != "unknown":
        return None if a.type == b.type else (a, b)
    if a in _FIXED:
        b.type, b.tok = a.type, tok
    else:
        b.parent = a
    return None


_FIXED: Final = frozenset((LONG, STRING, STATS))
