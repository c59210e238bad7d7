"""The module's records, and the order they were made in.

A record is (little endian) u32 size of the text, u8 kind, the top bit of which tells that the next
one goes on, u8 number of handlers whose output it is, u16 cpu, u64 serial, text; see
``transport.h`` of the module's runtime.  The files of bulk mode hold the same records behind
``BULK_MAGIC``, only those of the script's output.
"""

from __future__ import annotations

import struct

from pystap.typing import Final, NamedTuple

OUTPUT, ERROR, WARNING, COMMAND = range(4)
BULK_MAGIC: Final = b"pystap-bulk-2\n"

_HEAD: Final = struct.Struct("<IBBHQ")
_MORE: Final = 0x80  # of the kind
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
        kind = self.kind | _MORE if self.more else self.kind
        return _HEAD.pack(len(self.text), kind, 1, self.cpu, self.serial) + self.text


def unpack(part: bytearray) -> list[Record]:
    """The whole records at the start of ``part``, which are taken out of it."""
    data = bytes(part)
    found = []
    at, size, last = 0, _HEAD.size, len(data) - _HEAD.size
    while at <= last:
        length, kind, _, cpu, serial = _HEAD.unpack_from(data, at)
        end = at + size + length
        if end > len(data):
            break
        more = kind >= _MORE
        found.append(Record(serial, kind & ~_MORE, cpu, more, data[at + size : end]))
        at = end
    del part[:at]
    return found


class Sequence:
    """Puts records into the order of their serial numbers.

    A record that is missing is on its way, or lost: it is waited for during a few rounds.
    """

    def __init__(self) -> None:
        self._waiting: list[Record] = []
        self._next = 1
        self._rounds = 0

    def take(self, found: list[Record], *, final: bool) -> list[Record]:
        """Records that came in, and what waited: those that are next; all when ``final``."""
        waiting = self._waiting + found
        waiting.sort()  # runs in order, one for each CPU: little to do
        self._rounds += 1
        taken = 0
        while taken < len(waiting):
            run = self._run(waiting, taken)
            if run == taken:
                if not final and self._rounds <= _PATIENCE:
                    break
                self._next = waiting[taken].serial
                continue
            self._next = max(self._next, waiting[run - 1].serial + 1)  # late ones are below
            self._rounds = 0
            taken = run
        self._waiting = waiting[taken:]
        return waiting[:taken]

    def _run(self, waiting: list[Record], start: int) -> int:
        """Where the records that follow one another from ``start`` on end.

        They do as long as number and place differ by the same; that difference never falls.
        """
        from bisect import bisect_right

        offset = self._next - start
        if waiting[-1].serial - len(waiting) + 1 == offset:
            return len(waiting)
        places = range(start, len(waiting))
        return start + bisect_right(places, offset, key=lambda i: waiting[i].serial - i)


class Joiner:
    """Puts the output of one handler into one piece when it came in several records."""

    def __init__(self) -> None:
        self._open: dict[int, list[Record]] = {}  # of CPUs whose output goes on

    def join_all(self, found: list[Record]) -> list[Record]:
        """The whole ones of several records, and what they complete."""
        if not self._open and not any(record.more for record in found):
            return found
        return [whole for record in found if (whole := self.join(record)) is not None]

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
