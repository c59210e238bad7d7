"""The tables of programs and libraries as maps, for the programs of an artifact."""

from __future__ import annotations

import os

from pystap.debuginfo.objecttable import ELEMENT
from pystap.kernel.bpf import F_INNER_MAP, F_MMAPABLE, MAP_TYPE_ARRAY
from pystap.kernel.maps import create_map
from pystap.kernel.programs import TestRun
from pystap.session.userobjects import Note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystap.kernel.maps import Map
    from pystap.session.loader import Loaded

TABLE_FLAGS = F_MMAPABLE | F_INNER_MAP


class MapTables:
    """See :class:`pystap.session.userobjects.Tables`.

    ``program`` is the descriptor of the program that tells how the kernel calls a file.
    """

    def __init__(self, loaded: Loaded, program: int) -> None:
        self._tables = loaded.by_role["user_objects"]
        self._unknown = loaded.by_role["unknown_objects"]
        self._identify = TestRun(program, 24)
        self._inner: list[Map] = []

    def identify(self, address: int) -> tuple[int, int] | None:
        """Inode and device of what this process has mapped at an address."""
        context = self._identify.context.cast("Q")
        context[0], context[1], context[2] = address, 0, 0
        return (context[1], context[2]) if self._identify.run() else None

    def enter(self, name: tuple[int, int], content: bytes) -> None:
        """Add a table.  Raises OSError."""
        made = create_map(
            MAP_TYPE_ARRAY, 4, ELEMENT, len(content) // ELEMENT, flags=TABLE_FLAGS, name="object"
        )
        self._inner.append(made)
        with made.mmap() as memory:
            memory.view[: len(content)] = content
        self._tables.update(_key(name), made.fd.to_bytes(4, "little"))

    def unknown(self) -> list[Note]:
        """The files without a table that stacks have led through."""
        return [
            Note(
                (_number(key, 0), _number(key, 8)),
                _number(value, 0),
                _number(value, 8),
                os.fsdecode(value[16:].split(b"\0", 1)[0]),
            )
            for key, value in list(self._unknown.items())
        ]

    def close(self) -> None:
        """Let go of the tables."""
        for table in self._inner:
            table.close()
        self._inner.clear()


def _key(name: tuple[int, int]) -> bytes:
    return name[0].to_bytes(8, "little") + name[1].to_bytes(8, "little")


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")
