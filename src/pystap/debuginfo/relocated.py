"""Debug information of relocatable files, such as modules of the kernel.

Nothing in such a file has an address yet: each section begins at 0, and the debug information is
full of places to be filled in.  libdwfl lays the sections out one behind the other and fills
them in; :func:`section_at` tells which one an address then belongs to.
"""

from __future__ import annotations

import ctypes
import os

from pystap.debuginfo.elf import SHF_ALLOC, Elf
from pystap.debuginfo.libdw import DwarfError, FindDebugInfo, Library, RawCallbacks, library
from pystap.typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class LoadedSection(NamedTuple):
    """A section that is loaded; ``number`` is that of the file."""

    name: str
    number: int
    address: int
    size: int


def section_at(sections: Iterable[LoadedSection], address: int) -> LoadedSection | None:
    """The section an address is in."""
    for section in sections:
        if section.address <= address < section.address + max(section.size, 1):
            return section
    return None


class Relocated:
    """A laid-out file; ``dwarf`` is libdw's handle of its debug information.

    ``close`` it; nothing read from it may be used after that.
    """

    __slots__ = ("_callbacks", "_dwfl", "_elf", "dwarf", "fd", "lib", "path", "sections")

    def __init__(self, path: str) -> None:
        """Open; :class:`DwarfError` if it has no debug information, OSError."""
        self.lib: Library = library()
        self.path = path
        self._callbacks = _callbacks(self.lib)
        self._dwfl = self.lib.dwfl_begin(self._callbacks)
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.lib.dwfl_report_begin(self._dwfl)
        module = self.lib.dwfl_report_offline(self._dwfl, b"", os.fsencode(path), self.fd)
        if not module:
            os.close(self.fd)  # else it is libdwfl's to close
            raise self._failed()
        self.lib.dwfl_report_end(self._dwfl, None, None)
        bias = ctypes.c_uint64()
        self.dwarf: int | None = self.lib.dwfl_module_getdwarf(module, bias)
        if not self.dwarf:
            raise self._failed()
        self._elf: int | None = self.lib.dwfl_module_getelf(module, bias)
        if not self._elf:
            raise self._failed()
        self.sections: tuple[LoadedSection, ...] = tuple(self._laid())

    def close(self) -> None:
        """Release everything, the file too."""
        self.lib.dwfl_end(self._dwfl)

    def contents(self, name: str) -> bytes:
        """A section's bytes with everything filled in; none if there is no such section."""
        with Elf(self.path) as elf:
            for index, section in enumerate(elf.sections()):
                if section.name == name:
                    assert self._elf is not None  # else there would be no object
                    return self.lib.section_bytes(self._elf, index)
        return b""

    def _laid(self) -> list[LoadedSection]:
        handle = self._elf
        assert handle is not None
        with Elf(self.path) as elf:
            return [
                LoadedSection(
                    section.name, index, self.lib.section_address(handle, index), section.size
                )
                for index, section in enumerate(elf.sections())
                if section.flags & SHF_ALLOC
            ]

    def _failed(self) -> DwarfError:
        text: bytes | None = self.lib.dwfl_errmsg(-1)
        self.lib.dwfl_end(self._dwfl)
        return DwarfError(f"{self.path}: {(text or b'unknown error').decode('latin-1')}")


def _callbacks(lib: Library) -> RawCallbacks:
    """How libdwfl goes about a file that is all there is: no search for others."""
    place = ctypes.cast(lib.dwfl_offline_section_address, ctypes.c_void_p)
    return RawCallbacks(None, ctypes.cast(_NO_OTHER, ctypes.c_void_p), place, None)


def _not_found(*_: object) -> int:
    return -1


_NO_OTHER = FindDebugInfo(_not_found)
