"""Line tables: which source line an instruction comes from."""

from __future__ import annotations

import ctypes

from pystap.typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pystap.debuginfo.dwarf import Die


class Line(NamedTuple):
    """A row: code from ``address`` on comes from ``number`` of ``file``.

    ``statement`` tells that the address is a good place to stop at the line; ``end`` that no
    code follows.
    """

    address: int
    file: str
    number: int
    statement: bool
    end: bool


class Lines:
    """The rows of a unit, by address, and the source files they name."""

    __slots__ = ("files", "rows")

    def __init__(self, rows: list[Line]) -> None:
        self.rows = rows
        self.files = list(dict.fromkeys(row.file for row in rows))

    def at(self, pc: int) -> Line | None:
        """The row that an address belongs to."""
        from bisect import bisect_right

        index = bisect_right(self.rows, pc, key=lambda row: row.address) - 1
        while index >= 0 and self.rows[index].end and self.rows[index].address == pc:
            index -= 1
        if index < 0 or self.rows[index].end:
            return None
        return self.rows[index]


def read_lines(unit: Die) -> Lines:
    """The line table of a unit; empty when it has none."""
    lib = unit.file.lib
    handle, count = ctypes.c_void_p(), ctypes.c_size_t()
    if lib.dwarf_getsrclines(unit.raw, handle, count) != 0:
        return Lines([])
    address, number = ctypes.c_uint64(), ctypes.c_int()
    statement, end = ctypes.c_bool(), ctypes.c_bool()
    texts: dict[bytes, str] = {}
    rows = []
    for index in range(count.value):
        row = lib.dwarf_onesrcline(handle, index)
        lib.dwarf_lineaddr(row, address)
        lib.dwarf_lineno(row, number)
        lib.dwarf_linebeginstatement(row, statement)
        lib.dwarf_lineendsequence(row, end)
        raw = lib.dwarf_linesrc(row, None, None) or b""
        file = texts.get(raw)
        if file is None:
            file = texts[raw] = normal_path(raw.decode("latin-1"))
        rows.append(Line(address.value, file, number.value, statement.value, end.value))
    return Lines(rows)


def normal_path(path: str) -> str:
    """A path without ``.`` and doubled slashes; ``..`` stays, it may lead through a link."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return ("/" if path.startswith("/") else "") + "/".join(parts)


def source_files(unit: Die) -> list[str]:
    """The source files that a unit's line table may name."""
    return [file for file in files_by_number(unit) if file]


def files_by_number(unit: Die) -> list[str]:
    """The source files of a unit, each where its number says; empty for numbers without one."""
    lib = unit.file.lib
    handle, count = ctypes.c_void_p(), ctypes.c_size_t()
    if lib.dwarf_getsrcfiles(unit.raw, handle, count) != 0:
        return []
    found = (lib.dwarf_filesrc(handle, index, None, None) for index in range(count.value))
    return [normal_path((file or b"").decode("latin-1")) for file in found]
