"""Tables of named numbers, shared by every runtime and loaded when first used.

A table is a file in ``data/``.  ``NAME.names`` holds lines ``NUMBER NAME [NAME ...]`` (the first
name is the one a number is shown as).  ``NAME.flags`` holds lines ``VALUE NAME`` for single bits
and ``VALUE/MASK NAME`` for values of a field of several bits, in the order they are shown, and
perhaps ``zero NAME`` for the value without any flag.  ``#`` begins a comment.  Numbers are those
of the kernel's user-space interface (its uapi headers), as on x86-64 where architectures differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pystap.typing import Final, NamedTuple, TypeAlias

_DATA: Final = Path(__file__).parent / "data"
_WORD: Final = (1 << 64) - 1


class NameTable(NamedTuple):
    """Names of numbers."""

    names: dict[int, str]
    numbers: dict[str, int]

    def name(self, number: int) -> str:
        """The name of a number, empty when it has none."""
        return self.names.get(number, "")

    def number(self, name: str) -> int:
        """The number of a name, -1 when there is no such name."""
        return self.numbers.get(name, -1)


class Flag(NamedTuple):
    """``name`` is shown when the bits of ``mask`` have ``value``."""

    mask: int
    value: int
    name: str


class FlagTable(NamedTuple):
    """Names of bits and bit fields.  ``zero`` is what 0 is shown as, empty for ``0x0``."""

    flags: tuple[Flag, ...]
    zero: str

    def text(self, value: int) -> str:
        """``A|B|0x40``: the flags set, in order of the table, and the bits without a name.

        Only a field whose value is not 0 says so; a field of value 0 is shown when the table
        names that value.
        """
        rest = value & _WORD
        parts = []
        for flag in self.flags:
            if value & flag.mask == flag.value and (rest & flag.mask or not flag.value):
                parts.append(flag.name)
                rest &= ~flag.mask
        if rest:
            parts.append(f"{rest:#x}")
        return "|".join(parts) or self.zero or "0x0"


Table: TypeAlias = NameTable | FlagTable


class TableError(Exception):
    """A data file is malformed: a mistake in the installation."""


class Tables(Mapping[str, Table]):
    """All tables of a folder by name."""

    def __init__(self, folder: Path = _DATA) -> None:
        self._folder = folder
        self._loaded: dict[str, Table] = {}

    def __getitem__(self, name: str) -> Table:
        found = self._loaded.get(name)
        if found is None:
            found = self._loaded[name] = self._load(name)
        return found

    def __iter__(self) -> Iterator[str]:
        files = (f for f in self._folder.iterdir() if f.suffix in _READERS)
        return iter(sorted(f.stem for f in files))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _load(self, name: str) -> Table:
        for suffix, read in _READERS.items():
            path = self._folder / f"{name}{suffix}"
            if path.is_file():
                return read(_rows(path))
        raise KeyError(name)


def _rows(path: Path) -> list[list[str]]:
    lines = path.read_text(encoding="ascii").splitlines()
    rows = [line.partition("#")[0].split() for line in lines]
    for number, row in enumerate(rows, 1):
        if len(row) == 1:
            raise TableError(f"{path}:{number}: a number without a name")
    return [row for row in rows if row]


def _read_names(rows: list[list[str]]) -> NameTable:
    names: dict[int, str] = {}
    numbers: dict[str, int] = {}
    for row in rows:
        value = int(row[0], 0)
        names.setdefault(value, row[1])
        for name in row[1:]:
            numbers[name] = value
    return NameTable(names, numbers)


def _read_flags(rows: list[list[str]]) -> FlagTable:
    flags = []
    zero = ""
    for where, name in rows:
        if where == "zero":
            zero = name
            continue
        value, _, mask = where.partition("/")
        flags.append(Flag(int(mask or value, 0), int(value, 0), name))
    return FlagTable(tuple(flags), zero)


_READERS: Final[dict[str, Callable[[list[list[str]]], Table]]] = {
    ".names": _read_names,
    ".flags": _read_flags,
}

TABLES: Final = Tables()
"""The tables that come with pystap."""
