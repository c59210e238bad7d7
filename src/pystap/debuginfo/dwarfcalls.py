"""What functions call: the calls that were inlined, and those that compilers noted."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from pystap.debuginfo import dwarfconst as c
from pystap.debuginfo.dwarfplaces import Pattern, Place, function_place, functions
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.debuginfo.debugfiles import DebugInfo
    from pystap.debuginfo.dwarf import Die

_CALLS = (c.TAG_CALL_SITE, c.TAG_GNU_CALL_SITE)


def callees(info: DebugInfo, caller: Place, pattern: str) -> list[Place]:
    """The functions that ``caller`` calls, by address.

    Inlined ones are places within it.  Compilers note calls when they optimise; where there is
    no note at all, a plain name stands for the function of that name.
    """
    found: dict[tuple[int, int], Place] = {}
    names: dict[str, bool] = {}  # whether a call says more than the name
    for die in _below(caller.function):
        if die.tag == c.TAG_INLINED:
            place = function_place(die) if fnmatchcase(die.name, pattern) else None
            if place is not None:
                found[place.entry, die.key] = place
            continue
        called = die.reference(c.AT_CALL_ORIGIN) or die.reference(c.AT_ABSTRACT_ORIGIN)
        place = None if called is None else function_place(called)
        if called is not None:
            names[called.name] = names.get(called.name, True) and place is not None
        if place is not None and fnmatchcase(place.name, pattern):
            found[place.entry, place.function.key] = place
    wanted = [name for name, told in names.items() if not told and fnmatchcase(name, pattern)]
    if not names and not any(w in pattern for w in "*?["):
        wanted = [pattern]
    for name in wanted:
        for place in functions(info, Pattern(name)):
            if not place.inlined:
                found[place.entry, place.function.key] = place
    return [found[key] for key in sorted(found)]


def _below(die: Die) -> Iterator[Die]:
    """Calls and inlined functions of a function, not those of what it inlines."""
    for child in die.children():
        if child.tag in _CALLS or child.tag == c.TAG_INLINED:
            yield child
        elif child.tag == c.TAG_LEXICAL_BLOCK:
            yield from _below(child)
