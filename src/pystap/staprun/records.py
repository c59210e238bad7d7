"""The module's records, and the order they were made in.

A record is (little endian) u32 size of the text, u8 kind, u8 more, u16 cpu, u64 serial, text; see
``transport.h`` of the module's runtime.  The files of bulk mode hold the same records behind
``BULK_MAGIC``, only those of the script's output.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pystap.typing import Final, NamedTuple

OUTPUT, ERROR, WARNING, COMMAND = range(4)
BULK_MAGIC: Final = b"pystap-bulk-1\n"

_HEAD: Final = struct.Struct("<IBBHQ")
_PATIENCE: Final = 2  # rounds of reading that a missing record is waited for


class Record(NamedTuple):
    """One record; ``more`` tells that the next one of the same CPU goes on."""

    serial: int
    kind: int
    cpu: int
    more: bool
    text: bytes

    def packed(self) -> bytes:
        """The record as bytes."""
        return _HEAD.pack(len(self.text), self.kind, self.more, self.cpu, self.serial) + self.text


def unpack(part: bytearray) -> Iterator[Record]:
    """The whole records at the start of ``part``, which are taken out of it at the end."""
    at = 0
    while at + _HEAD.size <= len(part):
        size, kind, more, cpu, serial = _HEAD.unpack_from(part, at)
        end = at + _HEAD.size + size
        if end > len(part):
            break
        yield Record(serial, kind, cpu, bool(more), bytes(part[at + _HEAD.size : end]))
        at = end
    del part[:at]


class Sequence:
    """Puts records into the order of their serial numbers.

    A record that is missing is on its way, or lost: it is waited for during a few rounds.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, Record] = {}
        self._next = 1
        self._rounds = 0

    def add(self, record: Record) -> None:
        """A record that came in."""
        self._waiting[record.serial] = record

    def take(self, *, final: bool) -> list[Record]:
        """Those that are next; all of them when ``final``."""
        self._rounds += 1
        found = []
        while self._waiting:
            record = self._waiting.pop(self._next, None)
            if record is None:
                if not final and self._rounds <= _PATIENCE:
                    break
                record = self._waiting.pop(min(self._waiting))
            self._next = record.serial + 1
            self._rounds = 0
            found.append(record)
        return found


class Joiner:
    """Puts the output of one handler into one piece when it came in several records."""

    def __init__(self) -> None:
        self._open: dict[int, list[Record]] = {}  # of CPUs whose output goes on

    def join(self, record: Record) -> Record | None:
        """The whole record, or nothing yet."""
        begun = self._open.get(record.cpu)
        if record.kind != OUTPUT or not (record.more or begun):
            return record
        begun = self._open.setdefault(record.cpu, [])
        begun.append(record)
        if record.more:
            return None
        text = b"".join(part.text for part in self._open.pop(record.cpu))
        return record._replace(text=text, more=False)

    def rest(self) -> list[Record]:
        """What never came to its end."""
        found = [part for parts in self._open.values() for part in parts]
        self._open.clear()
        return found
