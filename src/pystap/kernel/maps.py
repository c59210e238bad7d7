"""BPF maps: creation, element access, batch reading, memory mapping.

Keys and values are ``bytes`` of exactly the map's sizes.  A value of a per-CPU map is the
concatenation over all possible CPUs, each part padded to 8 bytes (``Map.value_stride``).
"""

from __future__ import annotations

import errno
import sys

from pystap.kernel.bpf import (
    ANY,
    ENOTSUPP,
    MAP_CREATE,
    MAP_DELETE_ELEM,
    MAP_FREEZE,
    MAP_GET_NEXT_KEY,
    MAP_LOOKUP_BATCH,
    MAP_LOOKUP_ELEM,
    MAP_TYPE_LRU_PERCPU_HASH,
    MAP_TYPE_PERCPU_ARRAY,
    MAP_TYPE_PERCPU_HASH,
    MAP_UPDATE_ELEM,
    BpfError,
    Handle,
    bpf,
    object_info,
    object_name,
    pack,
)
from pystap.kernel.syscalls import PAGE_SIZE, Mapping, address_of, buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PERCPU = (MAP_TYPE_PERCPU_HASH, MAP_TYPE_PERCPU_ARRAY, MAP_TYPE_LRU_PERCPU_HASH)
_FIRST_BATCH = 1024
#: errno values by which a kernel says that a map type has no batch lookup
_NO_BATCH = (ENOTSUPP, errno.EOPNOTSUPP, errno.EINVAL)


class Map(Handle):
    """An open map.  Make one with :func:`create_map` or :func:`map_from_fd`."""

    __slots__ = ("flags", "key_size", "kind", "max_entries", "value_size", "value_stride")

    def __init__(
        self, fd: int, kind: int, key_size: int, value_size: int, max_entries: int, flags: int
    ) -> None:
        super().__init__(fd)
        self.kind = kind
        self.key_size = key_size
        self.value_size = value_size
        self.max_entries = max_entries
        self.flags = flags
        #: bytes of one element as read and written from user space, per CPU
        self.value_stride = (value_size + 7) & ~7 if kind in _PERCPU else value_size

    @property
    def transfer_size(self) -> int:
        """Bytes of one value as user space sees it, all CPUs included."""
        if self.kind not in _PERCPU:
            return self.value_size
        from pystap.kernel.cpu import possible_cpus

        return self.value_stride * len(possible_cpus())

    def lookup(self, key: bytes) -> bytes | None:
        """The value stored under ``key``, or None."""
        name, value = buffer(self._key(key)), buffer(bytes(self.transfer_size))
        attr = pack("IIQQQ", self.fd, 0, address_of(name), address_of(value), 0)
        try:
            bpf(MAP_LOOKUP_ELEM, attr)
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return value.raw

    def update(self, key: bytes, value: bytes, flags: int = ANY) -> None:
        """Store ``value`` under ``key`` (``ANY``, ``NOEXIST`` or ``EXIST``)."""
        if len(value) != self.transfer_size:
            raise ValueError(f"value of {len(value)} bytes, map takes {self.transfer_size}")
        name, data = buffer(self._key(key)), buffer(value)
        bpf(
            MAP_UPDATE_ELEM,
            pack("IIQQQ", self.fd, 0, address_of(name), address_of(data), flags),
        )

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; False if it was not there."""
        name = buffer(self._key(key))
        try:
            bpf(MAP_DELETE_ELEM, pack("IIQQQ", self.fd, 0, address_of(name), 0, 0))
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def next_key(self, key: bytes | None = None) -> bytes | None:
        """The key after ``key`` (None: the first), or None at the end.

        A hash map starts again from its first key when ``key`` is no longer in it.
        """
        before = None if key is None else buffer(self._key(key))
        after = buffer(bytes(self.key_size))
        attr = pack("IIQQQ", self.fd, 0, address_of(before), address_of(after), 0)
        try:
            bpf(MAP_GET_NEXT_KEY, attr)
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return after.raw

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All elements, in batches where the kernel can, else one by one.

        Elements that come and go meanwhile may be missed; on the one-by-one path they may also
        show twice.
        """
        cursor = b""
        count = min(_FIRST_BATCH, self.max_entries)
        while True:
            try:
                data, size, following, last = self._batch(cursor, count)
            except BpfError as error:
                if error.errno in _NO_BATCH and not cursor:
                    yield from self._items_one_by_one()
                    return
                if error.errno == errno.ENOSPC:  # one hash bucket exceeds the buffer
                    count *= 2
                    continue
                raise
            keys, values = data
            step = self.transfer_size
            for i in range(size):
                key = keys[i * self.key_size : (i + 1) * self.key_size]
                yield key, values[i * step : (i + 1) * step]
            if last:
                return
            cursor = following

    def freeze(self) -> None:
        """Forbid all further writes from user space."""
        bpf(MAP_FREEZE, pack("I", self.fd))

    def mmap(self, writable: bool = True) -> Mapping:
        """Map the values of an ``F_MMAPABLE`` array map; each value starts on 8 bytes."""
        stride = (self.value_size + 7) & ~7
        length = -(-stride * self.max_entries // PAGE_SIZE) * PAGE_SIZE
        return Mapping(self.fd, length, writable=writable)

    def _key(self, key: bytes) -> bytes:
        if len(key) != self.key_size:
            raise ValueError(f"key of {len(key)} bytes, map takes {self.key_size}")
        return key

    def _batch(self, cursor: bytes, count: int) -> tuple[tuple[bytes, bytes], int, bytes, bool]:
        """One BPF_MAP_LOOKUP_BATCH: (keys, values), how many, next cursor, whether the last."""
        position = buffer(cursor) if cursor else None
        following = buffer(bytes(max(self.key_size, 8)))
        keys = buffer(bytes(self.key_size * count))
        values = buffer(bytes(self.transfer_size * count))
        addresses = [address_of(b) for b in (position, following, keys, values)]
        attr = pack("QQQQIIQQ", *addresses, count, self.fd, 0, 0)
        last = False
        try:
            bpf(MAP_LOOKUP_BATCH, attr)
        except BpfError as error:
            if error.errno != errno.ENOENT:
                raise
            last = True  # the end was reached; what was read before it is still delivered
        size = int.from_bytes(attr.raw[32:36], sys.byteorder)
        return (keys.raw, values.raw), size, following.raw, last

    def _items_one_by_one(self) -> Iterator[tuple[bytes, bytes]]:
        key = self.next_key()
        for _ in range(self.max_entries):  # a vanished key restarts the walk: bound it
            if key is None:
                return
            value = self.lookup(key)
            if value is not None:
                yield key, value
            key = self.next_key(key)


def create_map(
    kind: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    *,
    flags: int = 0,
    name: str = "",
    inner_map_fd: int = 0,
    btf_fd: int = 0,
    btf_key_type: int = 0,
    btf_value_type: int = 0,
) -> Map:
    """Create a map of type ``kind`` (``MAP_TYPE_*``); sizes in bytes.

    A ring buffer takes key and value size 0 and its size in bytes as ``max_entries`` (a power of
    two and a multiple of the page size).  Raises :class:`BpfError`.
    """
    attr = pack(
        "IIIIIII16sIIII",
        kind,
        key_size,
        value_size,
        max_entries,
        flags,
        inner_map_fd,
        0,
        object_name(name),
        0,
        btf_fd,
        btf_key_type,
        btf_value_type,
    )
    return Map(bpf(MAP_CREATE, attr), kind, key_size, value_size, max_entries, flags)


def map_from_fd(fd: int) -> Map:
    """Wrap an inherited descriptor, asking the kernel for the map's shape."""
    info = object_info(fd, 80)
    kind, _, key_size, value_size, max_entries, flags = memoryview(info).cast("I")[:6]
    return Map(fd, kind, key_size, value_size, max_entries, flags)
