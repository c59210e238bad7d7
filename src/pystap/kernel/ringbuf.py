"""The BPF ring buffer seen from user space.

Layout (kernel/bpf/ringbuf.c): one page with the consumer position, one page with the producer
position, then the data area mapped twice in a row so that a record never wraps.  A record is an
8-byte header, whose first 32 bits hold the length and the flags BUSY and DISCARD, and the data
padded to 8 bytes.

Native code that consumes the buffer uses the ``*_address`` attributes.  The Python iterator reads
positions and headers with single 64- and 32-bit loads in program order; this is exact where loads
are not reordered (x86, s390x).
"""

from __future__ import annotations

from pystap.kernel.syscalls import PAGE_SIZE, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Iterator

BUSY_BIT = 1 << 31
DISCARD_BIT = 1 << 30
HEADER_SIZE = 8

_U64_MASK = (1 << 64) - 1


class RingBuffer:
    """A mapped ring buffer of ``size`` data bytes behind a map descriptor it does not own.

    Addresses for native code: ``consumer_address`` and ``producer_address`` of the 64-bit
    positions (byte counts that only grow), ``data_address`` of the data area, whose record at
    position p starts at ``p & (size - 1)``.
    """

    __slots__ = (
        "_consumer",
        "_consumer_page",
        "_data",
        "_headers",
        "_poll",
        "_producer",
        "_producer_pages",
        "consumer_address",
        "data_address",
        "fd",
        "producer_address",
        "size",
    )

    def __init__(self, fd: int, size: int) -> None:
        """Map the buffer; ``size`` is the map's max_entries.  Raises OSError."""
        if size <= 0 or size & (size - 1):
            raise ValueError(f"ring buffer size {size} is not a power of two")
        self.fd = fd
        self.size = size
        self._consumer_page = Mapping(fd, PAGE_SIZE, writable=True)
        try:
            self._producer_pages = Mapping(fd, PAGE_SIZE + 2 * size, offset=PAGE_SIZE)
        except OSError:
            self._consumer_page.close()
            raise
        self.consumer_address = self._consumer_page.address
        self.producer_address = self._producer_pages.address
        self.data_address = self.producer_address + PAGE_SIZE
        self._consumer = self._consumer_page.view[:8].cast("Q")
        self._producer = self._producer_pages.view[:8].cast("Q")
        self._data = self._producer_pages.view[PAGE_SIZE:]
        self._headers = self._data.cast("I")
        self._poll: select.epoll | None = None

    @property
    def available(self) -> int:
        """Bytes reserved by producers and not consumed yet, headers included."""
        return (self._producer[0] - self._consumer[0]) & _U64_MASK

    def records(self) -> Iterator[memoryview]:
        """Consume committed records in order until none is left or the next is still BUSY.

        A yielded view is valid until the next step only; its space is given back then.
        """
        mask = self.size - 1
        position = self._consumer[0]
        while position != self._producer[0]:
            start = position & mask
            header = self._headers[start >> 2]
            if header & BUSY_BIT:
                return
            length = header & ~DISCARD_BIT
            position = (position + HEADER_SIZE + ((length + 7) & ~7)) & _U64_MASK
            try:
                if not header & DISCARD_BIT:
                    yield self._data[start + HEADER_SIZE : start + HEADER_SIZE + length]
            finally:
                self._consumer[0] = position

    def wait(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for data that a producer announced."""
        return bool(self.epoll().poll(timeout))

    def epoll(self) -> select.epoll:
        """An epoll object (close-on-exec) that watches this buffer; made at first use."""
        if self._poll is None:
            import select

            self._poll = select.epoll()
            self._poll.register(self.fd, select.EPOLLIN)
        return self._poll

    def close(self) -> None:
        """Unmap and close the epoll object, not the map; closing twice is harmless."""
        if self._poll is not None:
            self._poll.close()
            self._poll = None
        for view in (self._consumer, self._producer, self._headers, self._data):
            view.release()
        self._consumer_page.close()
        self._producer_pages.close()

    def __enter__(self) -> RingBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
