"""Finding functions, variables and types of a file by name.

Few files carry an index of their own, and reading every unit of a large program takes seconds.
So a name is first looked for as bytes: where the string is in ``.debug_str`` (or in
``.debug_info``, which holds short ones itself), then which units refer to it; only those are
read.  For functions whose name is the end of many others, and for patterns of them, libdw goes
through the functions of all units once (:mod:`pystap.debuginfo.functionindex`).  Where nothing of
this works (strings by index, entries that dwz(1) moved elsewhere) all units are read once.  What
was found is kept on disk under the file's build id.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator

from pystap.debuginfo import dwarfconst as c
from pystap.debuginfo.contents import Contents, section_contents
from pystap.debuginfo.elf import Elf
from pystap.typing import TYPE_CHECKING, Final, Literal
from pystap.wholefile import write_whole

if TYPE_CHECKING:
    from pystap.debuginfo.dwarf import Die, Dwarf, Unit
    from pystap.debuginfo.functionindex import FunctionIndex

Kind = Literal["function", "variable", "type"]

_FORMAT: Final = 4  # of the file on disk
_KINDS: Final[dict[int, Kind]] = {
    c.TAG_SUBPROGRAM: "function",
    c.TAG_VARIABLE: "variable",
    c.TAG_STRUCT: "type",
    c.TAG_CLASS: "type",
    c.TAG_UNION: "type",
    c.TAG_ENUM: "type",
    c.TAG_TYPEDEF: "type",
    c.TAG_BASE: "type",
}
_CODE: Final = (c.TAG_SUBPROGRAM, c.TAG_LEXICAL_BLOCK, c.TAG_INLINED, c.TAG_NAMESPACE)
# A string may be the end of longer ones, and each is a search of its own (0.2 s in a kernel).
# Going through all functions takes as long as some four searches, reading everything as some 40.
_MOST_SEARCHES: Final[dict[Kind, int]] = {"function": 4, "variable": 40, "type": 40}
# C, C89, C99, C11, assembler
_FLAT_LANGUAGES: Final = frozenset((0x01, 0x02, 0x0C, 0x1D, 0x8001))
_FEW_FUNCTIONS: Final = 3  # whose search takes no longer than making an index
_INDEXED_STRINGS: Final = (".debug_str_offsets", ".debug_str_offsets.dwo")

_Table = dict[str, list[int]]


class Names:
    """Names of a file's top-level entries.  ``cache`` is a folder, or empty for none."""

    __slots__ = (
        "_bytes", "_complete", "_dirty", "_dwarf", "_functions", "_functions_sought", "_path",
        "_sections", "_sought", "_tables", "_whole",
    )  # fmt: skip

    def __init__(self, dwarf: Dwarf, build_id: str = "", cache: str = "") -> None:
        self._dwarf = dwarf
        self._sections: dict[str, Contents] | None = None
        self._bytes: Contents | None = None
        self._tables = _empty_tables()
        self._complete = False
        self._whole = False  # known to have no units whose entries are in other files
        self._dirty = False
        self._functions: FunctionIndex | None = None
        self._functions_sought = False
        self._sought = 0  # names of functions that were looked for
        self._path = os.path.join(cache, f"dwarf-{build_id}.names") if build_id and cache else ""
        if self._path:
            self._load()

    # ------------------------------------------------------------ questions

    def functions(self, name: str) -> list[Die]:
        """Functions of a name: those with code, and abstract ones that are inlined somewhere."""
        return self._find("function", name)

    def variables(self, name: str) -> list[Die]:
        """Global and static variables of a name, declarations among them."""
        return self._find("variable", name)

    def types(self, name: str) -> list[Die]:
        """Types of a name, declarations among them."""
        return self._find("type", name)

    def function_names(self) -> list[str]:
        """The names of all functions, sorted; declarations may be among them."""
        index = self._function_index(build=True)
        if index is not None:
            return index.names()
        self._read_everything()
        return sorted(self._tables["function"])

    def units_of_file(self, pattern: str) -> list[Die]:
        """The units with code of a source file: those named so, else those that mention it."""
        from pystap.debuginfo.sourceunits import units_of_file

        offsets = self._tables["file"].get(pattern)
        if offsets is None:
            offsets = [die.offset for die in units_of_file(self._dwarf, pattern)]
            self._tables["file"][pattern] = offsets
            self._dirty = True
        return [self._dwarf.die(offset) for offset in offsets]

    def enumerations(self, enumerator: str) -> Iterator[Die]:
        """The enumerations that may have an enumerator of a name."""
        units = self._mentioning(enumerator, _MOST_SEARCHES["type"])
        for unit in self._dwarf.units() if units is None else units:
            for die in top_level(unit.die):
                if die.tag == c.TAG_ENUM:
                    yield die

    def inlined(self, function: Die) -> Iterator[Die]:
        """Where an abstract function was inlined.

        That is in its own unit, unless link-time optimisation or dwz(1) put it into one that has
        no code.
        """
        yield from function.inlined()
        home = function.unit()
        if home.tag != c.TAG_PARTIAL_UNIT and home.ranges():
            return
        for unit in self._referring([function.offset]):
            if unit.die.key != home.key:
                yield from _inlined_below(unit.die, function.key)

    def save(self) -> None:
        """Keep on disk what was found; a cache that cannot be written is none."""
        if not self._path or not self._dirty:
            return
        import marshal

        with contextlib.suppress(OSError):
            write_whole(self._path, marshal.dumps(self._kept()))
            self._dirty = False

    # ------------------------------------------------------------ parts

    def _kept(self) -> tuple[tuple[int, int, int], bool, bool, dict[str, _Table]]:
        """What the file on disk holds."""
        return self._stamp(), self._complete, self._whole, self._tables

    def _load(self) -> None:
        import marshal

        try:
            with open(self._path, "rb") as file:
                if os.fstat(file.fileno()).st_uid not in (0, os.geteuid()):
                    return
                stamp, complete, whole, tables = marshal.load(file)
        except (OSError, EOFError, ValueError, TypeError):
            return
        if stamp == self._stamp():
            self._complete, self._whole, self._tables = complete, whole, tables

    def _stamp(self) -> tuple[int, int, int]:
        """What the numbers hold for: tools change files without changing their build ids."""
        info = os.stat(self._dwarf.path)
        return _FORMAT, info.st_size, info.st_mtime_ns

    def _find(self, kind: Kind, name: str) -> list[Die]:
        table = self._tables[kind]
        offsets = table.get(name)
        if offsets is None and not self._complete:
            offsets = self._look_for(kind, name)
        found = [self._die(offset) for offset in offsets or ()]
        return found + list(self._in_split_units(kind, name))

    def _look_for(self, kind: Kind, name: str) -> list[int] | None:
        """The entries of a name that nobody asked for before."""
        self._sought += kind == "function"
        many = self._sought > _FEW_FUNCTIONS
        index = self._function_index(build=many) if kind == "function" else None
        units = None if index is not None else self._mentioning(name, _MOST_SEARCHES[kind])
        if units is None and kind == "function":
            index = index or self._function_index(build=True)
        if index is not None:
            dies = map(self._dwarf.die, index.find(name))
            offsets = [die.offset for die in dies if is_defined(die)]
            self._tables[kind][name] = offsets
            self._dirty = True
            return offsets
        if units is None:
            self._read_everything()
        else:
            self._enter_one(kind, name, units)
            self._dirty = True
        return self._tables[kind].get(name)

    def _function_index(self, build: bool = False) -> FunctionIndex | None:
        """The index of all functions, made if ``build``; None where libdw cannot make one."""
        from pystap.debuginfo import functionindex

        path = self._path.removesuffix(".names") + ".functions" if self._path else ""
        if not self._functions_sought and path:
            self._functions = functionindex.load(path, self._stamp())
        self._functions_sought = True
        if self._functions is None and build and self._all_in_c():
            packed = functionindex.pack(self._every_function(), self._stamp())
            self._functions = functionindex.FunctionIndex(packed)
            if path:
                with contextlib.suppress(OSError):
                    write_whole(path, packed)
        return self._functions

    def _every_function(self) -> dict[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        for unit in self._dwarf.units():
            for name, offset in unit.die.function_names():
                found.setdefault(name, []).append(offset)
        return found

    def _all_in_c(self) -> bool:
        """Whether all functions are at the top of units of this file."""
        if self._dwarf.alternate is not None:
            return False
        return all(not unit.split and is_in_c(unit.die) for unit in self._dwarf.units())

    def _die(self, offset: int) -> Die:
        """The entry that tables give as a number; negative ones are of the shared file."""
        if offset >= 0:
            return self._dwarf.die(offset)
        assert self._dwarf.alternate is not None  # else there would be no such numbers
        return self._dwarf.alternate.die(-1 - offset)

    def _enter_one(self, kind: Kind, name: str, units: list[Unit]) -> None:
        """Look for one name in some units, and for functions also where those are completed."""
        offsets: list[int] = []
        for unit in units:
            offsets += [d.offset for d in _wanted(unit.die, kind, name)]
        if kind == "function":
            known = {unit.start for unit in units}
            for unit in self._referring(offsets):
                if unit.start not in known:
                    offsets += [d.offset for d in _wanted(unit.die, kind, name)]
                    known.add(unit.start)
        self._tables[kind][name] = offsets

    def _in_split_units(self, kind: Kind, name: str) -> Iterator[Die]:
        if self._whole:
            return
        split = [unit for unit in self._dwarf.units() if unit.split]
        if not split:
            self._whole = self._dirty = True
        for unit in split:
            yield from _wanted(unit.die, kind, name)

    def _read_everything(self) -> None:
        if self._complete:
            return
        tables = _empty_tables()
        tables["file"] = self._tables["file"]
        for unit in self._dwarf.units():
            _enter(tables, unit, shared=False)
        if self._dwarf.alternate is not None:
            for unit in self._dwarf.alternate.units():
                _enter(tables, unit, shared=True)
        self._tables, self._complete, self._dirty = tables, True, True

    def _mentioning(self, name: str, most: int) -> list[Unit] | None:
        """The units whose bytes hold or refer to a name; None when only reading all will tell.

        ``most`` are the searches for references that are worth it.
        """
        sections = self._read_sections()
        if sections is None:
            return None
        text = name.encode("latin-1") + b"\0"
        info, strings = sections[".debug_info"], sections[".debug_str"]
        places = strings.positions(text, most + 1)
        if len(places) > most:
            return None
        hits = set(info.positions(text))
        for place in places:
            hits.update(info.positions(place.to_bytes(4, "little")))
        return self._units_at(hits)

    def _referring(self, offsets: Iterable[int]) -> list[Unit]:
        """The units that may refer to entries of other units (link-time optimisation)."""
        info = self._info()
        hits: set[int] = set()
        for offset in offsets:
            hits.update(info.positions(offset.to_bytes(4, "little")))
        return self._units_at(hits)

    def _info(self) -> Contents:
        """The bytes of ``.debug_info``."""
        sections = self._read_sections()
        if sections is not None:
            return sections[".debug_info"]
        if self._bytes is None:
            self._bytes = section_contents(self._dwarf, ".debug_info")
        return self._bytes

    def _units_at(self, hits: set[int]) -> list[Unit]:
        from bisect import bisect_right

        units = self._dwarf.units()
        starts = [unit.start for unit in units]
        indexes = {bisect_right(starts, hit) - 1 for hit in hits}
        return [units[index] for index in sorted(indexes) if index >= 0]

    def _read_sections(self) -> dict[str, Contents] | None:
        """The sections a name is searched in; None when names are not to be found there."""
        if self._sections is None:
            self._sections = self._searchable() or {}
        return self._sections or None

    def _searchable(self) -> dict[str, Contents] | None:
        if self._dwarf.alternate is not None:
            return None
        with Elf(self._dwarf.path) as elf:
            names = {section.name for section in elf.sections()}
            if ".gnu_debugaltlink" in names or any(n in names for n in _INDEXED_STRINGS):
                return None
        return {n: section_contents(self._dwarf, n) for n in (".debug_info", ".debug_str")}


def _empty_tables() -> dict[str, _Table]:
    return {"function": {}, "variable": {}, "type": {}, "file": {}}


def _enter(tables: dict[str, _Table], unit: Unit, shared: bool) -> None:
    """Enter what a unit defines; see :meth:`Names._die` for the numbers."""
    for die in top_level(unit.die):
        kind = _KINDS.get(die.tag)
        name = die.name if kind else ""
        if kind and name and (kind != "function" or is_defined(die)):
            offsets = tables[kind].setdefault(name, [])
            if not unit.split:
                offsets.append(-1 - die.offset if shared else die.offset)


def top_level(unit: Die, around: Collection[int] = (c.TAG_NAMESPACE,)) -> Iterator[Die]:
    """The entries of a unit; in place of those with a tag of ``around`` what is in them."""
    for die in unit.children():
        if die.tag in around:
            yield from top_level(die, around)
        else:
            yield die


def is_in_c(unit: Die) -> bool:
    """Whether a unit is of a language without namespaces, in which functions are not nested."""
    return unit.unsigned(c.AT_LANGUAGE) in _FLAT_LANGUAGES


def functions_of(unit: Die) -> Iterator[Die]:
    """The functions of a unit, declarations among them."""
    if is_in_c(unit):
        yield from unit.functions()
        return
    for die in top_level(unit):
        if die.tag == c.TAG_SUBPROGRAM:
            yield die


def _wanted(unit: Die, kind: Kind, name: str) -> Iterator[Die]:
    for die in functions_of(unit) if kind == "function" else top_level(unit):
        if (
            _KINDS.get(die.tag) == kind
            and die.name == name
            and (kind != "function" or is_defined(die))
        ):
            yield die


def _inlined_below(die: Die, origin: int) -> Iterator[Die]:
    """The instances of an inlined function below an entry."""
    for child in die.children():
        if child.tag == c.TAG_INLINED and child.origin().key == origin:
            yield child
        if child.tag in _CODE:
            yield from _inlined_below(child, origin)


def is_defined(die: Die) -> bool:
    """Whether a function has code, or is there to be inlined."""
    return not die.flag(c.AT_DECLARATION) or die.entry_pc() is not None
