"""Where a file's thread-local variables are, for x86-64 and the C library's way.

The thread pointer (the base of FS) of each thread is where the variables of the program end, by
the ABI's variant II.  Where those of a library are is settled when it is loaded: a slot of its
global offset table then holds either the distance from the thread pointer of some variable of the
library, or the library's number in the thread's table of such blocks.  Which slot that is, its
relocations tell: "ELF Handling For Thread-Local Storage", chapter 3.4.6 and 4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pystap.debuginfo.elf import ET_EXEC, SHT_DYNSYM, Elf
from pystap.typing import Final, Literal, NamedTuple

_PT_TLS: Final = 7
_MODULE: Final = 16  # R_X86_64_DTPMOD64
_DISTANCE: Final = 18  # R_X86_64_TPOFF64
_SECTIONS: Final = (".rela.dyn", ".rela.plt")


class Storage(NamedTuple):
    """How to find a file's block of thread-local variables.

    ``fixed``: ``offset`` is its distance from the thread pointer.  ``slot``: the word at address
    ``slot`` of the file, less ``offset``, is that.  ``module``: that word is the number of the
    block in the thread's table.
    """

    kind: Literal["fixed", "slot", "module"]
    slot: int = 0
    offset: int = 0


def storage(elf: Elf) -> Storage | None:
    """The storage of a program's or library's variables; None when nothing tells."""
    block = next((s for s in elf.segments() if s.kind == _PT_TLS), None)
    if block is None:
        return None
    if elf.kind == ET_EXEC or elf.is_pie:
        end = block.address + block.memory_size
        align = max(block.align, 1)
        return Storage("fixed", offset=block.address - (end + align - 1) // align * align)
    found = {place.kind: place for place in _slots(elf)}
    return found.get("slot") or found.get("module")


def _slots(elf: Elf) -> Iterator[Storage]:
    """Slots that are about variables of the file itself."""
    values = _defined(elf)
    for name in _SECTIONS:
        section = elf.section(name)
        raw = b"" if section is None else elf.section_bytes(section)
        for offset, info, addend in struct.iter_unpack("<QQq", raw[: len(raw) // 24 * 24]):
            kind, symbol = info & 0xFFFF_FFFF, info >> 32
            if kind not in (_MODULE, _DISTANCE) or (symbol and symbol not in values):
                continue
            if kind == _MODULE:
                yield Storage("module", offset)
            else:
                yield Storage("slot", offset, (values[symbol] if symbol else 0) + addend)


def _defined(elf: Elf) -> dict[int, int]:
    """Values of the dynamic symbols that the file defines, by index."""
    section = next((s for s in elf.sections() if s.kind == SHT_DYNSYM), None)
    if section is None:
        return {}
    raw = elf.section_bytes(section)
    entries = struct.iter_unpack("<IBBHQQ", raw[: len(raw) // 24 * 24])
    return {index: value for index, (_, _, _, at, value, _) in enumerate(entries) if at}
