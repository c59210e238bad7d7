"""Views of BTF types: small values made on demand by :meth:`pystap.debuginfo.btf.Btf.type`.

Type references are ids; 0 is void.  Sizes are in bytes, offsets in bits, as in BTF.
"""

from __future__ import annotations

from collections.abc import Iterator

from pystap.typing import Final, Protocol

_DEEPEST: Final = 64  # anonymous members within each other


class BtfType:
    """Base of all views; equal when of the same class with equal fields."""

    __slots__ = ("name",)

    def __init__(self, name: str = "") -> None:
        self.name = name

    def _fields(self) -> dict[str, object]:
        slots = [s for c in type(self).__mro__ for s in getattr(c, "__slots__", ())]
        return {slot: getattr(self, slot) for slot in slots}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BtfType) and (
            type(self) is type(other) and self._fields() == other._fields()
        )

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    def __repr__(self) -> str:
        fields = ", ".join(f"{key}={value!r}" for key, value in self._fields().items())
        return f"{type(self).__name__}({fields})"


class Void(BtfType):
    """Type id 0."""

    __slots__ = ()


class Int(BtfType):
    """An integer of ``bits`` significant bits in ``size`` bytes."""

    __slots__ = ("bits", "boolean", "character", "signed", "size")

    def __init__(self, name: str, size: int, encoding: int, bits: int) -> None:
        super().__init__(name)
        self.size = size
        self.bits = bits
        self.signed = bool(encoding & 1)
        self.character = bool(encoding & 2)
        self.boolean = bool(encoding & 4)


class Float(BtfType):
    """A floating-point number."""

    __slots__ = ("size",)

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name)
        self.size = size


class Reference(BtfType):
    """Base of the types that refer to one ``target`` type."""

    __slots__ = ("target",)

    def __init__(self, target: int, name: str = "") -> None:
        super().__init__(name)
        self.target = target


class Ptr(Reference):
    """A pointer."""

    __slots__ = ()


class Ref(Ptr):
    """A reference of C++: a pointer that is followed without being asked to."""

    __slots__ = ()


class Typedef(Reference):
    """A typedef."""

    __slots__ = ()


class Const(Reference):
    """A const type."""

    __slots__ = ()


class Volatile(Reference):
    """A volatile type."""

    __slots__ = ()


class Restrict(Reference):
    """A restrict pointer."""

    __slots__ = ()


class TypeTag(Reference):
    """A type attribute such as ``user``, ``rcu`` or ``percpu``, in ``name``."""

    __slots__ = ()


class Array(BtfType):
    """An array of ``length`` elements."""

    __slots__ = ("element", "index", "length")

    def __init__(self, element: int, index: int, length: int) -> None:
        super().__init__()
        self.element = element
        self.index = index
        self.length = length


class Member(BtfType):
    """A member; ``bitfield_size`` is 0 for a plain one.  The name of an anonymous one is empty."""

    __slots__ = ("bit_offset", "bitfield_size", "type")

    def __init__(self, name: str, type_id: int, bit_offset: int, bitfield_size: int) -> None:
        super().__init__(name)
        self.type = type_id
        self.bit_offset = bit_offset
        self.bitfield_size = bitfield_size


class Struct(BtfType):
    """A structure, or a union if ``is_union``."""

    __slots__ = ("is_union", "members", "size")

    def __init__(self, name: str, size: int, is_union: bool, members: list[Member]) -> None:
        super().__init__(name)
        self.size = size
        self.is_union = is_union
        self.members = members


class Enum(BtfType):
    """An enumeration of any width, with (name, value) pairs."""

    __slots__ = ("signed", "size", "values")

    def __init__(self, name: str, size: int, signed: bool, values: list[tuple[str, int]]) -> None:
        super().__init__(name)
        self.size = size
        self.signed = signed
        self.values = values


class Fwd(BtfType):
    """A structure or union that is declared but not defined."""

    __slots__ = ("is_union",)

    def __init__(self, name: str, is_union: bool) -> None:
        super().__init__(name)
        self.is_union = is_union


class Param(BtfType):
    """A parameter.  ``nullable`` tells that a tracepoint declares the pointer possibly NULL."""

    __slots__ = ("nullable", "type")

    def __init__(self, name: str, type_id: int, nullable: bool = False) -> None:
        super().__init__(name)
        self.type = type_id
        self.nullable = nullable


class FuncProto(BtfType):
    """A function type; parameter names are present when it belongs to a :class:`Func`."""

    __slots__ = ("params", "result", "variadic")

    def __init__(self, result: int, params: list[Param], variadic: bool) -> None:
        super().__init__()
        self.result = result
        self.params = params
        self.variadic = variadic


class Func(BtfType):
    """A function; ``linkage`` is 0 static, 1 global, 2 extern."""

    __slots__ = ("linkage", "proto")

    def __init__(self, name: str, proto: int, linkage: int) -> None:
        super().__init__(name)
        self.proto = proto
        self.linkage = linkage


class Var(BtfType):
    """A variable; ``linkage`` as for functions."""

    __slots__ = ("linkage", "type")

    def __init__(self, name: str, type_id: int, linkage: int) -> None:
        super().__init__(name)
        self.type = type_id
        self.linkage = linkage


class Datasec(BtfType):
    """A data section with (variable id, offset in bytes, size in bytes) entries."""

    __slots__ = ("size", "variables")

    def __init__(self, name: str, size: int, variables: list[tuple[int, int, int]]) -> None:
        super().__init__(name)
        self.size = size
        self.variables = variables


class DeclTag(Reference):
    """An attribute of a declaration, or of its member or parameter ``component`` if not -1."""

    __slots__ = ("component",)

    def __init__(self, name: str, target: int, component: int) -> None:
        super().__init__(target, name)
        self.component = component


class Types(Protocol):
    """Where types come from: BTF, or DWARF in the same views."""

    def type(self, type_id: int) -> BtfType:
        """The view of a type."""
        ...

    def resolve(self, type_id: int) -> int:
        """The id behind typedefs and qualifiers."""
        ...


def flattened(types: Types, type_id: int, offset: int = 0, depth: int = 0) -> Iterator[Member]:
    """All members of a structure or union, those of anonymous members at their place."""
    view = types.type(types.resolve(type_id))
    if not isinstance(view, Struct) or depth > _DEEPEST:
        return
    for member in view.members:
        place = offset + member.bit_offset
        if member.name:
            yield Member(member.name, member.type, place, member.bitfield_size)
        else:
            yield from flattened(types, member.type, place, depth + 1)
