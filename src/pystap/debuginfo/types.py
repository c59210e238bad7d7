"""What every description of C types answers: the kernel's BTF and the DWARF of a program."""

from __future__ import annotations

from collections.abc import Iterator

from pystap.debuginfo import btftypes as t
from pystap.typing import Protocol


class Types(Protocol):
    """Types by id; 0 is void.  Methods are documented at :class:`pystap.debuginfo.btf.Btf`."""

    def find(self, name: str, kind: int) -> int | None:
        """The type of a name and kind (``KIND_*``)."""
        ...

    def names(self, kind: int) -> Iterator[tuple[str, int]]:
        """Names and ids of a kind, as far as they are known."""
        ...

    def enumerator(self, name: str) -> tuple[int, int] | None:
        """The enumeration's id and the value of an enumerator."""
        ...

    def enum_value(self, name: str) -> int | None:
        """The value of an enumerator."""
        ...

    def type(self, type_id: int) -> t.BtfType:
        """The view of a type."""
        ...

    def resolve(self, type_id: int) -> int:
        """The id behind typedefs and qualifiers."""
        ...

    def definition(self, declared: t.Fwd) -> tuple[Types, int] | None:
        """The structure or union that is only declared here, and who knows it."""
        ...

    def member(self, type_id: int, name: str) -> tuple[int, int, int] | None:
        """A member: (type id, bit offset, bit-field size or 0)."""
        ...

    def members(self, type_id: int) -> list[t.Member]:
        """All members, those of anonymous ones at their place."""
        ...

    def sizeof(self, type_id: int) -> int:
        """Size in bytes."""
        ...

    def c_name(self, type_id: int, declarator: str = "") -> str:
        """The C spelling."""
        ...
