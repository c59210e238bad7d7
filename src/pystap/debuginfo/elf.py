"""Reader of ELF files: functions, segments, notes and sections of programs and libraries.

The file is mapped and decoded on demand; both byte orders and both classes are read.  Layout:
elf(5).  A program with 5,000 functions lists them in about 10 ms.
"""

from __future__ import annotations

import mmap
import os
import struct

from pystap.kernel.cpu import build_id_note

ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4

#: e_machine values of the architectures pystap knows, by the name uname(2) gives
MACHINES = {
    3: "i686",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}

STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_GNU_IFUNC = 0, 1, 2, 10
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2

PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
SHT_SYMTAB, SHT_STRTAB, SHT_NOTE, SHT_NOBITS, SHT_DYNSYM = 2, 3, 7, 8, 11
SHF_ALLOC, SHF_EXECINSTR, SHF_COMPRESSED = 2, 4, 0x800
PF_X = 1
_DT_NEEDED, _DT_STRTAB, _DT_STRSZ, _DT_DEBUG, _DT_FLAGS_1 = 1, 5, 10, 21, 0x6FFFFFFB
_DF_1_PIE = 0x08000000
_SHN_XINDEX = 0xFFFF


class ElfError(Exception):
    """A file that is not a usable ELF file; the text says what is wrong with it."""


def build_id_of(path: str) -> str | None:
    """The build id of a file; None when it has none, or is none of ELF that can be read."""
    try:
        with Elf(path) as elf:
            return elf.build_id()
    except (ElfError, OSError):
        return None


class Symbol:
    """An entry of a symbol table.  ``value`` is a virtual address, ``size`` in bytes.

    ``section`` is the index of its section; 0 means that it is defined elsewhere.
    """

    __slots__ = ("binding", "kind", "name", "section", "size", "value")

    def __init__(
        self, name: str, value: int, size: int, binding: int, kind: int, section: int
    ) -> None:
        self.name = name
        self.value = value
        self.size = size
        self.binding = binding
        self.kind = kind
        self.section = section

    def __repr__(self) -> str:
        return f"Symbol({self.name!r}, {self.value:#x}, {self.size})"


class Segment:
    """A program header; sizes and offsets in bytes."""

    __slots__ = ("address", "align", "file_size", "flags", "kind", "memory_size", "offset")

    def __init__(
        self,
        kind: int,
        flags: int,
        offset: int,
        address: int,
        file_size: int,
        memory_size: int,
        align: int,
    ) -> None:
        self.kind = kind
        self.flags = flags
        self.offset = offset
        self.address = address
        self.file_size = file_size
        self.memory_size = memory_size
        self.align = align


class Section:
    """A section header; ``link`` is the index of an associated section."""

    __slots__ = ("address", "entry_size", "flags", "kind", "link", "name", "offset", "size")

    def __init__(self, kind: int, flags: int, address: int, offset: int, size: int) -> None:
        self.name = ""
        self.kind = kind
        self.flags = flags
        self.address = address
        self.offset = offset
        self.size = size
        self.link = 0
        self.entry_size = 0


class Elf:
    """An open ELF file.  ``close`` it, or use it in ``with``."""

    __slots__ = (
        "_data",
        "_dynamic",
        "_order",
        "_phdrs",
        "_sections",
        "_segments",
        "_shdrs",
        "bits",
        "entry",
        "kind",
        "machine",
        "path",
    )

    def __init__(self, path: str) -> None:
        """Open ``path``; :class:`ElfError` if it is no ELF file, OSError if it cannot be read."""
        self.path = path
        self._data = _map(path)
        self._segments: list[Segment] | None = None
        self._sections: list[Section] | None = None
        self._dynamic: list[tuple[int, int]] | None = None
        try:
            self._read_header()
        except ElfError:
            self.close()
            raise

    def _read_header(self) -> None:
        data = self._data
        if len(data) < 20 or data[:4] != b"\x7fELF":
            raise ElfError(f"{self.path}: not an ELF file")
        if data[4] not in (1, 2):
            raise ElfError(f"{self.path}: unknown ELF class {data[4]}")
        if data[5] not in (1, 2):
            raise ElfError(f"{self.path}: unknown ELF byte order {data[5]}")
        self.bits = 64 if data[4] == 2 else 32
        self._order = "<" if data[5] == 1 else ">"
        words = "QQQ" if self.bits == 64 else "III"
        kind, machine, _, entry, phoff, shoff, _, _, phsize, phnum, shsize, shnum, names = (
            self._unpack(f"HHI{words}IHHHHHH", 16, "ELF header")
        )
        self.kind: int = kind
        self.machine: int = machine
        self.entry: int = entry
        self._phdrs = (phoff, phsize, phnum)
        self._shdrs = (shoff, shsize, shnum, names)

    # ------------------------------------------------------------ what kind of file

    @property
    def machine_name(self) -> str:
        """The architecture as uname(2) calls it, or ``machine N``."""
        return MACHINES.get(self.machine, f"machine {self.machine}")

    def require_machine(self, name: str = "") -> None:
        """Raise :class:`ElfError` unless the file is for ``name`` (default: this machine)."""
        wanted = name or os.uname().machine
        if self.machine_name != wanted.replace("ppc64le", "ppc64"):
            raise ElfError(
                f"{self.path}: built for {self.machine_name} ({self.bits} bits), not {wanted}"
            )

    @property
    def is_pie(self) -> bool:
        """A position-independent executable.

        It is marked as one, or (from old linkers) has DT_DEBUG, which libraries have not.
        """
        entries = dict(self.dynamic())
        marked = bool(entries.get(_DT_FLAGS_1, 0) & _DF_1_PIE) or _DT_DEBUG in entries
        return self.kind == ET_DYN and marked

    @property
    def is_stripped(self) -> bool:
        """Whether there is no ``.symtab``."""
        return not any(s.kind == SHT_SYMTAB for s in self.sections())

    def interpreter(self) -> str | None:
        """The path of the dynamic loader (PT_INTERP)."""
        for segment in self.segments():
            if segment.kind == PT_INTERP:
                text = self._bytes(segment.offset, segment.file_size, "interpreter name")
                return text.rstrip(b"\0").decode("latin-1")
        return None

    def needed(self) -> list[str]:
        """Names of the shared libraries it asks for (DT_NEEDED), in order."""
        start, end = self._dynamic_strings()
        if not end:
            return []
        entries = self.dynamic()
        return [self._string(start + value, end) for tag, value in entries if tag == _DT_NEEDED]

    def dynamic_text(self, tag: int) -> str:
        """The string of the first dynamic entry of a kind; empty if there is none."""
        start, end = self._dynamic_strings()
        for found, value in self.dynamic():
            if found == tag and end:
                return self._string(start + value, end)
        return ""

    def _dynamic_strings(self) -> tuple[int, int]:
        """Where the strings of the dynamic segment are in the file; zeros if there are none."""
        table = dict(self.dynamic())
        if _DT_STRTAB not in table:
            return 0, 0
        start = self.file_offset(table[_DT_STRTAB])
        if start is None:
            raise ElfError(f"{self.path}: dynamic strings are not in the file")
        return start, start + table.get(_DT_STRSZ, 0)

    def dynamic(self) -> list[tuple[int, int]]:
        """Tags and values of the dynamic segment; empty for a static program."""
        if self._dynamic is None:
            self._dynamic = []
            for segment in self.segments():
                if segment.kind == PT_DYNAMIC:
                    pair = struct.Struct(self._order + ("QQ" if self.bits == 64 else "II"))
                    raw = self._bytes(segment.offset, segment.file_size, "dynamic segment")
                    whole = len(raw) // pair.size * pair.size
                    for tag, value in pair.iter_unpack(raw[:whole]):
                        if tag == 0:
                            break
                        self._dynamic.append((tag, value))
        return self._dynamic

    def build_id(self) -> str | None:
        """The GNU build id in hexadecimal, or None."""
        for segment in self.segments():
            if segment.kind == PT_NOTE:
                found = self._build_id_in(segment.offset, segment.file_size)
                if found:
                    return found
        for section in self.sections():
            if section.kind == SHT_NOTE:
                found = self._build_id_in(section.offset, section.size)
                if found:
                    return found
        return None

    def debug_link(self) -> tuple[str, int] | None:
        """File name and crc32 of the separate debug file (``.gnu_debuglink``), or None."""
        section = self.section(".gnu_debuglink")
        if section is None:
            return None
        raw = self.section_bytes(section)
        end = raw.find(b"\0")
        at = (end + 4) & ~3
        if end < 0 or at + 4 > len(raw):
            raise ElfError(f"{self.path}: damaged .gnu_debuglink")
        (checksum,) = struct.unpack_from(self._order + "I", raw, at)
        return raw[:end].decode("latin-1"), checksum

    # ------------------------------------------------------------ addresses

    def segments(self) -> list[Segment]:
        """All program headers."""
        if self._segments is None:
            start, size, number = self._phdrs
            self._segments = []
            for at in range(start, start + size * number, size or 1):
                if self.bits == 64:
                    kind, flags, offset, address, _, in_file, in_memory, align = self._unpack(
                        "IIQQQQQQ", at, "program headers"
                    )
                else:
                    kind, offset, address, _, in_file, in_memory, flags, align = self._unpack(
                        "IIIIIIII", at, "program headers"
                    )
                self._segments.append(
                    Segment(kind, flags, offset, address, in_file, in_memory, align)
                )
        return self._segments

    def file_offset(self, address: int) -> int | None:
        """Where the byte at a virtual address is in the file, or None if it is not."""
        for segment in self.segments():
            if segment.kind == PT_LOAD:
                distance = address - segment.address
                if 0 <= distance < segment.file_size:
                    return segment.offset + distance
        return None

    def address_of_offset(self, offset: int) -> int | None:
        """The virtual address of a file offset, or None if it is not loaded."""
        for segment in self.segments():
            if segment.kind == PT_LOAD:
                distance = offset - segment.offset
                if 0 <= distance < segment.file_size:
                    return segment.address + distance
        return None

    def read(self, address: int, size: int) -> bytes:
        """Bytes at a virtual address as they are in the file."""
        offset = self.file_offset(address)
        if offset is None:
            raise ElfError(f"{self.path}: address {address:#x} is not in the file")
        return self._bytes(offset, size, f"data at {address:#x}")

    # ------------------------------------------------------------ sections

    def sections(self) -> list[Section]:
        """All section headers, the null section included; empty if there are none."""
        if self._sections is None:
            self._sections = self._read_sections()
        return self._sections

    def section(self, name: str) -> Section | None:
        """The first section of a name."""
        for section in self.sections():
            if section.name == name:
                return section
        return None

    def section_bytes(self, section: Section) -> bytes:
        """The contents of a section; empty for one without any (``.bss``)."""
        if section.kind == SHT_NOBITS:
            return b""
        return self._bytes(section.offset, section.size, f"section {section.name}")

    def _read_sections(self) -> list[Section]:
        start, size, number, names = self._shdrs
        if start == 0:
            return []
        layout = "IIQQQQIIQQ" if self.bits == 64 else "IIIIIIIIII"
        _, _, _, _, _, first_size, first_link, *_ = self._unpack(layout, start, "section headers")
        number = number or first_size  # more than 65,279 sections: the real numbers are there
        names = first_link if names == _SHN_XINDEX else names
        found, labels = [], []
        for at in range(start, start + size * number, size or 1):
            label, kind, flags, address, offset, length, link, _, _, entry = self._unpack(
                layout, at, "section headers"
            )
            section = Section(kind, flags, address, offset, length)
            section.link, section.entry_size = link, entry
            found.append(section)
            labels.append(label)
        if 0 < names < len(found):
            table = found[names]
            for section, label in zip(found, labels):
                section.name = self._string(table.offset + label, table.offset + table.size)
        return found

    # ------------------------------------------------------------ symbols

    def functions(self) -> list[Symbol]:
        """Functions defined here (FUNC and GNU_IFUNC), of both tables, by address.

        A symbol that is in ``.symtab`` and ``.dynsym`` is listed once; aliases (several names of
        one address) are all listed.  Symbol versions (``name@@VERSION``) are cut off.
        """
        found: dict[tuple[str, int], Symbol] = {}
        for table in (SHT_SYMTAB, SHT_DYNSYM):
            for symbol in self.symbols(table, (STT_FUNC, STT_GNU_IFUNC)):
                if symbol.section:
                    symbol.name = symbol.name.partition("@")[0]
                    found.setdefault((symbol.name, symbol.value), symbol)
        return sorted(found.values(), key=lambda symbol: (symbol.value, symbol.name))

    def symbols(self, table: int, kinds: tuple[int, ...] | None = None) -> list[Symbol]:
        """Symbols of ``SHT_SYMTAB`` or ``SHT_DYNSYM``, in order, of ``kinds`` if given."""
        found: list[Symbol] = []
        for section in self.sections():
            if section.kind == table:
                found += self._symbols_of(section, kinds)
        return found

    def _symbols_of(self, section: Section, kinds: tuple[int, ...] | None) -> list[Symbol]:
        sections = self.sections()
        if not 0 < section.link < len(sections):
            raise ElfError(f"{self.path}: symbols of {section.name} have no names")
        texts = self.section_bytes(sections[section.link])
        entry = struct.Struct(self._order + ("IBBHQQ" if self.bits == 64 else "IIIBBH"))
        raw = self.section_bytes(section)
        found = []
        wide = self.bits == 64
        for fields in entry.iter_unpack(raw[: len(raw) // entry.size * entry.size]):
            if wide:
                label, info, _, index, value, size = fields
            else:
                label, value, size, info, _, index = fields
            if (kinds is None or info & 15 in kinds) and label:
                end = texts.find(b"\0", label)
                name = texts[label : end if end >= 0 else len(texts)].decode("latin-1")
                found.append(Symbol(name, value, size, info >> 4, info & 15, index))
        return found

    # ------------------------------------------------------------ raw access

    def close(self) -> None:
        """Unmap the file; closing twice is harmless."""
        self._data.close()

    def __enter__(self) -> Elf:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _build_id_in(self, offset: int, size: int) -> str | None:
        return build_id_note(self._bytes(offset, size, "notes"), self._order)

    def _unpack(self, layout: str, at: int, what: str) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self._order + layout, self._data, at)
        except (struct.error, OverflowError):
            raise ElfError(f"{self.path}: truncated ({what} at {at:#x})") from None

    def _bytes(self, offset: int, size: int, what: str) -> bytes:
        if offset + size > len(self._data):
            raise ElfError(f"{self.path}: truncated ({what} at {offset:#x})")
        return self._data[offset : offset + size]

    def _string(self, start: int, limit: int) -> str:
        size = len(self._data)
        end = self._data.find(b"\0", min(start, size), min(limit, size))
        if end < 0:
            raise ElfError(f"{self.path}: damaged string table")
        return self._data[start:end].decode("latin-1")


def _map(path: str) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # no wait for pipes
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:
            raise ElfError(f"{path}: not an ELF file (empty)")
        return mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
