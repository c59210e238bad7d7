"""The kernel or one of its modules as a file: where its symbols and sections are.

Addresses are those of the file: the kernel is loaded some distance away from them (KASLR), the
sections of a module lie anywhere.  So places in code are named by a symbol and a distance from
it, which hold wherever the kernel is.  A kernel has 130,000 symbols: the table is searched as it
is, without taking it apart.
"""

from __future__ import annotations

import os

from pystap.debuginfo.elf import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHT_SYMTAB,
    STT_FUNC,
    STT_NOTYPE,
    STT_OBJECT,
    Elf,
)
from pystap.debuginfo.relocated import LoadedSection, section_at
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pystap.debuginfo.debugfiles import DebugInfo

_ENTRY: Final = 24  # bytes of a symbol in an ELF file of 64 bits
_VALUE, _NAME, _INFO, _SECTION = 8, 0, 4, 6
_MANY: Final = 16  # searches that take as long as making an index (0.2 s in a kernel)
_FEW: Final = 4  # searches of the table that cost less than going through it
_INIT: Final = ".init"  # sections that are thrown away
_PER_CPU: Final = ".data..percpu"
_KERNEL_HALF: Final = 1 << 63


class CodeSymbol(NamedTuple):
    """A symbol that code is found by: its address, and which one of its name it is by address."""

    name: str
    address: int
    instance: int


class Anchor(NamedTuple):
    """A symbol of a module, and how far behind it (or, below 0, before) something is.

    ``number`` counts symbols of one name in the order of the table, without those that are gone
    when the module has started; -1 when no other has the name.
    """

    name: str
    number: int
    distance: int


class KernelImage:
    """Symbols and sections of the kernel (``module`` is empty) or of a module."""

    __slots__ = (
        "_anchors", "_by_name", "_by_value", "_found", "_names", "_raw", "_searches", "_sections",
        "_starts", "at_load", "depends_on", "info", "module", "running",
    )  # fmt: skip

    def __init__(
        self,
        info: DebugInfo,
        module: str,
        running: bool,
        depends_on: Callable[[str], object],
        at_load: bool = False,
    ) -> None:
        """``running`` tells whether this is the kernel that runs; ``depends_on`` is told the
        files without whose content what was translated does not hold; with ``at_load`` addresses
        are found when it is loaded, be it elsewhere."""
        self.info = info
        self.module = module
        self.running = running
        self.depends_on = depends_on
        self.at_load = at_load
        self._raw = self._names = b""
        self._sections: list[LoadedSection] = []
        self._starts: list[tuple[int, int]] | None = None
        self._found: dict[tuple[int, str], CodeSymbol | None] = {}
        self._searches = 0
        self._anchors: dict[int, list[tuple[int, str, int]]] | None = None
        self._by_value: dict[int, list[int]] = {}
        self._by_name: dict[str, list[int]] = {}

    # ------------------------------------------------------------ code

    def symbol_of(self, pc: int, start: int, name: str) -> CodeSymbol | None:
        """The symbol of the piece of code that begins at ``start`` and holds ``pc``.

        Of several names of one address the function's own, ``name``, comes first.
        """
        if (start, name) not in self._found:
            self._found[start, name] = self._find_symbol(pc, start, name)
        return self._found[start, name]

    def _find_symbol(self, pc: int, start: int, name: str) -> CodeSymbol | None:
        numbers = list(self._at(start)) or list(self._before(pc))
        if not numbers:
            return None
        names = {self._name(number): number for number in numbers}
        best = min(names, key=lambda n: (n.partition(".")[0] != name, n != name, len(n), n))
        places = self.places_of(best)
        address = self._address(names[best])
        return CodeSymbol(best, address, places.index(address) if address in places else 0)

    def places_of(self, name: str) -> list[int]:
        """The addresses of the code that has a name, in order."""
        return sorted(
            self._address(number)
            for number in self._named(name)
            if self._kind(number) in (STT_FUNC, STT_NOTYPE)
        )

    def code_symbols(self) -> Iterator[tuple[int, str]]:
        """All symbols of code: address and name."""
        executable = {
            index for index, section in enumerate(self._elf_sections()) if section & SHF_EXECINSTR
        }
        for number in range(len(self._table()) // _ENTRY):
            if self._kind(number) in (STT_FUNC, STT_NOTYPE) and self._owner(number) in executable:
                yield self._address(number), self._name(number)

    def is_exported(self, name: str) -> bool:
        """Whether modules may use a symbol."""
        return bool(self._named(f"__ksymtab_{name}"))

    # ------------------------------------------------------------ data

    def has_variable(self, name: str) -> bool:
        """Whether a variable outside functions may be called so: all have symbols."""
        return any(self._kind(number) == STT_OBJECT for number in self._named(name))

    def data_address(self, name: str) -> int | None:
        """The address of a variable that is the only one of its name."""
        found = {self._address(n) for n in self._named(name) if self._kind(n) == STT_OBJECT}
        return found.pop() if len(found) == 1 else None

    def anchor_of(self, address: int) -> Anchor | None:
        """What an address of a module is found by when that is loaded: the last symbol of the
        section before it, or the first behind it, if one has a name of its own; else any."""
        from bisect import bisect_right

        section = self.section_at(address)
        if self._anchors is None:
            self._anchors = self._find_anchors()
        known = self._anchors.get(section.number, []) if section is not None else []
        known = [one for one in known if one[2] < 0] or known
        if not known:
            return None
        at = max(bisect_right(known, (address + 1,)) - 1, 0)
        place, name, number = known[at]
        return Anchor(name, number, address - place)

    def _find_anchors(self) -> dict[int, list[tuple[int, str, int]]]:
        """Address, name and number of the symbols of each section, by the section's number."""
        kept = {s.number for s in self.sections() if not s.name.startswith(_INIT)}
        named: dict[str, list[int]] = {}
        for symbol in range(len(self._table()) // _ENTRY):
            if self._owner(symbol):
                named.setdefault(self._name(symbol), []).append(symbol)
        found: dict[int, list[tuple[int, str, int]]] = {}
        for name, symbols in named.items():
            staying = [symbol for symbol in symbols if self._owner(symbol) in kept]
            for symbol in staying if len(symbols) > 1 else symbols:
                usual = self._kind(symbol) in (STT_NOTYPE, STT_OBJECT, STT_FUNC)
                if usual and not name.startswith((".", "__pfx_")):
                    number = staying.index(symbol) if len(symbols) > 1 else -1
                    places = found.setdefault(self._owner(symbol), [])
                    places.append((self._address(symbol), name, number))
        for places in found.values():
            places.sort()
        return found

    def section_at(self, address: int) -> LoadedSection | None:
        """The loaded section an address is in."""
        return section_at(self.sections(), address)

    def sections(self) -> list[LoadedSection]:
        """What is loaded."""
        if not self._sections:
            laid = self.info.dwarf.relocated
            if laid is not None:
                self._sections = list(laid.sections)
            else:
                with Elf(self.info.dwarf.path) as elf:
                    self._sections = [
                        LoadedSection(s.name, i, s.address, s.size)
                        for i, s in enumerate(elf.sections())
                        if s.flags & SHF_ALLOC
                    ]
        return self._sections

    def is_per_cpu(self, address: int) -> bool:
        """Whether an address is that of a variable which every CPU has one of."""
        section = self.section_at(address)
        return section is not None and section.name == _PER_CPU

    def is_for_the_start(self, address: int) -> bool:
        """Whether code is thrown away when the kernel, or the module, has started."""
        section = self.section_at(address)
        return section is not None and section.name.startswith(_INIT)

    def counts_from_zero(self) -> bool:
        """Whether addresses of per-CPU variables are distances, and not in the kernel's range."""
        return not any(s.name == _PER_CPU and s.address >= _KERNEL_HALF for s in self.sections())

    # ------------------------------------------------------------ the table

    def _table(self) -> bytes:
        if not self._raw:
            with Elf(self.info.dwarf.path) as elf:
                for section in elf.sections():
                    if section.kind == SHT_SYMTAB:
                        self._raw = elf.section_bytes(section)
                        self._names = elf.section_bytes(elf.sections()[section.link])
        return self._raw

    def _elf_sections(self) -> list[int]:
        """The flags of all sections."""
        with Elf(self.info.dwarf.path) as elf:
            return [section.flags for section in elf.sections()]

    def _at(self, address: int) -> Iterator[int]:
        """The code and data symbols at an address, by their numbers."""
        section = self.section_at(address)
        if section is None:
            return
        moved = section.address if self.info.dwarf.relocated is not None else 0
        for number in self._with_value(address - moved):
            own = self._owner(number) == section.number
            if own and self._kind(number) in (STT_NOTYPE, STT_OBJECT, STT_FUNC):
                yield number

    def _before(self, pc: int) -> Iterator[int]:
        """The functions that begin nearest before an address."""
        from bisect import bisect_right

        if self._starts is None:
            count = len(self._table()) // _ENTRY
            functions = (n for n in range(count) if self._kind(n) == STT_FUNC and self._owner(n))
            self._starts = sorted((self._address(n), n) for n in functions)
        at = bisect_right(self._starts, (pc, 1 << 62)) - 1
        section = self.section_at(pc)
        while at >= 0:
            address, number = self._starts[at]
            if section is None or address < section.address:
                return
            yield number
            if at == 0 or self._starts[at - 1][0] != address:
                return
            at -= 1

    def _with_value(self, value: int) -> Iterable[int]:
        """The symbols of a value."""
        if self._worth_an_index():
            return self._by_value.get(value, ())
        return self._holding(value.to_bytes(8, "little"), _VALUE)

    def _worth_an_index(self) -> bool:
        """Whether there were so many searches that an index is there, or made now."""
        self._searches += 1
        if self._searches > _MANY and not self._by_value:
            values = memoryview(self._table()).cast("Q")[1 :: _ENTRY // 8].tolist()
            for number, value in enumerate(values):
                self._by_value.setdefault(value, []).append(number)
                if self._owner(number):
                    self._by_name.setdefault(self._name(number), []).append(number)
        return bool(self._by_value)

    def _named(self, name: str) -> list[int]:
        """The defined symbols of a name, by their numbers."""
        if self._worth_an_index():
            return self._by_name.get(name, [])
        table = self._table()
        text = name.encode("latin-1") + b"\0"
        places: set[int] = set()  # a name may be stored as the end of others
        at = self._names.find(text)
        while at >= 0:
            places.add(at)
            at = self._names.find(text, at + 1)
        if len(places) <= _FEW:
            found = [n for at in places for n in self._holding(at.to_bytes(4, "little"), _NAME)]
        else:
            labels = memoryview(table).cast("I")[:: _ENTRY // 4].tolist()
            found = [number for number, label in enumerate(labels) if label in places]
        return [number for number in found if self._owner(number)]

    def _holding(self, raw: bytes, field: int) -> Iterator[int]:
        """The symbols with some bytes in a field."""
        table = self._table()
        at = table.find(raw)
        while at >= 0:
            if at % _ENTRY == field:
                yield at // _ENTRY
            at = table.find(raw, at + 1)

    def _name(self, number: int) -> str:
        table = self._table()
        at = int.from_bytes(table[_ENTRY * number : _ENTRY * number + 4], "little")
        return self._names[at : self._names.index(b"\0", at)].decode("latin-1")

    def _kind(self, number: int) -> int:
        return self._table()[_ENTRY * number + _INFO] & 15

    def _owner(self, number: int) -> int:
        """The index of a symbol's section; 0 for one defined elsewhere."""
        at = _ENTRY * number + _SECTION
        index = int.from_bytes(self._table()[at : at + 2], "little")
        return 0 if index >= 0xFF00 else index

    def _address(self, number: int) -> int:
        at = _ENTRY * number + _VALUE
        value = int.from_bytes(self._table()[at : at + 8], "little")
        if self.info.dwarf.relocated is None:
            return value
        owner = self._owner(number)
        return value + next((s.address for s in self.sections() if s.number == owner), 0)


def section_address(module: str, section: str) -> int:
    """Where a section of a loaded module is; 0 when the kernel does not tell."""
    try:
        with open(section_file(module, section), encoding="ascii") as file:
            return int(file.read(), 16)
    except (OSError, ValueError):
        return 0


def section_file(module: str, section: str) -> str:
    """The file that tells where a section of a module is."""
    return os.path.join("/sys/module", module, "sections", section)
