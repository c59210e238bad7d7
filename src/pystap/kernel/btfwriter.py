"""Builder of the small BTF blobs that generated programs need; no kernel call.

Callbacks and global functions require BTF function information; map-value structures with
timers or spin locks require their layout.  Format: Documentation/bpf/btf.rst of the kernel.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAGIC, VERSION, HEADER_SIZE = 0xEB9F, 1, 24

KIND_INT = 1
KIND_PTR = 2
KIND_ARRAY = 3
KIND_STRUCT = 4
KIND_UNION = 5
KIND_ENUM = 6
KIND_FWD = 7
KIND_TYPEDEF = 8
KIND_VOLATILE = 9
KIND_CONST = 10
KIND_RESTRICT = 11
KIND_FUNC = 12
KIND_FUNC_PROTO = 13
KIND_VAR = 14
KIND_DATASEC = 15
KIND_FLOAT = 16
KIND_DECL_TAG = 17
KIND_TYPE_TAG = 18
KIND_ENUM64 = 19

INT_SIGNED, INT_CHAR, INT_BOOL = 1, 2, 4
LINKAGE_STATIC, LINKAGE_GLOBAL, LINKAGE_EXTERN = 0, 1, 2

_KIND_FLAG = 1 << 31
_LARGEST_VLEN = 0xFFFF


class BtfWriter:
    """Adds types one by one; each method returns the id of the new type, from 1 (0 is void).

    A blob for :func:`pystap.kernel.programs.load_btf` comes from :meth:`blob`.
    ``base_types`` and ``base_strings`` (number of ids including void, bytes of strings) start a
    split BTF on top of another one.
    """

    __slots__ = ("_base_strings", "_next", "_offsets", "_strings", "_types")

    def __init__(self, base_types: int = 1, base_strings: int = 0) -> None:
        self._types = bytearray()
        self._strings = bytearray(b"" if base_strings else b"\0")
        self._offsets: dict[str, int] = {"": 0}
        self._next = base_types
        self._base_strings = base_strings

    def integer(self, name: str, size: int, encoding: int = 0, bits: int | None = None) -> int:
        """An integer of ``size`` bytes; ``encoding`` combines ``INT_SIGNED/CHAR/BOOL``."""
        width = size * 8 if bits is None else bits
        return self._add(name, KIND_INT, 0, size, struct.pack("=I", encoding << 24 | width))

    def pointer(self, target: int) -> int:
        """A pointer to ``target`` (0: void)."""
        return self._add("", KIND_PTR, 0, target)

    def array(self, element: int, index: int, length: int) -> int:
        """An array; ``index`` is the id of an integer type."""
        return self._add("", KIND_ARRAY, 0, 0, struct.pack("=III", element, index, length))

    def struct(self, name: str, size: int, members: Iterable[tuple[str, int, int]]) -> int:
        """A structure of ``size`` bytes with members (name, type, offset in bytes)."""
        placed = [(member, kind, offset * 8, 0) for member, kind, offset in members]
        return self.composite(KIND_STRUCT, name, size, placed)

    def composite(
        self, kind: int, name: str, size: int, members: Iterable[tuple[str, int, int, int]]
    ) -> int:
        """A ``KIND_STRUCT`` or ``KIND_UNION``; members (name, type, bit offset, bit-field size).

        A bit-field size of 0 means a plain member.
        """
        listed = list(members)
        flag = any(bits for *_, bits in listed)
        body = b"".join(
            struct.pack("=III", self._string(n), t, bits << 24 | at if flag else at)
            for n, t, at, bits in listed
        )
        return self._add(name, kind, len(listed), size, body, flag)

    def enum(
        self, name: str, size: int, values: Iterable[tuple[str, int]], signed: bool = False
    ) -> int:
        """An enumeration; 8 bytes wide ones use ENUM64."""
        listed = list(values)
        parts = []
        for label, value in listed:
            low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
            words = (low, high) if size == 8 else (low,)
            parts.append(struct.pack(f"={1 + len(words)}I", self._string(label), *words))
        kind = KIND_ENUM64 if size == 8 else KIND_ENUM
        return self._add(name, kind, len(listed), size, b"".join(parts), signed)

    def forward(self, name: str, union: bool = False) -> int:
        """A declaration without definition."""
        return self._add(name, KIND_FWD, 0, 0, b"", union)

    def typedef(self, name: str, target: int) -> int:
        """A typedef."""
        return self._add(name, KIND_TYPEDEF, 0, target)

    def qualifier(self, kind: int, target: int) -> int:
        """``KIND_CONST``, ``KIND_VOLATILE`` or ``KIND_RESTRICT`` of ``target``."""
        return self._add("", kind, 0, target)

    def floating(self, name: str, size: int) -> int:
        """A floating-point type."""
        return self._add(name, KIND_FLOAT, 0, size)

    def type_tag(self, name: str, target: int) -> int:
        """A type attribute such as ``user`` or ``rcu``."""
        return self._add(name, KIND_TYPE_TAG, 0, target)

    def prototype(self, result: int, parameters: Iterable[tuple[str, int]] = ()) -> int:
        """A function type; a last parameter ("", 0) means a variable argument list."""
        listed = list(parameters)
        body = b"".join(struct.pack("=II", self._string(n), t) for n, t in listed)
        return self._add("", KIND_FUNC_PROTO, len(listed), result, body)

    def function(self, name: str, prototype: int, linkage: int = LINKAGE_STATIC) -> int:
        """A function; ``LINKAGE_GLOBAL`` makes the verifier check it once, on its own."""
        return self._add(name, KIND_FUNC, linkage, prototype)

    def variable(self, name: str, target: int, linkage: int = LINKAGE_STATIC) -> int:
        """A variable."""
        return self._add(name, KIND_VAR, 0, target, struct.pack("=I", linkage))

    def datasec(self, name: str, size: int, variables: Iterable[tuple[int, int, int]]) -> int:
        """A data section with variables (id, offset in bytes, size in bytes)."""
        listed = list(variables)
        body = b"".join(struct.pack("=III", *entry) for entry in listed)
        return self._add(name, KIND_DATASEC, len(listed), size, body)

    def declaration_tag(self, name: str, target: int, component: int = -1) -> int:
        """An attribute of a declaration, of its member or parameter ``component`` if not -1."""
        return self._add(name, KIND_DECL_TAG, 0, target, struct.pack("=i", component))

    def blob(self) -> bytes:
        """The BTF as bytes, in native byte order."""
        types, strings = len(self._types), len(self._strings)
        header = struct.pack("=HBBIIIII", MAGIC, VERSION, 0, HEADER_SIZE, 0, types, types, strings)
        return header + bytes(self._types) + bytes(self._strings)

    def _string(self, text: str) -> int:
        offset = self._offsets.get(text)
        if offset is None:
            offset = self._offsets[text] = self._base_strings + len(self._strings)
            self._strings += text.encode("latin-1") + b"\0"
        return offset

    def _add(
        self, name: str, kind: int, vlen: int, size: int, body: bytes = b"", flag: bool = False
    ) -> int:
        if vlen > _LARGEST_VLEN:
            raise ValueError(f"{vlen} elements exceed the limit of BTF")
        info = kind << 24 | vlen | (_KIND_FLAG if flag else 0)
        self._types += struct.pack("=III", self._string(name), info, size) + body
        self._next += 1
        return self._next - 1


def pack_func_info(functions: Iterable[tuple[int, int]]) -> bytes:
    """Records of ``struct bpf_func_info`` from (instruction index, FUNC type id) in order."""
    return b"".join(struct.pack("=II", index, type_id) for index, type_id in functions)
