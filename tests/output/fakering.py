"""A ring buffer in plain memory with a producer in Python, laid out like the kernel's."""

from __future__ import annotations

import ctypes

BUSY = 1 << 31
DISCARD = 1 << 30
HEADER = 8


class FakeRing:
    """What a consumer needs of a mapped ring buffer, and ``put`` to fill it.

    The data area is twice ``size`` long, so that records never wrap, as in the double mapping.
    """

    def __init__(self, size: int = 1 << 16, position: int = 0) -> None:
        self.size = size
        self._positions = (ctypes.c_uint64 * 2)(position, position)
        self._data = ctypes.create_string_buffer(2 * size)
        self.consumer_address = ctypes.addressof(self._positions)
        self.producer_address = self.consumer_address + 8
        self.data_address = ctypes.addressof(self._data)

    @property
    def free(self) -> int:
        """Bytes a producer can still take."""
        return self.size - (self._positions[1] - self._positions[0]) % (1 << 64)

    def put(self, record: bytes, flags: int = 0, length: int | None = None) -> int:
        """Append a record and give its header's address; ``length`` lies about the size."""
        step = HEADER + (len(record) + 7 & ~7)
        assert step <= self.free
        start = self._positions[1] & (self.size - 1)
        head = (len(record) if length is None else length) | flags
        ctypes.memmove(
            self.data_address + start, head.to_bytes(8, "little") + record, 8 + len(record)
        )
        self._positions[1] = (self._positions[1] + step) % (1 << 64)
        return self.data_address + start

    def commit(self, address: int, flags: int = 0) -> None:
        """Take the BUSY bit of a record away."""
        word = ctypes.c_uint32.from_address(address)
        word.value = word.value & ~BUSY | flags
