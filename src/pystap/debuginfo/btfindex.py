"""The index that makes BTF random-accessible, kept on disk between runs.

BTF is a sequence of records of different lengths: finding type N or a name means reading all.
The index holds, for one BTF object,

* the position of each type (32-bit words from the start of the type section),
* named types as sorted ``crc32(name) << 32 | type id``,
* enumerators as sorted ``crc32(name) << 32 | id of the enumeration``,
* the ids of the ``btf_trace_*`` typedefs, one for each tracepoint.

Names are checked against the BTF itself by the reader, so equal checksums do no harm.  Building
takes 0.1 to 0.2 s for a kernel with 126,000 types; a file of 1.2 MB is mapped after that.
"""

from __future__ import annotations

import mmap
import struct
from itertools import accumulate, count
from zlib import crc32

from pystap.kernel.btfwriter import KIND_ENUM, KIND_ENUM64, KIND_TYPEDEF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pystap.typing import Literal

_MAGIC = b"pystap BTF index 1\n".ljust(24, b"\0")
_HEADER = struct.Struct("=24s40sIIII")
#: words after the 3-word record head: fixed for a kind, and for each of its vlen elements
_FIXED = (0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0)
_EACH = (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3)
TRACEPOINT_PREFIX = b"btf_trace_"


class MalformedBtfError(Exception):
    """The type section does not parse."""


class Index:
    """The four tables; see the module text."""

    __slots__ = ("enumerators", "names", "offsets", "tracepoints")

    def __init__(
        self,
        offsets: memoryview,
        names: memoryview,
        enumerators: memoryview,
        tracepoints: memoryview,
    ) -> None:
        self.offsets = offsets
        self.names = names
        self.enumerators = enumerators
        self.tracepoints = tracepoints


def build_index(
    words: memoryview,
    strings: bytes,
    first_id: int,
    first_string: int,
    base_string: Callable[[int], str] | None,
) -> Index:
    """Read a whole type section (32-bit words) and its strings.

    Split BTF numbers its types from ``first_id`` and its strings from ``first_string``; names
    below that are given by ``base_string``.  Raises :class:`MalformedBtfError`.
    """
    offsets = _walk(words)
    checksums = _Checksums(strings, first_string, base_string)
    labels = [words[position] for position in offsets]
    names = _name_table(labels, checksums, first_id)
    enumerators = _enumerator_table(words, offsets, checksums, first_id)
    wanted = _tracepoint_labels(strings, first_string)
    tracepoints = [
        type_id
        for type_id, label in enumerate(labels, first_id)
        if label in wanted and words[offsets[type_id - first_id] + 1] >> 24 & 31 == KIND_TYPEDEF
    ]
    return Index(
        _packed("I", offsets),
        _packed("Q", names),
        _packed("Q", enumerators),
        _packed("I", tracepoints),
    )


def _packed(code: Literal["I", "Q"], numbers: list[int]) -> memoryview:
    return memoryview(struct.pack(f"{len(numbers)}{code}", *numbers)).cast(code)


def _walk(words: memoryview) -> list[int]:
    """Word position of each type."""
    offsets: list[int] = []
    append = offsets.append
    steps: dict[int, int] = {}
    position, end = 0, len(words)
    try:
        while position < end:
            append(position)
            info = words[position + 1]
            try:
                position += steps[info]
            except KeyError:
                kind, vlen = info >> 24 & 31, info & 0xFFFF
                if not 0 < kind < len(_FIXED):
                    raise MalformedBtfError(f"unknown kind {kind} of type") from None
                steps[info] = step = 3 + _FIXED[kind] + _EACH[kind] * vlen
                position += step
    except IndexError:
        position = -1
    if position != end:
        raise MalformedBtfError("the last type is cut off")
    return offsets


class _Checksums(dict[int, int]):
    """crc32 of each string by its offset.

    All strings of the object are entered at once.  Strings of the base, and tails of strings
    should a producer share them, are added when met.
    """

    def __init__(self, strings: bytes, first: int, base: Callable[[int], str] | None) -> None:
        texts = strings.split(b"\0")
        lengths = accumulate(map(len, texts), initial=first)
        starts = map(int.__add__, lengths, count())  # and one zero byte for each before
        super().__init__(zip(starts, map(crc32, texts)))
        self._strings = strings
        self._first = first
        self._base = base

    def __missing__(self, offset: int) -> int:
        if offset < self._first and self._base is not None:
            text = self._base(offset).encode("latin-1")
        else:
            at = offset - self._first
            end = self._strings.find(b"\0", at)
            if end < 0:
                raise MalformedBtfError("a name lies outside the strings")
            text = self._strings[at:end]
        self[offset] = checksum = crc32(text)
        return checksum


def _name_table(labels: list[int], checksums: _Checksums, first_id: int) -> list[int]:
    table = [checksums[n] << 32 | i for i, n in enumerate(labels, first_id) if n]
    table.sort()
    return table


def _enumerator_table(
    words: memoryview, offsets: list[int], checksums: _Checksums, first_id: int
) -> list[int]:
    table: list[int] = []
    for type_id, position in enumerate(offsets, first_id):
        info = words[position + 1]
        kind = info >> 24 & 31
        if kind in (KIND_ENUM, KIND_ENUM64):
            width = 2 if kind == KIND_ENUM else 3
            last = position + 3 + width * (info & 0xFFFF)
            table += [
                checksums[label] << 32 | type_id for label in words[position + 3 : last : width]
            ]
    table.sort()
    return table


def _tracepoint_labels(strings: bytes, first: int) -> set[int]:
    """Offsets of the strings that name tracepoint typedefs."""
    found = set()
    at = strings.find(b"\0" + TRACEPOINT_PREFIX)
    while at >= 0:
        found.add(at + 1 + first)
        at = strings.find(b"\0" + TRACEPOINT_PREFIX, at + 1)
    return found


def save_index(index: Index, path: Path, key: bytes) -> None:
    """Write ``index`` for the BTF identified by ``key`` (at most 40 bytes).  Raises OSError."""
    from pystap.wholefile import write_whole

    tables = (index.offsets, index.tracepoints, index.names, index.enumerators)
    padded = (bytes(table) + bytes(-table.nbytes % 8) for table in tables)
    write_whole(path, _HEADER.pack(_MAGIC, key, *map(len, tables)), *padded)


def load_index(path: Path, key: bytes) -> Index | None:
    """Map the index in ``path``; None if there is none, or it is damaged or of another BTF."""
    try:
        with open(path, "rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):  # ValueError: an empty file
        return None
    if len(data) < _HEADER.size:
        return None
    magic, owner, *counts = _HEADER.unpack_from(data)
    if magic != _MAGIC or owner != key.ljust(40, b"\0"):
        return None
    parts = []
    at = _HEADER.size
    for number, width in zip(counts, (4, 4, 8, 8)):
        parts.append(data[at : at + number * width])
        at += (number * width + 7) & ~7
    if at != len(data):
        return None
    offsets, tracepoints, names, enumerators = parts
    return Index(offsets.cast("I"), names.cast("Q"), enumerators.cast("Q"), tracepoints.cast("I"))
