"""Kernel symbols from /proc/kallsyms: addresses to names and names to addresses.

The file (10 MB and 120,000 lines on a small kernel) is read at the first look-up only.
"""

from __future__ import annotations

from bisect import bisect_right

_PATH = "/proc/kallsyms"
#: types of nm(1) that stand for code
_CODE = frozenset("tTwW")
#: x86 lists per-CPU variables by their offset from 0; no kernel has anything else below 1 MiB
_PER_CPU_END = 1 << 20
#: what may belong to the last symbol, which has no next one to end it
_LARGEST_LAST = 1 << 20
_END_OF_KERNEL = "_end"


class KernelSymbol:
    """A symbol at ``address``; ``module`` is empty for the kernel itself.

    ``size`` in bytes is the distance to the next symbol, as kallsyms has none; ``offset`` is
    that of the address looked up.
    """

    __slots__ = ("address", "module", "name", "offset", "size")

    def __init__(self, name: str, address: int, size: int, module: str, offset: int = 0) -> None:
        self.name = name
        self.address = address
        self.size = size
        self.module = module
        self.offset = offset

    def __repr__(self) -> str:
        return f"KernelSymbol({self.name}+{self.offset:#x}/{self.size:#x} [{self.module}])"


class Kallsyms:
    """Look-ups in a kallsyms file, or in its contents."""

    def __init__(self, path: str = _PATH, contents: bytes | None = None) -> None:
        self._path = path
        self._contents = contents
        self._addresses: list[int] | None = None
        self._lines: list[str] = []
        self._by_name: dict[str, list[int]] | None = None

    @property
    def restricted(self) -> bool:
        """Whether the kernel hides its addresses (kptr_restrict, or no privilege).

        Look-ups by address and :meth:`addresses` find nothing then; names are still known.
        """
        return not self._sorted() and bool(self._lines)

    def lookup(self, address: int) -> KernelSymbol | None:
        """The symbol an address lies in, or None if it lies in none or addresses are hidden.

        Of several names of one address the first one listed is given.
        """
        addresses = self._sorted()
        after = bisect_right(addresses, address)
        if after == 0:
            return None
        start = addresses[after - 1]
        last = after == len(addresses)
        if start < _PER_CPU_END or (last and address - start >= _LARGEST_LAST):
            return None
        first = after - 1
        while first and addresses[first - 1] == start:
            first -= 1
        size = 0 if last else addresses[after] - start
        name, module = _name_and_module(self._lines[first])
        if name == _END_OF_KERNEL:
            return None
        return KernelSymbol(name, start, size, module, address - start)

    def addresses(self, name: str, module: str | None = None) -> list[int]:
        """All addresses of a name, for static functions may share one; of ``module`` if given."""
        addresses = self._sorted()
        return [
            addresses[i]
            for i in self._names().get(name, ())
            if i < len(addresses) and module in (None, _name_and_module(self._lines[i])[1])
        ]

    def functions(self) -> list[tuple[str, str]]:
        """Name and module of all symbols that are code, in order of addresses if known."""
        self._sorted()
        return [_name_and_module(line) for line in self._lines if line.split(" ", 2)[1] in _CODE]

    def has(self, name: str) -> bool:
        """Whether a symbol of this name exists, even when addresses are hidden."""
        return name in self._names()

    def names(self) -> list[str]:
        """Every name once."""
        return list(self._names())

    def _sorted(self) -> list[int]:
        if self._addresses is None:
            contents = self._contents
            if contents is None:
                with open(self._path, "rb") as file:
                    contents = file.read()
            lines = contents.decode("latin-1").split("\n")
            lines.pop()  # what follows the last newline
            # hidden addresses are zero; per-CPU symbols start at zero even when nothing is hidden
            width = lines[0].find(" ") if lines else 0
            numbers = [int(line[:width], 16) for line in lines]
            if any(numbers):
                order = sorted(range(len(lines)), key=numbers.__getitem__)
                lines = [lines[i] for i in order]
                self._addresses = [numbers[i] for i in order]
            else:
                self._addresses = []
            self._lines = lines
        return self._addresses

    def _names(self) -> dict[str, list[int]]:
        if self._by_name is None:
            self._sorted()
            self._by_name = {}
            for number, line in enumerate(self._lines):
                self._by_name.setdefault(_name_and_module(line)[0], []).append(number)
        return self._by_name


def _name_and_module(line: str) -> tuple[str, str]:
    """``ffffffff81000000 T _text`` or ``ffffffffc0000000 t init\\t[ext4]``"""
    name, _, module = line.split(" ", 2)[2].partition("\t")
    return name, module.strip("[]")
