"""The functions of a large file by name, in a file that is searched where it lies.

A kernel has some 75,000 names of functions in 160,000 entries: reading them into tables at every
start would take 0.1 s.  So the index holds the names sorted, with arrays beside them, and is
mapped; a look-up bisects.
"""

from __future__ import annotations

import mmap
import os
import struct
from array import array

from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER: Final = struct.Struct("<8s3Q2Q")  # what it is, stamp, names, entries
_MAGIC: Final = b"pystapF1"


class FunctionIndex:
    """Names of functions, sorted, each with the offsets of its entries."""

    __slots__ = ("_entries", "_first", "_names", "_places", "count")

    def __init__(self, data: bytes | mmap.mmap) -> None:
        *_, self.count, entries = _HEADER.unpack_from(data)
        view = memoryview(data)
        at = _HEADER.size
        self._entries = view[at : at + 8 * entries].cast("Q")
        at += 8 * entries
        words = 4 * (self.count + 1)
        self._first = view[at : at + words].cast("I")
        self._places = view[at + words : at + 2 * words].cast("I")
        self._names = view[at + 2 * words :]

    def find(self, name: str) -> list[int]:
        """The entries of a name; none if there is no such function."""
        raw = name.encode("latin-1")
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            if self._name(middle) < raw:
                low = middle + 1
            else:
                high = middle
        if low == self.count or self._name(low) != raw:
            return []
        return list(self._entries[self._first[low] : self._first[low + 1]])

    def names(self) -> list[str]:
        """All names, sorted."""
        return bytes(self._names).decode("latin-1").split("\0")[: self.count]

    def _name(self, number: int) -> bytes:
        return bytes(self._names[self._places[number] : self._places[number + 1] - 1])


def pack(found: Mapping[bytes, list[int]], stamp: tuple[int, int, int]) -> bytes:
    """The index of some functions as it is kept; ``stamp`` tells what it holds for."""
    names = sorted(found)
    entries, first, places = array("Q"), array("I", [0]), array("I", [0])
    for name in names:
        entries.extend(found[name])
        first.append(len(entries))
        places.append(places[-1] + len(name) + 1)
    header = _HEADER.pack(_MAGIC, *stamp, len(names), len(entries))
    text = b"".join(name + b"\0" for name in names)
    return b"".join((header, entries.tobytes(), first.tobytes(), places.tobytes(), text))


def load(path: str, stamp: tuple[int, int, int]) -> FunctionIndex | None:
    """The index kept at a path, None when there is none that holds for ``stamp``."""
    try:
        with open(path, "rb") as file:
            info = os.fstat(file.fileno())
            if info.st_uid not in (0, os.geteuid()) or info.st_size < _HEADER.size:
                return None
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    magic, *known, names, entries = _HEADER.unpack_from(data)
    if magic != _MAGIC or tuple(known) != stamp:
        return None
    least = _HEADER.size + 8 * entries + 8 * (names + 1)
    return FunctionIndex(data) if len(data) >= least else None
