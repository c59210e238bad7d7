"""The bytes of debug sections, for searches.

Those of large programs have hundreds of megabytes: they are mapped where that is possible.
"""

from __future__ import annotations

import mmap

from pystap.debuginfo.elf import SHF_COMPRESSED, SHT_NOBITS, Elf
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.debuginfo.dwarf import Dwarf


class Contents:
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

    def text(self, at: int) -> bytes:
        """The string at a place, without the zero that ends it."""
        end = self._data.find(b"\0", self._start + at, self._start + self.size)
        return self._data[self._start + at : end]


def section_contents(dwarf: Dwarf, name: str) -> Contents:
    """A section of a file with debug information; empty if it does not exist.

    Raises :class:`~pystap.debuginfo.libdw.DwarfError` for an unknown compression.
    """
    if dwarf.relocated is not None:
        raw = dwarf.relocated.contents(name)
        return Contents(raw, 0, len(raw))
    with Elf(dwarf.path) as elf:
        section = elf.section(name)
        if section is None or section.kind == SHT_NOBITS:
            return Contents(b"", 0, 0)
        if section.flags & SHF_COMPRESSED:
            raw = _uncompressed(elf.section_bytes(section))
            return Contents(raw, 0, len(raw))
    with open(dwarf.path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return Contents(mapped, section.offset, section.size)


def _uncompressed(raw: bytes) -> bytes:
    """The contents of a section with a compression header (zlib)."""
    import zlib

    from pystap.debuginfo.libdw import DwarfError

    if int.from_bytes(raw[:4], "little") != 1:  # ELFCOMPRESS_ZLIB
        raise DwarfError("debug information is compressed in an unknown way")
    return zlib.decompress(raw[24:])
