"""The module's records: read from one file a CPU, put into the order they were made in.

A record is (little endian) u32 size of the text, u8 kind, u8 more, u16 cpu, u64 serial, text; see
``transport.h`` of the module's runtime.
"""

from __future__ import annotations

import os
import struct

from pystap.typing import Final, NamedTuple

OUTPUT, ERROR, WARNING, COMMAND = range(4)

_HEAD: Final = struct.Struct("<IBBHQ")
_READ: Final = 1 << 18
_PATIENCE: Final = 2  # rounds of reading that a missing record is waited for


class Record(NamedTuple):
    """One record; ``more`` tells that the next one of the same CPU goes on."""

    serial: int
    kind: int
    cpu: int
    more: bool
    text: bytes


class Reader:
    """The trace files of a session, merged."""

    def __init__(self, directory: str) -> None:
        names = [name for name in os.listdir(directory) if name.startswith("trace")]
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        self._fds = [os.open(os.path.join(directory, name), flags) for name in names]
        self._parts = [bytearray() for _ in names]
        self._waiting: dict[int, Record] = {}
        self._next = 1
        self._rounds = 0
        self._open: dict[int, list[Record]] = {}  # of CPUs whose output goes on

    def close(self) -> None:
        """Close the files."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def read(self, *, final: bool = False) -> list[Record]:
        """Records that are next in order; all that there are when ``final``."""
        for fd, part in zip(self._fds, self._parts):
            self._read_file(fd, part)
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
        return self._joined(found, final)

    def _read_file(self, fd: int, part: bytearray) -> None:
        while True:
            try:
                data = os.read(fd, _READ)
            except BlockingIOError:
                break
            if not data:
                break
            part += data
        at = 0
        while at + _HEAD.size <= len(part):
            size, kind, more, cpu, serial = _HEAD.unpack_from(part, at)
            end = at + _HEAD.size + size
            if end > len(part):
                break
            text = bytes(part[at + _HEAD.size : end])
            self._waiting[serial] = Record(serial, kind, cpu, bool(more), text)
            at = end
        del part[:at]

    def _joined(self, found: list[Record], final: bool) -> list[Record]:
        """Records with the output of one handler in one piece."""
        done = []
        for record in found:
            begun = self._open.get(record.cpu)
            if record.kind == OUTPUT and (record.more or begun):
                begun = self._open.setdefault(record.cpu, [])
                begun.append(record)
                if record.more:
                    continue
                text = b"".join(part.text for part in self._open.pop(record.cpu))
                record = record._replace(text=text, more=False)
            done.append(record)
        if final:
            done += [part for parts in self._open.values() for part in parts]
            self._open.clear()
        return done
