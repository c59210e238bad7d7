"""Reads the ELF objects LLVM makes for ``bpfel`` and links single programs out of them.

Layout facts: elf(5); BPF relocations and pseudo source registers: kernel documentation
``Documentation/bpf/llvm_reloc.rst`` and ``include/uapi/linux/bpf.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from pystap.typing import Final, NamedTuple

RODATA: Final = -1  # placeholder of the map that holds BpfObject.rodata
MAGIC_CALL: Final = 0x10000  # helper numbers from here on are to be patched by the caller

_LD_IMM64: Final = 0x18
_CALL: Final = 0x85
_PSEUDO_MAP_FD: Final = 1
_PSEUDO_MAP_VALUE: Final = 2
_PSEUDO_FUNC: Final = 4
_PSEUDO_CALL: Final = 1

_SHT_PROGBITS, _SHT_SYMTAB, _SHT_RELA, _SHT_NOBITS, _SHT_REL = 1, 2, 4, 8, 9
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
_SHN_LORESERVE: Final = 0xFF00  # section numbers from here on are none
_STT_FUNC: Final = 2
_EM_BPF: Final = 247

_INSN = struct.Struct("<BBhi")


class LinkError(Exception):
    """The object is not what the linker can use; the message names section or symbol."""


class Section(NamedTuple):
    """One ELF section header with its content (empty for NOBITS)."""

    name: str
    kind: int
    flags: int
    size: int
    link: int
    info: int
    align: int
    data: bytes


class Symbol(NamedTuple):
    """One ELF symbol; ``section`` is an index, 0 for undefined."""

    name: str
    info: int
    section: int
    value: int
    size: int


class Relocation(NamedTuple):
    """One ELF relocation; ``addend`` is 0 for REL sections (it is in the code then)."""

    offset: int
    kind: int
    symbol: int
    addend: int


class ElfObject:
    """Sections, symbols and relocations of a 64-bit little-endian relocatable object."""

    def __init__(self, data: bytes) -> None:
        if data[:6] != b"\x7fELF\x02\x01" or len(data) < 64:
            raise LinkError("not a 64-bit little-endian ELF object")
        self.machine: int = struct.unpack_from("<H", data, 0x12)[0]
        self.sections = _sections(data)
        self.symbols: list[Symbol] = []
        self.relocations: dict[int, list[Relocation]] = {}
        for section in self.sections:
            if section.kind == _SHT_SYMTAB:
                self.symbols = _symbols(section, self.sections[section.link].data)
            elif section.kind in (_SHT_REL, _SHT_RELA):
                self.relocations.setdefault(section.info, []).extend(_relocations(section))

    def take(self, other: ElfObject) -> None:
        """Add what is in another object, behind what is in this one."""
        sections, symbols = len(self.sections), len(self.symbols)
        self.sections += other.sections
        self.symbols += [
            s._replace(section=s.section + sections) if 0 < s.section < _SHN_LORESERVE else s
            for s in other.symbols
        ]
        for section, rows in other.relocations.items():
            self.relocations[section + sections] = [
                r._replace(symbol=r.symbol + symbols) for r in rows
            ]


def _sections(data: bytes) -> list[Section]:
    (table,) = struct.unpack_from("<Q", data, 0x28)
    entry_size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    header = struct.Struct("<IIQQQQIIQQ")
    heads = [header.unpack_from(data, table + entry_size * i) for i in range(count)]
    strings = data[heads[names][4] : heads[names][4] + heads[names][5]]
    return [
        Section(
            _string(strings, name),
            kind,
            flags,
            size,
            link,
            info,
            align or 1,
            b"" if kind == _SHT_NOBITS else data[offset : offset + size],
        )
        for name, kind, flags, _, offset, size, link, info, align, _ in heads
    ]


def _symbols(section: Section, strings: bytes) -> list[Symbol]:
    return [
        Symbol(_string(strings, name), info, index, value, size)
        for name, info, _, index, value, size in struct.iter_unpack("<IBBHQQ", section.data)
    ]


def _relocations(section: Section) -> list[Relocation]:
    if section.kind == _SHT_RELA:
        rows = struct.iter_unpack("<QIIq", section.data)
        return [Relocation(offset, kind, symbol, addend) for offset, kind, symbol, addend in rows]
    rows = struct.iter_unpack("<QII", section.data)
    return [Relocation(offset, kind, symbol, 0) for offset, kind, symbol in rows]


def _string(table: bytes, offset: int) -> str:
    return table[offset : table.index(b"\0", offset)].decode("latin-1")


class LinkedProgram(NamedTuple):
    """One loadable program.

    ``functions`` are (instruction offset, name), the entry first, as ``func_info`` wants them.
    ``fixups`` are (instruction index, placeholder): two-slot loads whose first ``imm`` must become
    the file descriptor of the map with that placeholder (:data:`RODATA`: the read-only data).
    ``magic_calls`` are (instruction index, number) of calls to numbers >= :data:`MAGIC_CALL`.
    """

    insns: bytes
    functions: tuple[tuple[int, str], ...]
    fixups: tuple[tuple[int, int], ...]
    magic_calls: tuple[tuple[int, int], ...]

    def patched(self, fds: Mapping[int, int]) -> bytearray:
        """The instructions with map file descriptors in place of placeholders."""
        code = bytearray(self.insns)
        for index, placeholder in self.fixups:
            code[index * 8 + 4 : index * 8 + 8] = fds[placeholder].to_bytes(4, "little")
        return code


class BpfObject:
    """Objects for BPF.  ``rodata`` is what the map behind :data:`RODATA` has to hold."""

    def __init__(self, *objects: bytes) -> None:
        self._elf = elf = ElfObject(objects[0])
        if elf.machine != _EM_BPF:
            raise LinkError(f"object for machine {elf.machine}, not BPF")
        for data in objects[1:]:
            elf.take(ElfObject(data))
        self.rodata, self._rodata_offsets = _lay_out_rodata(elf)
        self._functions: dict[str, Symbol] = {}
        self._by_place: dict[tuple[int, int], Symbol] = {}
        for symbol in elf.symbols:
            if symbol.info & 15 == _STT_FUNC and symbol.section:
                self._functions[symbol.name] = symbol
                self._by_place[symbol.section, symbol.value] = symbol
        self._relocations = {
            section: {r.offset: elf.symbols[r.symbol] for r in rows}
            for section, rows in elf.relocations.items()
        }

    def function_names(self) -> list[str]:
        """Names of all functions in the object."""
        return list(self._functions)

    def link(self, entry: str) -> LinkedProgram:
        """Collect ``entry`` and all it calls or passes as callback into one program.

        Raises :class:`LinkError` for an unknown entry, an undefined symbol, or writable data.
        """
        if entry not in self._functions:
            raise LinkError(f"the object has no function {entry}")
        return _Linker(self).run(self._functions[entry])

    def code(self, function: Symbol) -> bytearray:
        """The instructions of one function, unlinked."""
        data = self._elf.sections[function.section].data
        return bytearray(data[function.value : function.value + function.size])

    def relocation(self, section: int, offset: int) -> Symbol | None:
        """The symbol that relocates the instruction at ``offset``."""
        symbol = self._relocations.get(section, {}).get(offset)
        if symbol is not None and symbol.section == 0:
            return self._functions.get(symbol.name, symbol)
        return symbol

    def function_at(self, section: int, offset: int, what: str) -> Symbol:
        """The function that begins at a place."""
        try:
            return self._by_place[section, offset]
        except KeyError:
            raise LinkError(f"{what}: no function at offset {offset}") from None

    def is_code(self, symbol: Symbol) -> bool:
        """Whether a symbol lies in a section of instructions."""
        return bool(self._elf.sections[symbol.section].flags & SHF_EXECINSTR)

    def rodata_offset(self, symbol: Symbol) -> int:
        """Offset of a symbol in ``rodata``."""
        section = self._elf.sections[symbol.section]
        if symbol.section not in self._rodata_offsets:
            what = symbol.name or section.name
            raise LinkError(f"reference to {what}: only read-only data can be linked")
        return self._rodata_offsets[symbol.section] + symbol.value


def _lay_out_rodata(elf: ElfObject) -> tuple[bytes, dict[int, int]]:
    """Concatenate the read-only data sections; gives content and offset by section index."""
    content = bytearray()
    offsets: dict[int, int] = {}
    for index, section in enumerate(elf.sections):
        flags = section.flags & (SHF_WRITE | SHF_ALLOC | SHF_EXECINSTR)
        if section.kind != _SHT_PROGBITS or flags != SHF_ALLOC:
            continue
        if elf.relocations.get(index):
            raise LinkError(f"{section.name}: read-only data holds addresses")
        content += bytes(-len(content) % section.align)
        offsets[index] = len(content)
        content += section.data
    return bytes(content), offsets


class _Linker:
    """The state of one link: code so far, where functions went, calls still to be resolved."""

    def __init__(self, obj: BpfObject) -> None:
        self._obj = obj
        self._out = bytearray()
        self._places: dict[str, int] = {}
        self._queue: list[Symbol] = []
        self._calls: list[tuple[int, str]] = []
        self._fixups: list[tuple[int, int]] = []
        self._magic: list[tuple[int, int]] = []

    def run(self, entry: Symbol) -> LinkedProgram:
        self._queue.append(entry)
        for function in self._queue:  # grows while it is walked
            if function.name not in self._places:
                self._append(function)
        for at, name in self._calls:
            struct.pack_into("<i", self._out, at * 8 + 4, self._places[name] - at - 1)
        functions = tuple((at, name) for name, at in self._places.items())
        return LinkedProgram(bytes(self._out), functions, tuple(self._fixups), tuple(self._magic))

    def _append(self, function: Symbol) -> None:
        code = self._obj.code(function)
        base = len(self._out) // 8
        self._places[function.name] = base
        # The second slot of a two-slot load has opcode 0, so opcodes can be met one by one.
        for index, opcode in enumerate(code[::8]):
            if opcode == _CALL:
                self._call(function, code, index, base)
            elif opcode == _LD_IMM64:
                self._load(function, code, index, base)
        self._out += code

    def _call(self, function: Symbol, code: bytearray, index: int, base: int) -> None:
        _, registers, _, imm = _INSN.unpack_from(code, index * 8)
        if registers >> 4 != _PSEUDO_CALL:
            if imm >= MAGIC_CALL:
                self._magic.append((base + index, imm))
            return
        offset = function.value + index * 8
        symbol = self._obj.relocation(function.section, offset)
        if symbol is None:
            place = (function.section, offset + (imm + 1) * 8)
        else:
            self._need_defined(function, symbol)
            place = (symbol.section, symbol.value + (imm + 1) * 8)
        callee = self._obj.function_at(*place, function.name)
        self._queue.append(callee)
        self._calls.append((base + index, callee.name))

    def _load(self, function: Symbol, code: bytearray, index: int, base: int) -> None:
        at = index * 8
        _, registers, _, imm = _INSN.unpack_from(code, at)
        symbol = self._obj.relocation(function.section, function.value + at)
        if symbol is None:
            if registers >> 4 in (_PSEUDO_MAP_FD, _PSEUDO_MAP_VALUE):
                self._fixups.append((base + index, imm))
            return
        self._need_defined(function, symbol)
        if self._obj.is_code(symbol):
            callee = self._obj.function_at(symbol.section, symbol.value + imm, function.name)
            code[at + 1] = registers & 15 | _PSEUDO_FUNC << 4
            self._queue.append(callee)
            self._calls.append((base + index, callee.name))
        else:
            code[at + 1] = registers & 15 | _PSEUDO_MAP_VALUE << 4
            struct.pack_into("<i", code, at + 4, RODATA)
            struct.pack_into("<i", code, at + 12, self._obj.rodata_offset(symbol) + imm)
            self._fixups.append((base + index, RODATA))

    def _need_defined(self, function: Symbol, symbol: Symbol) -> None:
        if symbol.section == 0:
            raise LinkError(f"{function.name}: {symbol.name} is not defined")
