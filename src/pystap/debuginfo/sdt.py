"""Marks of programs: the notes of type 3 and name ``stapsdt`` in ``.note.stapsdt``.

A note holds three addresses (the mark, ``.stapsdt.base``, a counter of listeners or 0), then the
provider, the name and the arguments as strings.  When a program was moved after linking (prelink),
``.stapsdt.base`` is not where its note says, and the other addresses are off by as much.
The layout: https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pystap.debuginfo.elf import Elf
from pystap.typing import Final, NamedTuple

_TYPE: Final = 3
_OWNER: Final = b"stapsdt\0"
_NOTES: Final = ".note.stapsdt"
_BASE: Final = ".stapsdt.base"


class Mark(NamedTuple):
    """A mark: address, address of its counter (0: none), argument descriptions."""

    provider: str
    name: str
    address: int
    semaphore: int
    args: tuple[str, ...]


def read_marks(elf: Elf) -> list[Mark]:
    """The marks of a file, by address."""
    section = elf.section(_NOTES)
    if section is None:
        return []
    base = elf.section(_BASE)
    found = []
    for desc in _notes(elf.section_bytes(section)):
        if len(desc) < 24:
            continue
        address, linked, semaphore = struct.unpack_from("<QQQ", desc)
        moved = base.address - linked if base is not None and linked else 0
        texts = desc[24:].split(b"\0")
        if len(texts) < 3:
            continue
        provider, name, args = (text.decode("latin-1") for text in texts[:3])
        counter = semaphore + moved if semaphore else 0
        found.append(Mark(provider, name, address + moved, counter, split_args(args)))
    return sorted(found, key=lambda mark: mark.address)


def split_args(text: str) -> tuple[str, ...]:
    """The argument descriptions; an operand may hold blanks within parentheses."""
    found: list[str] = []
    depth = 0
    for word in text.split(" "):
        if depth and found:
            found[-1] += word
        elif word:
            found.append(word)
        depth += word.count("(") - word.count(")")
    return tuple(found)


def _notes(raw: bytes) -> Iterator[bytes]:
    """The descriptions of the notes that are marks."""
    at = 0
    while at + 12 <= len(raw):
        name_size, desc_size, kind = struct.unpack_from("<III", raw, at)
        name_at = at + 12
        desc_at = name_at + (name_size + 3 & ~3)
        at = desc_at + (desc_size + 3 & ~3)
        if kind == _TYPE and raw[name_at : name_at + name_size] == _OWNER:
            yield raw[desc_at : desc_at + desc_size]
