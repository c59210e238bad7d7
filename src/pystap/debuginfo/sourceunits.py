"""Which compilation units have code of a source file.

A unit of the file's name is what is meant nearly always.  Else, for headers and files that others
include, the units whose line tables mention the file: asking libdw for the files of every unit
takes 1.6 s in a kernel, so the last part of the name is first searched as bytes, in the line
tables and in the strings they refer to.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from pystap.debuginfo import dwarfconst as c
from pystap.debuginfo.contents import section_contents
from pystap.debuginfo.dwarflines import source_files
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.debuginfo.dwarf import Die, Dwarf

_MOST_SEARCHES: Final = 40  # for references to a string; they are quick, line tables are small


def units_of_file(dwarf: Dwarf, pattern: str) -> list[Die]:
    """The units of a file, which may be a pattern and leave out folders before it.

    Parts of units that dwz(1) shares among them may belong to any.
    """
    from pystap.debuginfo.dwarfplaces import file_fits

    dies = [unit.die for unit in dwarf.units()]
    named = [die for die in dies if file_fits(die.name, pattern)]
    if named:
        return named + [die for die in dies if die.tag == c.TAG_PARTIAL_UNIT]
    mentioning = _mentioning(dwarf, dies, pattern.rpartition("/")[2])
    return [die for die in mentioning if any(file_fits(f, pattern) for f in source_files(die))]


def _mentioning(dwarf: Dwarf, dies: list[Die], name: str) -> list[Die]:
    """The units whose line table may mention a file of a name without folders."""
    if any(w in name for w in "*?["):
        return dies
    text = name.encode("latin-1") + b"\0"
    tables = section_contents(dwarf, ".debug_line")
    hits = set(tables.positions(text))
    for section in (".debug_line_str", ".debug_str"):  # compilers use the second, too
        places = section_contents(dwarf, section).positions(text, _MOST_SEARCHES + 1)
        if len(places) > _MOST_SEARCHES:
            return dies
        for place in places:
            hits.update(tables.positions(place.to_bytes(4, "little")))
    starts = sorted(_line_tables(dies), key=lambda entry: entry[0])
    numbers = [start for start, _ in starts]
    found = {bisect_right(numbers, hit) - 1 for hit in hits}
    wanted = {numbers[index] for index in found if index >= 0}
    return [die for start, die in starts if start in wanted]


def _line_tables(dies: list[Die]) -> Iterator[tuple[int, Die]]:
    """Where the line table of each unit begins; several may share one."""
    for die in dies:
        start = die.unsigned(c.AT_STMT_LIST)
        if start is not None:
            yield start, die
