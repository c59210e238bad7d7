"""Procedure linkage tables of x86-64 programs: by which stubs they call functions of libraries.

A stub jumps through a slot of the global offset table, and the relocation of that slot names the
function.  So stubs are found by their jumps, whatever sections the linker made.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pystap.debuginfo.elf import Elf
from pystap.typing import Final, NamedTuple

_SECTIONS: Final = (".plt.sec", ".plt", ".plt.got")  # later ones only for what is not before
_RELOCATIONS: Final = (".rela.plt", ".rela.dyn")
_STRIDE: Final = 8  # stubs are 8 or 16 bytes apart
_ENDBR64: Final = b"\xf3\x0f\x1e\xfa"
_BND: Final = b"\xf2"
_JUMP: Final = b"\xff\x25"  # jmp *disp32(%rip)


class Stub(NamedTuple):
    """A stub: the function it leads to and its own address."""

    name: str
    address: int


def read_stubs(elf: Elf) -> list[Stub]:
    """The stubs of a file, by address."""
    slots = dict(_slots(elf))
    found: dict[str, Stub] = {}
    for name in _SECTIONS:
        section = elf.section(name)
        if section is None:
            continue
        code = elf.section_bytes(section)
        for at in range(0, len(code), _STRIDE):
            target = _jump_through(code, at, section.address)
            function = None if target is None else slots.get(target)
            if function is not None:
                found.setdefault(function, Stub(function, section.address + at))
    return sorted(found.values(), key=lambda stub: stub.address)


def _jump_through(code: bytes, at: int, start: int) -> int | None:
    """The address of the slot that a stub at ``at`` jumps through; None when it is no stub."""
    here = at
    for prefix in (_ENDBR64, _BND):
        if code.startswith(prefix, here):
            here += len(prefix)
    if not code.startswith(_JUMP, here) or here + 6 > len(code):
        return None
    (distance,) = struct.unpack_from("<i", code, here + 2)
    return start + here + 6 + int(distance)


def _slots(elf: Elf) -> Iterator[tuple[int, str]]:
    """Addresses of slots with the names of what they are for."""
    names = _dynamic_names(elf)
    for name in _RELOCATIONS:
        section = elf.section(name)
        if section is None:
            continue
        raw = elf.section_bytes(section)
        for offset, info, _ in struct.iter_unpack("<QQq", raw[: len(raw) // 24 * 24]):
            index = info >> 32
            if 0 < index < len(names) and names[index]:
                yield offset, names[index]


def _dynamic_names(elf: Elf) -> list[str]:
    """The names of the dynamic symbols by index."""
    section = elf.section(".dynsym")
    if section is None:
        return []
    raw = elf.section_bytes(section)
    texts = elf.section_bytes(elf.sections()[section.link])
    found = []
    for (label,) in struct.iter_unpack("<I20x", raw[: len(raw) // 24 * 24]):
        end = texts.find(b"\0", label)
        found.append(texts[label : end if end >= 0 else len(texts)].decode("latin-1"))
    return found
