"""What is visible at a place in the code: functions, blocks, their parameters and locals."""

from __future__ import annotations

from collections.abc import Iterator

from pystap.debuginfo import dwarfconst as c
from pystap.debuginfo.dwarfindex import functions_of, top_level
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.debuginfo.dwarf import Die, Dwarf

_VARIABLES = (c.TAG_FORMAL_PARAMETER, c.TAG_VARIABLE)


def function_at(dwarf: Dwarf, pc: int) -> Die | None:
    """The function (not an inlined one) whose code an address belongs to."""
    from bisect import bisect_right

    unit = dwarf.unit_at(pc)
    if unit is None:
        return None
    pieces = dwarf.pieces.get(unit.key)
    if pieces is None:
        pieces = dwarf.pieces[unit.key] = _pieces(unit)
    index = bisect_right(pieces, pc, key=lambda piece: piece[0]) - 1
    return pieces[index][2] if index >= 0 and pc < pieces[index][1] else None


def _pieces(unit: Die) -> list[tuple[int, int, Die]]:
    """The code of a unit's functions: first address, the one behind, function."""
    found = [(low, high, die) for die in functions_of(unit) for low, high in die.ranges()]
    return sorted(found, key=lambda piece: piece[:2])


def inlined_at(function: Die, pc: int) -> Iterator[Die]:
    """The inlined functions around an address within a function, outermost first."""
    for child in function.children():
        if child.tag in (c.TAG_LEXICAL_BLOCK, c.TAG_INLINED) and child.contains(pc):
            if child.tag == c.TAG_INLINED:
                yield child
            yield from inlined_at(child, pc)


def blocks_at(function: Die, pc: int) -> list[Die]:
    """A function and its blocks around an address, innermost first; not what it inlines."""
    found = [function]
    while True:
        inner = [
            child
            for child in found[0].children()
            if child.tag == c.TAG_LEXICAL_BLOCK and child.contains(pc)
        ]
        if not inner:
            return found
        found.insert(0, inner[0])


def parameters(function: Die) -> list[Die]:
    """The named parameters of a function, in order."""
    return [d for d in function.children() if d.tag == c.TAG_FORMAL_PARAMETER and d.name]


def variables_at(function: Die, pc: int) -> list[Die]:
    """Parameters and locals visible at an address; inner ones hide outer ones of their name.

    Parameters come first, then locals from the outermost block inwards.
    """
    found: dict[str, Die] = {}
    for block in reversed(blocks_at(function, pc)):
        for die in block.children():
            if die.tag in _VARIABLES and die.name:
                found.pop(die.name, None)
                found[die.name] = die
    return sorted(found.values(), key=_order)


def _order(die: Die) -> tuple[bool, int]:
    """Parameters as declared; inlined functions have them in any order."""
    is_local = die.tag != c.TAG_FORMAL_PARAMETER
    return is_local, 0 if is_local else die.origin().key


def frame_base(function: Die) -> Die:
    """The function whose frame the locals are in; differs from an inlined function."""
    if function.tag != c.TAG_INLINED:
        return function
    pc = function.entry_pc()
    outer = None if pc is None else function_at(function.file, pc)
    return outer if outer is not None else function


def globals_of(unit: Die, name: str) -> Iterator[Die]:
    """The variables of a unit of a name."""
    for die in top_level(unit):
        if die.tag == c.TAG_VARIABLE and die.name == name:
            yield die


def labels(function: Die) -> Iterator[Die]:
    """The labels of a function that have an address, in its blocks, too."""
    for child in function.children():
        if child.tag == c.TAG_LABEL and child.address(c.AT_LOW_PC) is not None:
            yield child
        elif child.tag == c.TAG_LEXICAL_BLOCK:
            yield from labels(child)


def is_optimised(function: Die) -> bool:
    """Whether the compiler optimised a function, so that locations hold from its entry on.

    GCC notes its options with the unit.  Where it says nothing: optimised code has variables
    that move about.
    """
    producer = function.unit().text(c.AT_PRODUCER) or ""
    if producer.startswith("GNU "):
        levels = [word for word in producer.split() if word.startswith("-O")]
        return bool(levels) and levels[-1] != "-O0"
    pc = function.entry_pc()
    if pc is None:
        return True
    return any(die.is_list(c.AT_LOCATION) for die in function.children() if die.tag in _VARIABLES)


def body_pc(function: Die) -> int | None:
    """Where to stop to find the parameters of a function: its entry, or behind its prologue.

    Code that is not optimised stores parameters first; their locations hold after that.
    """
    entry = function.entry_pc()
    if entry is None or is_optimised(function):
        return entry
    after = [pc for pc in function.breakpoints() if pc >= entry and function.contains(pc)]
    return after[0] if after else entry
