"""Kernel objects in the interpreter's memory, laid out as in the running kernel's BTF."""

from __future__ import annotations

from functools import cache

from pystap.backend.reference import Memory
from pystap.debuginfo import btftypes
from pystap.debuginfo.btf import KIND_STRUCT, Btf

_FIRST = 0xFFFF_8880_0000_0000
_WORD = 1 << 64


@cache
def kernel_types() -> Btf:
    """The running kernel's types."""
    return Btf.open()


class FakeKernel:
    """Memory in which structures can be made; addresses are as the kernel's, but fixed."""

    def __init__(self) -> None:
        self.memory = Memory()
        self._next = _FIRST
        self._btf = kernel_types()

    def raw(self, data: bytes) -> int:
        """Bytes; gives their address."""
        address = self._next
        self._next += (len(data) + 63) & ~63
        self.memory.map(address, data)
        return address

    def make(self, struct: str, fields: dict[str, int | bytes] | None = None) -> int:
        """A structure, zero but for ``fields`` (see :meth:`set`); gives its address."""
        address = self.raw(bytes(self.size(struct)))
        for path, value in (fields or {}).items():
            self.set(address, struct, path, value)
        return address

    def set(self, address: int, struct: str, path: str, value: int | bytes) -> None:
        """Change a field, given by a path like ``pids[2]`` or ``sk.__sk_common.skc_dport``."""
        offset, size = self.place(struct, path)
        data = value if isinstance(value, bytes) else (value % _WORD).to_bytes(8, "little")[:size]
        self.memory.map(address + offset, data)

    def place(self, struct: str, path: str) -> tuple[int, int]:
        """Offset and size of a field in bytes."""
        found = self._btf.find(struct, KIND_STRUCT)
        assert found is not None, struct
        type_id, offset = found, 0
        for part in path.split("."):
            name, *indexes = part.replace("]", "").split("[")
            member = self._btf.member(type_id, name)
            assert member is not None, f"{struct}.{path}: {name}"
            type_id, bits, bitfield = member
            assert not bitfield
            offset += bits // 8
            for index in indexes:
                view = self._btf.type(self._btf.resolve(type_id))
                assert isinstance(view, btftypes.Array), path
                type_id = view.element
                offset += int(index) * self._btf.sizeof(type_id)
        return offset, self._btf.sizeof(type_id)

    def has(self, struct: str, name: str) -> bool:
        """Whether a structure of this kernel has a member."""
        found = self._btf.find(struct, KIND_STRUCT)
        return found is not None and self._btf.member(found, name) is not None

    def size(self, struct: str) -> int:
        """Bytes of a structure."""
        found = self._btf.find(struct, KIND_STRUCT)
        assert found is not None
        return self._btf.sizeof(found)
