"""Which source line and which inlined functions each piece of a program's code belongs to."""

from __future__ import annotations

from pystap.debuginfo import dwarfconst as c
from pystap.debuginfo.dwarfindex import top_level
from pystap.debuginfo.dwarflines import files_by_number
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.debuginfo.dwarf import Die, Dwarf

_BLOCKS: Final = (c.TAG_INLINED, c.TAG_LEXICAL_BLOCK)
_AROUND_FUNCTIONS: Final = (c.TAG_NAMESPACE, c.TAG_STRUCT, c.TAG_CLASS)


class Place(NamedTuple):
    """From ``address`` on: source file and line (empty, 0: unknown), and 1 + the index of the
    innermost inlined call, 0 for none."""

    address: int
    file: str
    line: int
    inlined: int


class Inlined(NamedTuple):
    """A call that the compiler replaced by the function's body.

    ``start`` and ``size`` of its code in bytes, ``file`` and ``line`` of the call, and 1 + the
    index of the call around it, 0 when that is a real function.
    """

    name: str
    start: int
    size: int
    file: str
    line: int
    outer: int


def read_places(dwarf: Dwarf, readable: Callable[[str], str]) -> tuple[list[Place], list[Inlined]]:
    """All of a file's places by address, and the inlined calls they name.

    ``readable`` makes what people read of a symbol's name.
    """
    calls: list[Inlined] = []
    spans: list[tuple[int, int, int]] = []  # first address, the one behind, 1 + index
    lines: dict[int, tuple[str, int]] = {}
    for unit in dwarf.units():
        if unit.die.tag != c.TAG_COMPILE_UNIT:
            continue
        files = files_by_number(unit.die)
        for die in top_level(unit.die, _AROUND_FUNCTIONS):
            if die.tag == c.TAG_SUBPROGRAM:
                _collect(die, 0, files, calls, spans, readable)
        for row in dwarf.lines(unit.die).rows:
            if row.end:
                lines.setdefault(row.address, ("", 0))
            else:
                lines[row.address] = (row.file, row.number)
    return _merge(lines, spans), calls


def _merge(lines: dict[int, tuple[str, int]], spans: list[tuple[int, int, int]]) -> list[Place]:
    """Line rows cut where inlined code begins and ends; inner spans come behind outer ones."""
    edges: dict[int, list[tuple[int, bool]]] = {}
    for start, end, index in spans:
        edges.setdefault(start, []).append((index, True))
        edges.setdefault(end, []).append((index, False))
    found: list[Place] = []
    active: list[int] = []
    file, line = "", 0
    for address in sorted({*lines, *edges}):
        if address in lines:
            file, line = lines[address]
        for index, begins in edges.get(address, ()):
            if not begins:
                active.remove(index)
        for index, begins in edges.get(address, ()):
            if begins:
                active.append(index)
        # An inner call always has a greater number than the one it is in.
        place = Place(address, file, line, max(active, default=0))
        if not found or found[-1][1:] != place[1:]:
            found.append(place)
    return found


def _collect(
    die: Die,
    outer: int,
    files: list[str],
    calls: list[Inlined],
    spans: list[tuple[int, int, int]],
    readable: Callable[[str], str],
) -> None:
    """Enter the inlined calls below an entry; ``outer`` is 1 + the index of the one it is in."""
    for child in die.children():
        if child.tag not in _BLOCKS:
            continue
        around = outer
        if child.tag == c.TAG_INLINED:
            pieces = child.ranges()
            if pieces:
                calls.append(_call(child, pieces, outer, files, readable))
                around = len(calls)
                spans += [(start, end, around) for start, end in pieces]
        _collect(child, around, files, calls, spans, readable)


def _call(
    die: Die,
    pieces: list[tuple[int, int]],
    outer: int,
    files: list[str],
    readable: Callable[[str], str],
) -> Inlined:
    origin = die.origin()
    linkage = origin.text(c.AT_LINKAGE_NAME)
    name = readable(linkage) if linkage else origin.name
    start = min(low for low, _ in pieces)
    size = max(high for _, high in pieces) - start
    number = die.unsigned(c.AT_CALL_FILE) or 0
    file = files[number] if number < len(files) else ""
    line = die.unsigned(c.AT_CALL_LINE) or 0
    return Inlined(name or "??", start, size, file, line, outer)
