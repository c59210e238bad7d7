"""Finding functions, variables and types of a file by name.

Few files carry an index of their own, and reading every unit of a large program takes seconds.
So a name is first looked for as bytes: where the string is in ``.debug_str`` (or in
``.debug_info``, which holds short ones itself), then which units refer to it; only those are
read.  Where that does not work (strings by index, entries that dwz(1) moved elsewhere, names that
are the end of very many others) and for patterns all units are read once.  What was found is kept
on disk under the file's build id.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator

from pystap.debuginfo import dwarfconst as c
from pystap.debuginfo.elf import SHT_NOBITS, Elf
from pystap.typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pystap.debuginfo.dwarf import Die, Dwarf, Unit

Kind = Literal["function", "variable", "type"]

_FORMAT: Final = 2  # of the file on disk
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
# A string may be the end of longer ones, each a search of its own: when there would be more to
# search than this, all units are read instead.
_MOST_SEARCHED: Final = 400_000_000
_SHF_COMPRESSED: Final = 0x800
_INDEXED_STRINGS: Final = (".debug_str_offsets", ".debug_str_offsets.dwo")

_Table = dict[str, list[int]]


class Names:
    """Names of a file's top-level entries.  ``cache`` is a folder, or empty for none."""

    __slots__ = ("_bytes", "_complete", "_dirty", "_dwarf", "_path", "_sections", "_tables")

    def __init__(self, dwarf: Dwarf, build_id: str = "", cache: str = "") -> None:
        self._dwarf = dwarf
        self._sections: dict[str, _Contents] | None = None
        self._bytes: _Contents | None = None
        self._tables: dict[str, _Table] = {"function": {}, "variable": {}, "type": {}}
        self._complete = False
        self._dirty = False
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

    def all_functions(self) -> Iterator[tuple[str, list[Die]]]:
        """Every function by its name, in alphabetical order."""
        for name in self.function_names():
            yield name, self._find("function", name)

    def function_names(self) -> list[str]:
        """The names of all functions, sorted."""
        self._read_everything()
        return sorted(self._tables["function"])

    def enumerations(self, enumerator: str) -> Iterator[Die]:
        """The enumerations that may have an enumerator of a name."""
        units = self._mentioning(enumerator)
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

        temporary = f"{self._path}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with open(temporary, "wb") as file:
                marshal.dump((self._stamp(), self._complete, self._tables), file)
            os.replace(temporary, self._path)
        except OSError:
            return
        self._dirty = False

    # ------------------------------------------------------------ parts

    def _load(self) -> None:
        import marshal

        try:
            with open(self._path, "rb") as file:
                if os.fstat(file.fileno()).st_uid not in (0, os.geteuid()):
                    return
                stamp, complete, tables = marshal.load(file)
        except (OSError, EOFError, ValueError, TypeError):
            return
        if stamp == self._stamp():
            self._complete, self._tables = complete, tables

    def _stamp(self) -> tuple[int, int, int]:
        """What the numbers hold for: tools change files without changing their build ids."""
        info = os.stat(self._dwarf.path)
        return _FORMAT, info.st_size, info.st_mtime_ns

    def _find(self, kind: Kind, name: str) -> list[Die]:
        table = self._tables[kind]
        offsets = table.get(name)
        if offsets is None and not self._complete:
            units = self._mentioning(name)
            if units is None:
                self._read_everything()
            else:
                self._enter_one(kind, name, units)
                self._dirty = True
            offsets = self._tables[kind].get(name)
        found = [self._die(offset) for offset in offsets or ()]
        return found + list(self._in_split_units(kind, name))

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
        for unit in self._dwarf.units():
            if unit.split:
                yield from _wanted(unit.die, kind, name)

    def _read_everything(self) -> None:
        if self._complete:
            return
        tables: dict[str, _Table] = {"function": {}, "variable": {}, "type": {}}
        for unit in self._dwarf.units():
            _enter(tables, unit, shared=False)
        if self._dwarf.alternate is not None:
            for unit in self._dwarf.alternate.units():
                _enter(tables, unit, shared=True)
        self._tables, self._complete, self._dirty = tables, True, True

    def _mentioning(self, name: str) -> list[Unit] | None:
        """The units whose bytes hold or refer to a name; None when only reading all will tell."""
        sections = self._read_sections()
        if sections is None:
            return None
        text = name.encode("latin-1") + b"\0"
        info, strings = sections[".debug_info"], sections[".debug_str"]
        most = max(_MOST_SEARCHED // (info.size + 1), 2)
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

    def _info(self) -> _Contents:
        """The bytes of ``.debug_info``."""
        sections = self._read_sections()
        if sections is not None:
            return sections[".debug_info"]
        if self._bytes is None:
            with Elf(self._dwarf.path) as elf:
                self._bytes = _contents(elf, ".debug_info")
        return self._bytes

    def _units_at(self, hits: set[int]) -> list[Unit]:
        from bisect import bisect_right

        units = self._dwarf.units()
        starts = [unit.start for unit in units]
        indexes = {bisect_right(starts, hit) - 1 for hit in hits}
        return [units[index] for index in sorted(indexes) if index >= 0]

    def _read_sections(self) -> dict[str, _Contents] | None:
        """The sections a name is searched in; None when names are not to be found there."""
        if self._sections is None:
            self._sections = self._searchable() or {}
        return self._sections or None

    def _searchable(self) -> dict[str, _Contents] | None:
        if self._dwarf.alternate is not None:
            return None
        with Elf(self._dwarf.path) as elf:
            names = {section.name for section in elf.sections()}
            if ".gnu_debugaltlink" in names or any(n in names for n in _INDEXED_STRINGS):
                return None
            return {name: _contents(elf, name) for name in (".debug_info", ".debug_str")}


class _Contents:
    """The bytes of a section, in memory or as part of a mapped file."""

    __slots__ = ("_data", "_start", "size")

    def __init__(self, data: bytes | mmap.mmap, start: int, size: int) -> None:
        self._data = data
        self._start = start
        self.size = size

    def positions(self, needle: bytes, most: int = 1 << 62) -> list[int]:
        """Where some bytes are, at most so many places."""
        start, end = self._start, self._start + self.size
        found: list[int] = []
        at = self._data.find(needle, start, end)
        while at >= 0 and len(found) < most:
            found.append(at - start)
            at = self._data.find(needle, at + 1, end)
        return found


def _contents(elf: Elf, name: str) -> _Contents:
    """A section's bytes; none if it does not exist.

    Those of large programs have hundreds of megabytes: they are not copied.
    """
    section = elf.section(name)
    if section is None or section.kind == SHT_NOBITS:
        return _Contents(b"", 0, 0)
    if section.flags & _SHF_COMPRESSED:
        raw = _uncompressed(elf.section_bytes(section))
        return _Contents(raw, 0, len(raw))
    with open(elf.path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return _Contents(mapped, section.offset, section.size)


def _enter(tables: dict[str, _Table], unit: Unit, shared: bool) -> None:
    """Enter what a unit defines; see :meth:`Names._die` for the numbers."""
    for die in top_level(unit.die):
        kind = _KINDS.get(die.tag)
        name = die.name if kind else ""
        if kind and name and (kind != "function" or _is_defined(die)):
            offsets = tables[kind].setdefault(name, [])
            if not unit.split:
                offsets.append(-1 - die.offset if shared else die.offset)


def top_level(unit: Die) -> Iterator[Die]:
    """The entries of a unit, those of its namespaces among them."""
    for die in unit.children():
        if die.tag == c.TAG_NAMESPACE:
            yield from top_level(die)
        else:
            yield die


def _wanted(unit: Die, kind: Kind, name: str) -> Iterator[Die]:
    for die in top_level(unit):
        if (
            _KINDS.get(die.tag) == kind
            and die.name == name
            and (kind != "function" or _is_defined(die))
        ):
            yield die


def _inlined_below(die: Die, origin: int) -> Iterator[Die]:
    """The instances of an inlined function below an entry."""
    for child in die.children():
        if child.tag == c.TAG_INLINED and child.origin().key == origin:
            yield child
        if child.tag in _CODE:
            yield from _inlined_below(child, origin)


def _is_defined(die: Die) -> bool:
    """Whether a function has code, or is there to be inlined."""
    return not die.flag(c.AT_DECLARATION) or die.entry_pc() is not None


def _uncompressed(raw: bytes) -> bytes:
    """The contents of a section with a compression header (zlib)."""
    import zlib

    from pystap.debuginfo.libdw import DwarfError

    if int.from_bytes(raw[:4], "little") != 1:  # ELFCOMPRESS_ZLIB
        raise DwarfError("debug information is compressed in an unknown way")
    return zlib.decompress(raw[24:])
