"""Consumes a ring buffer: formats what handlers printed, writes it, delivers control items.

Two engines give the same bytes: Python, ready at once, and machine code, which is loaded when a
session turns out to print much, and compiled once per installation when one prints very much.
"""

from __future__ import annotations

import ctypes
import os

from pystap.output import histogram
from pystap.output.formats import RECORD_MORE
from pystap.output.plans import Plan, make_plan
from pystap.output.records import (
    Control,
    Reassembler,
    RecordError,
    control,
    is_control,
    items,
)
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pystap.output.formats import Format
    from pystap.output.native import NativeConsumer
    from pystap.output.native_loader import NativeLoader
    from pystap.typing import Literal, Protocol

    class Ring(Protocol):
        """A mapped BPF ring buffer; see :class:`pystap.kernel.ringbuf.RingBuffer`."""

        consumer_address: int
        producer_address: int
        data_address: int
        size: int


LOAD_AFTER: Final = 500  # records after which code that is on disk gets mapped
COMPILE_AFTER: Final = 20_000  # records after which code gets compiled
FLUSH_SIZE: Final = 1 << 16
_CHUNK: Final = 1000  # records between two looks at whether native code is due
_BUSY: Final = 1 << 31
_DISCARD: Final = 1 << 30
_MORE: Final = RECORD_MORE >> 16  # in the third byte of a record
_U64: Final = (1 << 64) - 1
_EINTR, _EAGAIN = 4, 11


class OutputError(Exception):
    """Script output cannot be written; ``errno`` says why (ENOSPC, EPIPE ...)."""

    def __init__(self, errno: int) -> None:
        super().__init__(os.strerror(errno))
        self.errno = errno


class Consumer:
    """Drains one ring buffer into a file descriptor.

    ``on_control`` is called for each control item, in order, after all output before it has been
    written.  ``cache_dir`` holds the machine code (None: it is not kept).  ``records`` and
    ``bytes_written`` count what was consumed and written, ``malformed`` records that were dropped
    because their layout is wrong.  ``native_problem`` says why there is no machine code, if it
    should be there.  After an :class:`OutputError` the unwritten bytes are kept; the next drain
    or flush tries again.
    """

    def __init__(
        self,
        ring: Ring,
        formats: Sequence[Format],
        out_fd: int,
        on_control: Callable[[Control], None],
        cache_dir: str | None = None,
        *,
        hist_width: int = histogram.WIDTH,
        hist_elision: int = histogram.ELISION,
    ) -> None:
        self.malformed = 0
        self._ring = ring
        self._formats = formats
        self._fd = out_fd
        self._on_control = on_control
        self._cache_dir = cache_dir
        self._shape = (hist_width, hist_elision)
        self._plans: dict[int, Plan] = {}
        self._held = Reassembler()
        self._chunks: list[bytes] = []
        self._chunk_bytes = 0
        self._python_records = 0
        self._python_bytes = 0
        self._native: NativeConsumer | None = None
        self._loader: NativeLoader | None = None
        self._consumer = _words(ring.consumer_address, 8, "Q")
        self._producer = _words(ring.producer_address, 8, "Q")
        self._data = _words(ring.data_address, 2 * ring.size, "B")
        self._headers = self._data.cast("I")

    @property
    def records(self) -> int:
        """Records consumed so far, discarded ones not counted."""
        return self._python_records + (self._native.records if self._native else 0)

    @property
    def bytes_written(self) -> int:
        """Bytes written so far."""
        return self._python_bytes + (self._native.bytes_written if self._native else 0)

    @property
    def is_native(self) -> bool:
        """Whether machine code does the work by now."""
        return self._native is not None

    @property
    def native_problem(self) -> str | None:
        """Why machine code could not be had, or None."""
        return self._loader.problem if self._loader else None

    def drain(self) -> int:
        """Format and write what is committed, but no more than about one buffer's content.

        Returns the number of records consumed.  Raises :class:`OutputError`, and whatever
        ``on_control`` raises; the record that made it do so is consumed then.
        """
        before = self.records
        begin = self._consumer[0]
        self.flush()
        more = True
        while more and (self._consumer[0] - begin & _U64) < self._ring.size:
            self._choose_engine()
            more = self._run_native() if self._native else self._run_python(_CHUNK)
        self.flush()
        return self.records - before

    def finish(self) -> int:
        """Drain everything, and output also what waits for the rest of its handler's output.

        To be called when nothing is left that could produce records.  Results as :meth:`drain`.
        """
        count = 0
        begin = None
        while begin != self._consumer[0]:
            begin = self._consumer[0]
            count += self.drain()
        for record in self._held.rest():
            self._deliver(record)
        if self._native:
            self._native.hold_back(())
        self.flush()
        return count

    def flush(self) -> None:
        """Write what is formatted already."""
        while self._chunks:
            data = b"".join(self._chunks)
            self._chunks = [data]
            try:
                written = os.write(self._fd, data)
            except BlockingIOError:
                self._wait_writable()
                continue
            except OSError as error:
                raise OutputError(error.errno or 0) from error
            self._python_bytes += written
            self._chunks = [data[written:]] if written < len(data) else []
        self._chunk_bytes = 0

    def set_fd(self, fd: int) -> None:
        """Write to another descriptor from now on; what is formatted goes to the old one."""
        self.flush()
        self._fd = fd
        if self._native:
            self._native.set_fd(fd)

    def close(self) -> None:
        """Wait for a compilation that still runs and let go of the buffer's memory."""
        if self._loader:
            self._loader.join()
        for view in (self._headers, self._data, self._producer, self._consumer):
            view.release()

    # ---- Python engine

    def _run_python(self, limit: int) -> bool:
        """Consume up to ``limit`` records; False when there is nothing more now."""
        mask = self._ring.size - 1
        headers, data = self._headers, self._data
        position = self._consumer[0]
        for _ in range(limit):
            if position == self._producer[0]:
                return False
            start = position & mask
            header = headers[start >> 2]
            if header & _BUSY:
                return False
            length = header & ~_DISCARD
            step = length + 15 & ~7
            if step > (self._producer[0] - position & _U64):
                self.malformed += 1
                self._consumer[0] = self._producer[0]
                return False
            record = b"" if header & _DISCARD else bytes(data[start + 8 : start + 8 + length])
            position = position + step & _U64
            self._consumer[0] = position
            if not header & _DISCARD:
                self._python_records += 1
                self._record(record)
        return True

    def _record(self, record: bytes) -> None:
        """Take one record: now, or when its handler's last one is there."""
        if len(record) < 8:
            self.malformed += 1
        elif self._held or record[2] & _MORE:
            for complete in self._held.feed(record):
                self._deliver(complete)
        else:
            self._deliver(record)

    def _deliver(self, record: bytes) -> None:
        """Format a record's items and act on its control items; all of it or nothing."""
        try:
            parts = [self._item(record, *bounds) for bounds in items(record)]
        except RecordError:
            self.malformed += 1
            return
        for part in parts:
            if isinstance(part, bytes):
                self._output(part)
            else:
                self.flush()
                self._on_control(part)

    def _output(self, text: bytes) -> None:
        self._chunks.append(text)
        self._chunk_bytes += len(text)
        if self._chunk_bytes >= FLUSH_SIZE:
            self.flush()

    def _item(self, record: bytes, number: int, at: int, end: int) -> bytes | Control:
        plan = self._plans.get(number)
        if plan is not None:
            return plan(record, at, end)
        if is_control(number):
            return control(record, number, at, end)
        if number >= len(self._formats):
            raise RecordError(f"format {number} of {len(self._formats)}")
        plan = self._plans[number] = make_plan(self._formats[number], *self._shape)
        return plan(record, at, end)

    # ---- native engine

    def _choose_engine(self) -> None:
        """Change to machine code when there is some, and see that there will be."""
        if self._native or self._python_records < LOAD_AFTER:
            return
        if self._loader is None:
            from pystap.output.native_loader import NativeLoader

            self._loader = NativeLoader(self._cache_dir)
        code = self._loader.poll(may_compile=self._python_records >= COMPILE_AFTER)
        if code is not None:
            from pystap.output.native import NativeConsumer

            self._native = NativeConsumer(code, self._ring, self._formats, self._fd)
            self._native.hold_back(self._held.contexts())

    def _run_native(self) -> bool:
        """Let the machine code work; False when there is nothing more now."""
        from pystap.output import native_abi as abi

        native = self._native
        assert native is not None
        self.flush()
        result = native.run()
        if result == abi.WRITE_ERROR:
            if native.errno == _EAGAIN:
                self._wait_writable()
            elif native.errno != _EINTR:
                self._chunks = [native.unwritten()]
                raise OutputError(native.errno)
            return True
        if result == abi.PYTHON:
            more = self._run_python(1)
            native.hold_back(self._held.contexts())
            return more
        return result == abi.BUDGET

    def _wait_writable(self) -> None:
        """Sleep until a non-blocking descriptor takes more."""
        import select

        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.poll()


def _words(address: int, size: int, code: Literal["B", "Q"]) -> memoryview:
    """Memory at an address as a view of numbers; it must stay mapped while the view is used."""
    view = memoryview((ctypes.c_char * size).from_address(address)).cast("B")
    return view.cast(code)
