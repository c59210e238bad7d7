"""What programs in the kernel must know of a program or library: one table of plain numbers.

The table is an array of elements of 16 bytes: a header, unwind rows, symbols, source places,
inlined calls and names.  All places in the code are offsets in the file, because that is what a
mapping tells, wherever it is.  Numbers are unsigned and of 4 bytes unless said otherwise:

=========  ==================================================================================
header     4 elements: first element and number of unwind rows and of symbols; of places and
           of inlined calls; first element of the names, where among them the path is, size of
           the object in memory, 0; distance (signed, 8 bytes) from an offset in the file to the
           one from where the object is loaded, 8 bytes of 0
unwind row offset; offset from the CFA's register (signed); kind; saved registers (6 signed
           bytes, see :mod:`pystap.debuginfo.callframes`); a byte of 0
symbol     offset; size; where its name is; 0
place      offset; where the name of the file is; line; 1 + index of the inlined call, or 0
inlined    2 elements: where the name is; offset; size; 1 + index of the call around it, or 0;
           of the call: where the name of the file is; line; 0; 0
names      texts with a NUL each, one of no bytes first
=========  ==================================================================================
"""

from __future__ import annotations

import struct

from pystap.debuginfo.elf import PF_X, PT_LOAD, STB_LOCAL, STB_WEAK, Elf, Symbol
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pystap.debuginfo.callframes import Row
    from pystap.debuginfo.sourceplaces import Inlined, Place

#: inode number, on device 0, that stands for the code that the kernel maps into every process
VDSO_INODE: Final = 2
#: the same of processes of 32 bits, of which nobody has a table
NARROW_VDSO_INODE: Final = 1

ELEMENT: Final = 16
HEADER: Final = 4  # elements
_HEADER: Final = struct.Struct("<IIIIIIIIIIIIqQ")
_ROW: Final = struct.Struct("<IiB6bB")
_FOUR: Final = struct.Struct("<IIII")
_MOST: Final = 1 << 32


class Table(NamedTuple):
    """A finished table without the object's path, and whether it tells how to unwind."""

    content: bytes
    unwinds: bool
    symbols: bool


class _Names:
    """Texts, each kept once."""

    def __init__(self) -> None:
        self._content = bytearray(b"\0")
        self._places = {b"": 0}

    def place(self, text: bytes) -> int:
        found = self._places.get(text)
        if found is None:
            found = self._places[text] = len(self._content)
            self._content += text + b"\0"
        return found

    def content(self) -> bytes:
        return bytes(self._content)


def make_table(
    elf: Elf,
    rows: list[Row],
    symbols: Iterable[Symbol],
    places: list[Place],
    inlined: list[Inlined],
) -> Table:
    """Put a table together.  ``symbols`` are functions; their names are written as given."""
    offsets = _Offsets(elf)
    names = _Names()
    unwind = _unwind_rows(rows, offsets)
    functions = _symbols(symbols, offsets, names)
    calls = [_inlined(call, offsets, names) for call in inlined]
    lines = _places(places, offsets, names)
    first = HEADER
    counts: list[int] = []
    for group, size in ((unwind, 1), (functions, 1), (lines, 1), (calls, 2)):
        counts += [first, len(group)]
        first += len(group) * size
    header = _HEADER.pack(*counts, first, 0, offsets.size, 0, offsets.delta, 0)
    content = b"".join((header, *unwind, *functions, *lines, *calls, names.content()))
    return Table(content, len(unwind) > 1, bool(functions))


def with_path(content: bytes, path: bytes) -> bytes:
    """The content of a table for the object at a path, filled up to whole elements."""
    fields = list(_HEADER.unpack_from(content))
    fields[9] = len(content) - fields[8] * ELEMENT
    whole = _HEADER.pack(*fields) + content[_HEADER.size :] + path + b"\0"
    return whole + bytes(-len(whole) % ELEMENT)


class _Offsets:
    """Offsets in the file of addresses in code."""

    def __init__(self, elf: Elf) -> None:
        loads = [s for s in elf.segments() if s.kind == PT_LOAD]
        code = [s for s in loads if s.flags & PF_X]
        self._code = [(s.address, s.address + s.file_size, s.offset - s.address) for s in code]
        base = min((s.address for s in loads), default=0) & ~0xFFF
        end = max((s.address + s.memory_size for s in loads), default=0)
        self.size = min(end - base, _MOST - 1)
        self.delta = code[0].address - code[0].offset - base if code else 0

    def of(self, address: int) -> int:
        """The offset of an address, -1 for one that is not in code."""
        for start, end, move in self._code:
            if start <= address <= end and address + move < _MOST:
                return address + move
        return -1


def _unwind_rows(rows: list[Row], offsets: _Offsets) -> list[bytes]:
    found: dict[int, bytes] = {}
    for address, kind, offset, saved in rows:
        at = offsets.of(address)
        if at >= 0:
            limit = offset if -_MOST // 2 <= offset < _MOST // 2 else 0
            found[at] = _ROW.pack(at, limit, kind if limit == offset else 0, *saved, 0)
    return [found[at] for at in sorted(found)]


def _symbols(symbols: Iterable[Symbol], offsets: _Offsets, names: _Names) -> list[bytes]:
    """One symbol for each place, the best known of its names."""
    chosen: dict[int, Symbol] = {}
    for symbol in symbols:
        at = offsets.of(symbol.value)
        if at < 0:
            continue
        other = chosen.get(at)
        if other is None or _rank(symbol) < _rank(other):
            chosen[at] = symbol
    packed = []
    for at in sorted(chosen):
        name = names.place(chosen[at].name.encode("latin-1", "replace"))
        packed.append(_four(at, chosen[at].size, name, 0))
    return packed


def _rank(symbol: Symbol) -> tuple[bool, bool, int, bool, str]:
    """Names with a size, then global ones, those without leading underscores, strong ones."""
    underscores = len(symbol.name) - len(symbol.name.lstrip("_"))
    local, weak = symbol.binding == STB_LOCAL, symbol.binding == STB_WEAK
    return symbol.size == 0, local, underscores, weak, symbol.name


def _places(places: list[Place], offsets: _Offsets, names: _Names) -> list[bytes]:
    found: dict[int, bytes] = {}
    for place in places:
        at = offsets.of(place.address)
        if at >= 0:
            file = names.place(place.file.encode("latin-1", "replace"))
            found[at] = _four(at, file, place.line, place.inlined)
    return [found[at] for at in sorted(found)]


def _inlined(call: Inlined, offsets: _Offsets, names: _Names) -> bytes:
    name = names.place(call.name.encode("latin-1", "replace"))
    file = names.place(call.file.encode("latin-1", "replace"))
    start = max(offsets.of(call.start), 0)
    return _four(name, start, call.size, call.outer) + _four(file, call.line, 0, 0)


def _four(*numbers: int) -> bytes:
    """An element of four numbers; what damaged files say may be out of range."""
    return _FOUR.pack(*(min(max(number, 0), _MOST - 1) for number in numbers))
