"""A fake address space: bytes where a test put them, faults everywhere else."""

from __future__ import annotations

from collections.abc import Mapping


class MemoryFault(Exception):  # noqa: N818 - what happens to the script
    """Nothing is mapped at ``address``."""

    def __init__(self, address: int) -> None:
        super().__init__(f"fault at {address:#x}")
        self.address = address


class Memory:
    """Bytes by address; made from a mapping of start addresses to contents."""

    def __init__(self, contents: Mapping[int, bytes] | None = None) -> None:
        self._bytes: dict[int, int] = {}
        for address, data in (contents or {}).items():
            self.map(address, data)

    def map(self, address: int, data: bytes) -> None:
        """Make ``data`` readable and writable at ``address``."""
        for offset, byte in enumerate(data):
            self._bytes[address + offset] = byte

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes; raises :class:`MemoryFault` unless all of them are mapped."""
        try:
            return bytes([self._bytes[address + offset] for offset in range(size)])
        except KeyError:
            raise MemoryFault(address) from None

    def write(self, address: int, data: bytes) -> None:
        """Change mapped bytes; raises :class:`MemoryFault` (and changes none) otherwise."""
        self.read(address, len(data))
        self.map(address, data)

    def text(self, address: int, most: int) -> str:
        """The NUL-terminated string at ``address``, cut after ``most`` bytes, a character a
        byte.  Raises :class:`MemoryFault` when an unmapped byte comes first."""
        chars = []
        for offset in range(most):
            byte = self._bytes.get(address + offset)
            if byte is None:
                raise MemoryFault(address)
            if byte == 0:
                break
            chars.append(chr(byte))
        return "".join(chars)
