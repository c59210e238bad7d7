"""The trace files of a loaded module, one for each CPU."""

from __future__ import annotations

import os

from pystap.staprun.records import Joiner, Record, Sequence, unpack
from pystap.typing import Final

_READ: Final = 1 << 18  # the module gives whole records only; the largest is far smaller


class Reader:
    """Reads what the module in a directory of /proc wrote.

    ``merged`` puts the records of all CPUs into the order they were made in; without, those of
    one CPU stay together and in pieces.
    """

    def __init__(self, directory: str, *, merged: bool = True) -> None:
        names = [name for name in os.listdir(directory) if name.startswith("trace")]
        flags = os.O_RDONLY | os.O_CLOEXEC
        self._fds = [os.open(os.path.join(directory, name), flags) for name in names]
        self._sequence = Sequence() if merged else None
        self._joiner = Joiner()

    def close(self) -> None:
        """Close the files."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def read(self, *, final: bool = False) -> list[Record]:
        """Records that are next in order; all that there are when ``final``."""
        found = [record for fd in self._fds for record in _read_file(fd)]
        if self._sequence is None:
            return found
        done = self._joiner.join_all(self._sequence.take(found, final=final))
        return [*done, *self._joiner.rest()] if final else done


def _read_file(fd: int) -> list[Record]:
    """Everything that waits in a file; it never holds a part of a record."""
    found: list[Record] = []
    while data := os.read(fd, _READ):
        found += unpack(bytearray(data))
    return found
