"""Where the output of a session goes: a descriptor, or files that are changed when they are full.

``-o FILE`` is one file; with ``-S`` the files are FILE.0, FILE.1 ..., without, SIGUSR2 goes on in
FILE.1 and so on.  Bulk mode has such a file, or row of files, for each CPU.
"""

from __future__ import annotations

import os

from pystap.session.outfile import OutputFileError, expand, open_file, write_all
from pystap.staprun.records import BULK_MAGIC, WARNING, Record
from pystap.typing import NamedTuple


class Rotation(NamedTuple):
    """``-S``: bytes a file may have, and how many files are kept (0: all)."""

    size: int
    kept: int


class Stream:
    """Output to one descriptor, which may be a row of files."""

    def __init__(self, path: str | None, rotation: Rotation | None = None, head: bytes = b""):
        """``path`` None is standard output; every file begins with ``head``."""
        self._path = path
        self._rotation = rotation
        self._head = head
        self._number = 0
        self._size = 0
        self.fd = 1 if path is None else open_file(self._name())
        self._put(head)

    def write(self, pieces: list[bytes]) -> None:
        """Write texts; none of them is divided between two files."""
        if self._rotation is None:
            self._put(b"".join(pieces))
            return
        for piece in pieces:
            if self._size > len(self._head) and self._size + len(piece) > self._rotation.size:
                self.switch()
            self._put(piece)

    def switch(self) -> None:
        """Go on in the next file."""
        if self._path is None:
            return
        self._number += 1
        fd = open_file(self._name())
        os.close(self.fd)
        self.fd, self._size = fd, 0
        self._put(self._head)
        if self._rotation is not None and self._rotation.kept:
            self._remove(self._number - self._rotation.kept)

    def _name(self) -> str:
        assert self._path is not None
        if self._rotation is None and not self._number:
            return self._path
        return f"{self._path}.{self._number}"

    def _remove(self, number: int) -> None:
        import contextlib

        if number >= 0:
            with contextlib.suppress(FileNotFoundError):  # somebody else took it away
                os.unlink(f"{self._path}.{number}")

    def _put(self, text: bytes) -> None:
        try:
            write_all(self.fd, text)
        except BrokenPipeError:
            raise
        except OSError as error:
            where = "standard output" if self._path is None else f"'{self._name()}'"
            raise OutputFileError(f"cannot write to {where}: {error.strerror}") from error
        self._size += len(text)


class Merged:
    """All output in one stream."""

    def __init__(self, path: str | None, rotation: Rotation | None) -> None:
        self._stream = Stream(None if path is None else expand(path), rotation)
        self._pending: list[bytes] = []

    def put(self, record: Record) -> None:
        """Output of a handler."""
        self._pending.append(record.text)

    def flush(self) -> None:
        """Write what was put."""
        pending, self._pending = self._pending, []
        self._stream.write(pending)

    def say(self, line: bytes) -> None:
        """A message among the output."""
        self._stream.write([line + b"\n"])

    def switch(self) -> None:
        """Go on in the next file."""
        self._stream.switch()


class PerCpu:
    """Bulk mode: the records of each CPU in files of its own, to be merged later."""

    def __init__(self, path: str | None, rotation: Rotation | None, *, background: bool) -> None:
        if path is None:
            self._stem = "stpd_cpu"
        else:
            self._stem = f"{expand(path)}_cpu" if background else f"{expand(path)}_"
        self._rotation = rotation
        self._streams: dict[int, Stream] = {}
        self._pending: dict[int, list[bytes]] = {}
        self._last = 0  # serial number
        for cpu in range(os.cpu_count() or 1):
            self._stream(cpu)

    def put(self, record: Record) -> None:
        """A record of output."""
        self._last = max(self._last, record.serial)
        self._pending.setdefault(record.cpu, []).append(record.packed())

    def flush(self) -> None:
        """Write what was put."""
        for cpu, pieces in self._pending.items():
            self._stream(cpu).write(pieces)
        self._pending.clear()

    def say(self, line: bytes) -> None:
        """A message, which the merger will tell."""
        self._stream(0).write([Record(self._last, WARNING, 0, False, line).packed()])

    def switch(self) -> None:
        """Go on in the next files."""
        for stream in self._streams.values():
            stream.switch()

    def _stream(self, cpu: int) -> Stream:
        stream = self._streams.get(cpu)
        if stream is None:
            stream = Stream(f"{self._stem}{cpu}", self._rotation, BULK_MAGIC)
            self._streams[cpu] = stream
        return stream
