"""Places in the code that source patterns stand for: ``FUNCTION[@FILE[:LINES]]``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from pystap.debuginfo import dwarfconst as c
from pystap.debuginfo.dwarfindex import functions_of, is_defined
from pystap.debuginfo.dwarflines import Line
from pystap.debuginfo.dwarfscopes import body_pc, function_at, inlined_at, labels
from pystap.debuginfo.qualified import fits, is_qualified, take_apart
from pystap.typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pystap.debuginfo.debugfiles import DebugInfo
    from pystap.debuginfo.dwarf import Die

_FAR = 1 << 31
_SCOPES = (c.TAG_NAMESPACE, c.TAG_CLASS, c.TAG_STRUCT, c.TAG_UNION)


class Pattern(NamedTuple):
    """A parsed pattern.  ``lines`` are inclusive ranges; None: no lines were given.

    With ``relative`` they count from the function's own line.
    """

    function: str
    file: str = ""
    lines: tuple[tuple[int, int], ...] | None = None
    relative: bool = False

    @property
    def every_line(self) -> bool:
        """Whether ``:*`` was written."""
        return self.lines == ((0, _FAR),)


class Place(NamedTuple):
    """An instruction of a function, or of one inlined there.

    ``entry`` is where the function starts, ``pc`` where to stop.  ``file`` and ``line`` are
    those of the function's declaration, or of the statement.
    """

    function: Die
    name: str
    entry: int
    pc: int
    file: str
    line: int

    @property
    def inlined(self) -> bool:
        """Whether this is a function inlined into another."""
        return self.function.tag == c.TAG_INLINED


class NoLines(Exception):  # noqa: N818 - an answer: the lines near
    """No code comes from a line asked for; ``near`` are the next ones before and behind."""

    def __init__(self, line: int, near: list[int]) -> None:
        super().__init__(f"no code at line {line}")
        self.line = line
        self.near = near


def parse_pattern(text: str) -> Pattern | None:
    """Take a pattern apart; None when it is malformed."""
    function, at, rest = text.partition("@")
    if not at:
        return Pattern(function) if function else None
    if not function or not rest:
        return None
    file, colon, lines = rest.rpartition(":")
    if colon:
        ranges = _ranges(lines)
        return None if ranges is None or not file else Pattern(function, file, ranges)
    file, plus, offset = rest.rpartition("+")
    if plus and offset.isdigit():
        return Pattern(function, file, ((int(offset), int(offset)),), True) if file else None
    return Pattern(function, rest)


def _ranges(text: str) -> tuple[tuple[int, int], ...] | None:
    if text == "*":
        return ((0, _FAR),)
    found = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not low.isdigit() or (dash and not high.isdigit()):
            return None
        found.append((int(low), int(high) if dash else int(low)))
        if found[-1][0] > found[-1][1]:
            return None
    return tuple(found)


# --- functions ----------------------------------------------------------------------------------


def functions(info: DebugInfo, pattern: Pattern) -> list[Place]:
    """The functions a pattern stands for with the places they are inlined at, by address."""
    found: dict[tuple[int, int], Place] = {}
    for die in _named(info, pattern):
        if not _may_be_there(die, pattern):
            continue
        for instance in _instances(info, die):
            place = function_place(instance)
            if place is not None and _declared_there(place, pattern):
                found[place.entry, place.function.key] = place
    return [found[key] for key in sorted(found)]


def _named(info: DebugInfo, pattern: Pattern) -> Iterator[Die]:
    """Functions by name, which may have scopes."""
    name = pattern.function
    if not is_qualified(name) or (not _has_wildcard(name) and info.names.functions(name)):
        yield from _by_own_name(info, pattern)  # Go has scopes in the function's own name
        return
    for die in _by_own_name(info, pattern._replace(function=_sought(name))):
        if is_meant(die, name):
            yield die


def _by_own_name(info: DebugInfo, pattern: Pattern) -> Iterator[Die]:
    """The same by own name; with wildcards only those of the file's units are looked at.

    Unless dwz(1) moved entries to a file without units of that name.
    """
    name = pattern.function
    if not _has_wildcard(name):
        yield from info.names.functions(name)
    elif pattern.file and info.dwarf.alternate is None:
        for unit in info.names.units_of_file(pattern.file):
            for die in functions_of(unit):
                if fnmatchcase(die.name, name) and is_defined(die):
                    yield die
    else:
        for found in info.names.function_names():
            if fnmatchcase(found, name):
                yield from info.names.functions(found)


def _has_wildcard(name: str) -> bool:
    return any(w in name for w in "*?[")


def _sought(pattern: str) -> str:
    """What to search for a name with scopes: the function's own name.

    Compilers and demanglers spell arguments of templates in different ways.
    """
    own = take_apart(pattern).last
    stem, bracket, _ = own.partition("<")
    return own if not bracket or own.startswith("operator") else f"{stem}<*"


def is_meant(die: Die, pattern: str) -> bool:
    """Whether the name of a function or variable fits a pattern."""
    if not is_qualified(pattern):
        return fnmatchcase(die.name, pattern)
    symbol = die.text(c.AT_LINKAGE_NAME) or die.text(c.AT_MIPS_LINKAGE_NAME)
    return fits(symbol or with_scopes(die), die.name, pattern)


def with_scopes(die: Die) -> str:
    """The name of a function that has no symbol of its own, as those in anonymous namespaces."""
    names = [die.name]
    declared = die.origin()
    declared = declared.reference(c.AT_SPECIFICATION, own=True) or declared
    for scope in declared.scopes():
        if scope.tag in _SCOPES:
            names.insert(0, scope.name or "(anonymous namespace)")
    return "::".join(names)


def _instances(info: DebugInfo, die: Die) -> Iterator[Die]:
    """The function itself if it has code, and where it is inlined."""
    if die.entry_pc() is not None:
        yield die
    else:
        yield from info.names.inlined(die)


def function_place(die: Die) -> Place | None:
    """The place of a function, or of an inlined one; None for one without code."""
    entry = die.entry_pc()
    if entry is None:
        return None
    file, line = die.declared()
    pc = body_pc(die)
    return Place(die, die.name, entry, entry if pc is None else pc, file, line)


def _declared_there(place: Place, pattern: Pattern) -> bool:
    """Whether a function is in the file, and at the lines, of a pattern."""
    if not pattern.file:
        return True
    if pattern.lines is None or pattern.every_line or pattern.relative:
        return file_fits(place.file, pattern.file)
    if file_fits(place.file, pattern.file) and _within(place.line, pattern.lines):
        return True
    unit = place.function.unit()
    return any(
        _within(row.number, pattern.lines) and file_fits(row.file, pattern.file)
        for row in _rows(unit, place.function)
    )


def _may_be_there(die: Die, pattern: Pattern) -> bool:
    """Whether it is worth to look for the places of a function."""
    by_lines = pattern.lines is not None and not (pattern.every_line or pattern.relative)
    return not pattern.file or by_lines or file_fits(die.declared()[0], pattern.file)


def file_fits(path: str, pattern: str) -> bool:
    """Whether a source file is meant by a pattern, which may leave out folders before it."""
    return path == pattern or fnmatchcase(path, pattern) or fnmatchcase(path, f"*/{pattern}")


def _within(line: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(low <= line <= high for low, high in ranges)


def labelled(places: Iterable[Place], pattern: str) -> Iterator[tuple[Place, str]]:
    """The labels of functions that fit a pattern, as places, with their names."""
    for place in places:
        for label in labels(place.function):
            pc = label.address(c.AT_LOW_PC)
            if pc is not None and fnmatchcase(label.name, pattern):
                file, line = label.declared()
                yield place._replace(pc=pc, file=file, line=line), label.name


# --- statements ---------------------------------------------------------------------------------


def statements(info: DebugInfo, pattern: Pattern, nearest: bool) -> list[Place]:
    """The statements a pattern stands for: one a line and function, by address.

    Raises :class:`NoLines` when the file has code but not at the line asked for; with
    ``nearest`` the next line that has is taken.
    """
    if pattern.lines is None:
        return [place._replace(line=place.line) for place in functions(info, pattern)]
    if pattern.relative:
        return _relative(info, pattern, nearest)
    rows = [
        (unit, row)
        for unit in _units(info, pattern)
        for row in info.dwarf.lines(unit).rows
        if not row.end and row.number and file_fits(row.file, pattern.file)
    ]
    return _choose(info, pattern, rows, pattern.lines, nearest)


def _relative(info: DebugInfo, pattern: Pattern, nearest: bool) -> list[Place]:
    """Lines counted from each function's own."""
    assert pattern.lines is not None  # the caller looked
    found: list[Place] = []
    for place in functions(info, Pattern(pattern.function, pattern.file)):
        lines = tuple((place.line + low, place.line + high) for low, high in pattern.lines)
        rows = [(place.function.unit(), row) for row in _rows_of(place)]
        found += _choose(info, pattern, rows, lines, nearest)
    return list({place.pc: place for place in found}.values())


def _rows_of(place: Place) -> list[Line]:
    rows = _rows(place.function.unit(), place.function)
    return [row for row in rows if row.file == place.file and row.number]


def _choose(
    info: DebugInfo,
    pattern: Pattern,
    rows: list[tuple[Die, Line]],
    lines: tuple[tuple[int, int], ...],
    nearest: bool,
) -> list[Place]:
    single = len(lines) == 1 and lines[0][0] == lines[0][1]
    wanted = [(unit, row) for unit, row in rows if _within(row.number, lines)]
    found = _by_function(info, pattern, wanted)
    if found or not single:
        return found
    numbers = {p.line for p in _by_function(info, pattern, rows)} if rows else set()
    line = lines[0][0]
    before = max((n for n in numbers if n < line), default=0)
    behind = min((n for n in numbers if n > line), default=0)
    near = [n for n in (before, behind) if n]
    if not near:
        return []
    if not nearest:
        raise NoLines(line, near)
    chosen = min(near, key=lambda n: (abs(n - line), n < line))
    return _by_function(info, pattern, [(u, row) for u, row in rows if row.number == chosen])


def _by_function(info: DebugInfo, pattern: Pattern, rows: list[tuple[Die, Line]]) -> list[Place]:
    """The first good address of each line in each function that fits the pattern."""
    best: dict[tuple[str, int, int], tuple[bool, Place]] = {}
    for _, row in rows:
        function = _around(info, pattern.function, row.address)
        if function is None:
            continue
        entry = function.entry_pc() or row.address
        place = Place(function, function.name, entry, row.address, row.file, row.number)
        key = (row.file, row.number, function.key)
        known = best.get(key)
        if known is None or (not row.statement, row.address) < (known[0], known[1].pc):
            best[key] = (not row.statement, place)
    return sorted((place for _, place in best.values()), key=lambda p: (p.pc, p.line))


def _around(info: DebugInfo, pattern: str, pc: int) -> Die | None:
    """The innermost function or inlined function around an address whose name fits."""
    function = function_at(info.dwarf, pc)
    if function is None:
        return None
    chain = [function, *inlined_at(function, pc)]
    for die in reversed(chain):
        if is_meant(die, pattern):
            return die
    return None


def _units(info: DebugInfo, pattern: Pattern) -> list[Die]:
    """The units with code of a source file."""
    if is_qualified(pattern.function):
        pattern = pattern._replace(function=_sought(pattern.function))
    if _has_wildcard(pattern.function):
        return info.names.units_of_file(pattern.file)
    units = {die.unit().key: die.unit() for die in info.names.functions(pattern.function)}
    return list(units.values())


def _rows(unit: Die, function: Die) -> Iterator[Line]:
    """The rows of a function's code."""
    pieces = function.ranges()
    for row in unit.file.lines(unit).rows:
        if not row.end and any(low <= row.address < high for low, high in pieces):
            yield row


def at_address(info: DebugInfo, pc: int) -> Place | None:
    """The innermost function around an address."""
    function = function_at(info.dwarf, pc)
    if function is None:
        return None
    inner = [function, *inlined_at(function, pc)][-1]
    row = info.dwarf.lines(function.unit()).at(pc)
    file, line = (row.file, row.number) if row else inner.declared()
    return Place(inner, inner.name, inner.entry_pc() or pc, pc, file, line)


def at_entry(info: DebugInfo, pc: int) -> Place | None:
    """The function that starts at an address."""
    function = function_at(info.dwarf, pc)
    if function is None or function.entry_pc() != pc:
        return None
    return function_place(function)
