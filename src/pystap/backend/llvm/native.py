"""Maps a position-independent x86-64 object into this process and gives out its functions.

Nothing of LLVM is needed for it, so machine code kept on disk is ready in under a millisecond.
Relocations: System V ABI, AMD64 supplement, section 4.4.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Mapping

from pystap.backend.llvm.object import (
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    ElfObject,
    LinkError,
    Section,
    Symbol,
)
from pystap.typing import Any, Final

_EM_X86_64: Final = 62
_PAGE: Final = 4096
_PROT_READ, _PROT_WRITE, _PROT_EXEC = 1, 2, 4
_MAP_PRIVATE_ANONYMOUS: Final = 0x22
_SHN_ABS: Final = 0xFFF1

_R_64, _R_PC32, _R_PLT32, _R_PC64 = 1, 2, 4, 24
_STUB: Final = b"\xff\x25\x00\x00\x00\x00"  # jmp *0(%rip), the address follows
_STUB_SIZE: Final = 16

# Protection of the three groups of sections, in the order they are laid out.
_GROUPS: Final = (
    (SHF_EXECINSTR, _PROT_READ | _PROT_EXEC),
    (0, _PROT_READ),
    (SHF_WRITE, _PROT_READ | _PROT_WRITE),
)


class NativeError(Exception):
    """Machine code cannot be used here; the message says why."""


def supported() -> bool:
    """Whether native code can be loaded on this machine (x86-64 only so far)."""
    return os.uname().machine == "x86_64" and struct.calcsize("P") == 8


class NativeCode:
    """The functions of one object, mapped.  ``close`` unmaps; addresses are dead then.

    ``externals`` gives addresses of undefined symbols.  Raises :class:`NativeError` when the
    object is for another machine or needs a relocation or symbol that is not known, ``OSError``
    when memory cannot be mapped.
    """

    def __init__(self, data: bytes, externals: Mapping[str, int] | None = None) -> None:
        if not supported():
            raise NativeError(f"native code for {os.uname().machine} is not implemented")
        try:
            self._elf = ElfObject(data)
        except LinkError as error:
            raise NativeError(str(error)) from error
        if self._elf.machine != _EM_X86_64:
            raise NativeError(f"object for machine {self._elf.machine}, not x86-64")
        self._externals = dict(externals or {})
        self._libc = _libc()
        self._base = 0
        self._lay_out()
        self._map()
        try:
            self._fill()
        except BaseException:
            self.close()
            raise

    def function(self, name: str, prototype: Any) -> Any:
        """A callable of a ctypes prototype (``ctypes.CFUNCTYPE(...)``) for a defined symbol."""
        return prototype(self.address(name))

    def address(self, name: str) -> int:
        """Address of a defined symbol."""
        for symbol in self._elf.symbols:
            if symbol.name == name and symbol.section:
                return self._symbol_address(symbol)
        raise NativeError(f"the object does not define {name}")

    def close(self) -> None:
        """Unmap; may be called again."""
        if self._base:
            self._libc.munmap(self._base, self._size)
            self._base = 0

    def _lay_out(self) -> None:
        """Decide the offset of every section and the page ranges of the groups."""
        self._offsets: dict[int, int] = {}
        self._ranges: list[tuple[int, int, int]] = []
        self._stubs: dict[str, int] = {}
        at = 0
        for group, protection in _GROUPS:
            begin = at
            for index, section in enumerate(self._elf.sections):
                if section.flags & SHF_ALLOC and _group(section) == group:
                    at += -at % section.align
                    self._offsets[index] = at
                    at += section.size
            if group == SHF_EXECINSTR:
                at += -at % _STUB_SIZE
                for name in self._externals:
                    self._stubs[name] = at
                    at += _STUB_SIZE
            at += -at % _PAGE
            if at > begin:
                self._ranges.append((begin, at - begin, protection))
        self._size = max(at, _PAGE)

    def _map(self) -> None:
        protection = _PROT_READ | _PROT_WRITE
        base = self._libc.mmap(None, self._size, protection, _MAP_PRIVATE_ANONYMOUS, -1, 0)
        if base in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), "cannot map memory for native code")
        self._base = int(base)

    def _fill(self) -> None:
        """Copy, relocate, then take the write permission away."""
        image = bytearray(self._size)
        for index, offset in self._offsets.items():
            content = self._elf.sections[index].data
            image[offset : offset + len(content)] = content
        for name, offset in self._stubs.items():
            image[offset : offset + 14] = _STUB + struct.pack("<Q", self._externals[name])
        for index, offset in self._offsets.items():
            for relocation in self._elf.relocations.get(index, ()):
                symbol = self._elf.symbols[relocation.symbol]
                target = self._symbol_address(symbol) + relocation.addend
                _relocate(image, self._base, offset + relocation.offset, relocation.kind, target)
        ctypes.memmove(self._base, bytes(image), self._size)
        for begin, size, protection in self._ranges:
            if self._libc.mprotect(self._base + begin, size, protection):
                raise OSError(ctypes.get_errno(), "cannot make native code executable")

    def _symbol_address(self, symbol: Symbol) -> int:
        if symbol.section == 0:
            try:
                return self._base + self._stubs[symbol.name]
            except KeyError:
                raise NativeError(f"undefined symbol {symbol.name}") from None
        if symbol.section == _SHN_ABS:
            return symbol.value
        try:
            return self._base + self._offsets[symbol.section] + symbol.value
        except KeyError:
            raise NativeError(f"symbol {symbol.name} is in no loaded section") from None


def _group(section: Section) -> int:
    """The flag that decides the group: code, writable, or neither."""
    if section.flags & SHF_EXECINSTR:
        return SHF_EXECINSTR
    return section.flags & SHF_WRITE


def _relocate(image: bytearray, base: int, at: int, kind: int, target: int) -> None:
    if kind == _R_64:
        struct.pack_into("<Q", image, at, target & 0xFFFF_FFFF_FFFF_FFFF)
    elif kind in (_R_PC32, _R_PLT32):
        distance = target - (base + at)
        if not -(1 << 31) <= distance < 1 << 31:
            raise NativeError("relocation out of range")
        struct.pack_into("<i", image, at, distance)
    elif kind == _R_PC64:
        struct.pack_into("<q", image, at, target - (base + at))
    else:
        raise NativeError(f"relocation type {kind} is not implemented")


def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    ]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc
