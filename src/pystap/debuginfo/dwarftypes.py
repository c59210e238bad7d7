"""The types of DWARF in the form of BTF's.

:class:`DwarfTypes` answers like :class:`pystap.debuginfo.btf.Btf` does, so that whatever works on
typed values (members, casts, pretty printing) serves both.  Ids are given to entries when they
are first met; 0 is void.  Base classes of C++ are anonymous members, references a kind of
pointer.
"""

from __future__ import annotations

from collections.abc import Iterator

from pystap.debuginfo import btftypes as t
from pystap.debuginfo import dwarfconst as c
from pystap.debuginfo.btf import (
    KIND_ENUM,
    KIND_ENUM64,
    KIND_INT,
    KIND_STRUCT,
    KIND_TYPEDEF,
    KIND_UNION,
    BtfError,
)
from pystap.debuginfo.sizes import POINTER_SIZE, type_size
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.debuginfo.dwarf import Die, Dwarf
    from pystap.debuginfo.dwarfindex import Names
    from pystap.debuginfo.types import Types

_DEEPEST: Final = 64
_SIGNED, _CHARACTER, _BOOLEAN = 1, 2, 4
_ENCODINGS: Final = {
    c.ATE_BOOLEAN: _BOOLEAN,
    c.ATE_SIGNED: _SIGNED,
    c.ATE_SIGNED_CHAR: _SIGNED | _CHARACTER,
    c.ATE_UNSIGNED_CHAR: _CHARACTER,
}
# Tags of the types that are looked up under a name, by the kind that BTF gives them.
_TAGS: Final = {
    KIND_STRUCT: (c.TAG_STRUCT, c.TAG_CLASS),
    KIND_UNION: (c.TAG_UNION,),
    KIND_TYPEDEF: (c.TAG_TYPEDEF,),
    KIND_ENUM: (c.TAG_ENUM,),
    KIND_INT: (c.TAG_BASE,),
}


def _nowhere() -> None:
    """There are no other types."""


class DwarfTypes:
    """The types of one file."""

    __slots__ = ("_dies", "_ids", "_names", "_views", "dwarf", "elsewhere", "name")

    def __init__(self, dwarf: Dwarf, names: Names) -> None:
        self.dwarf = dwarf
        self.name = dwarf.path
        #: other types of the same code that are found by name in no time: BTF, for the kernel
        self.elsewhere: Callable[[], Types | None] = _nowhere
        self._names = names
        self._ids: dict[int, int] = {}
        self._dies: list[Die | None] = [None]
        self._views: dict[int, t.BtfType] = {0: t.Void("void")}

    def id_of(self, die: Die | None) -> int:
        """The id of the type that an entry describes; None is void."""
        if die is None:
            return 0
        known = self._ids.get(die.key)
        if known is None:
            known = self._ids[die.key] = len(self._dies)
            self._dies.append(die)
        return known

    def _made(self, view: t.BtfType) -> int:
        """An id for a type that no entry describes."""
        self._dies.append(None)
        self._views[len(self._dies) - 1] = view
        return len(self._dies) - 1

    # ------------------------------------------------------------ by name

    def find(self, name: str, kind: int) -> int | None:
        """The type of a name and of one of BTF's kinds; definitions before declarations."""
        if kind == KIND_ENUM64 or kind not in _TAGS:
            return None
        for die in self._named(name):
            if die.tag in _TAGS[kind] and not die.flag(c.AT_DECLARATION):
                return self.id_of(die)
        return None

    def _named(self, name: str) -> Iterator[Die]:
        """Types of a name, which may have scopes (``ns::outer::inner``)."""
        if "::" not in name:
            yield from self._names.types(name)
            return
        from pystap.debuginfo.dwarfplaces import with_scopes
        from pystap.debuginfo.qualified import fits, split_scopes

        scopes, own = split_scopes(name)
        for die in self._names.types(own):
            if fits(with_scopes(die), die.name, name):
                yield die
        for outer in self._named(scopes) if scopes else ():
            yield from (die for die in outer.children() if die.name == own)

    def definition(self, declared: t.Fwd) -> tuple[Types, int] | None:
        """The structure or union of a mere declaration, with those who know it."""
        kind = KIND_UNION if declared.is_union else KIND_STRUCT
        for types in (self.elsewhere(), self):
            found = None if types is None else types.find(declared.name, kind)
            if types is not None and found is not None:
                return types, found
        return None

    def names(self, kind: int) -> Iterator[tuple[str, int]]:
        """Names of a kind, as far as they are known, for suggestions."""
        del kind
        return iter(())

    def enumerator(self, name: str) -> tuple[int, int] | None:
        """An enumerator: the id of its enumeration and its value."""
        for die in self._names.enumerations(name):
            type_id = self.id_of(die)
            view = self.type(type_id)
            if isinstance(view, t.Enum):
                for label, value in view.values:
                    if label == name:
                        return type_id, value
        return None

    def enumerator_anywhere(self, name: str) -> tuple[Types, int, int] | None:
        """The same, here or elsewhere, with those who know the enumeration."""
        other = self.elsewhere()
        types: Types = self if other is None else other
        found = types.enumerator(name)
        return None if found is None else (types, *found)

    def enum_value(self, name: str) -> int | None:
        """The value of an enumerator."""
        found = self.enumerator(name)
        return None if found is None else found[1]

    # ------------------------------------------------------------ by id

    def type(self, type_id: int) -> t.BtfType:
        """The view of a type."""
        view = self._views.get(type_id)
        if view is None:
            die = self._dies[type_id]
            assert die is not None  # made types have their views
            view = self._views[type_id] = self._view(die)
        return view

    def resolve(self, type_id: int) -> int:
        """The id behind typedefs and qualifiers."""
        for _ in range(_DEEPEST):
            view = self.type(type_id)
            if not isinstance(view, (t.Typedef, t.Const, t.Volatile, t.Restrict, t.TypeTag)):
                return type_id
            type_id = view.target
        raise BtfError(f"type {type_id} refers to itself")

    def member(self, type_id: int, name: str) -> tuple[int, int, int] | None:
        """A member of a structure or union: (type id, bit offset, bit-field size or 0)."""
        for member in self.members(type_id):
            if member.name == name:
                return member.type, member.bit_offset, member.bitfield_size
        return None

    def members(self, type_id: int) -> list[t.Member]:
        """All members, those of anonymous members and base classes at their place."""
        return list(t.flattened(self, type_id))

    def sizeof(self, type_id: int) -> int:
        """Size in bytes; :class:`BtfError` for what has none."""
        return type_size(self, type_id)

    def c_name(self, type_id: int, declarator: str = "") -> str:
        """The C spelling of a type, e.g. ``struct node *``."""
        from pystap.debuginfo.cnames import spell

        return spell(self, type_id, declarator)

    # ------------------------------------------------------------ views

    def _view(self, die: Die) -> t.BtfType:
        reference = _REFERENCES.get(die.tag)
        if reference is not None:
            name = die.name if die.tag == c.TAG_TYPEDEF else ""
            return reference(self.id_of(die.type()), name)
        rule = _RULES.get(die.tag)
        return t.Void("?") if rule is None else rule(self, die)

    def _base(self, die: Die) -> t.BtfType:
        size = die.unsigned(c.AT_BYTE_SIZE) or 0
        encoding = die.unsigned(c.AT_ENCODING) or 0
        if encoding in (c.ATE_FLOAT, c.ATE_COMPLEX_FLOAT):
            return t.Float(die.name, size)
        flags = _ENCODINGS.get(encoding, 0)
        return t.Int(die.name, size, flags, die.unsigned(c.AT_BIT_SIZE) or 8 * size)

    def _struct(self, die: Die) -> t.BtfType:
        is_union = die.tag == c.TAG_UNION
        if die.flag(c.AT_DECLARATION):
            return t.Fwd(die.name, is_union)
        members = []
        for child in die.children():
            if child.tag in (c.TAG_MEMBER, c.TAG_INHERITANCE):
                made = self._struct_member(child)
                if made is not None:
                    members.append(made)
        return t.Struct(die.name, die.unsigned(c.AT_BYTE_SIZE) or 0, is_union, members)

    def _struct_member(self, die: Die) -> t.Member | None:
        """A member or base class; None for static ones and virtual bases."""
        if die.flag(c.AT_EXTERNAL) or die.flag(c.AT_DECLARATION):
            return None
        name = die.name if die.tag == c.TAG_MEMBER else ""
        type_id = self.id_of(die.type())
        offset = _member_offset(die)
        if offset is None:
            return None
        bits = die.unsigned(c.AT_BIT_SIZE)
        if bits is None:
            return t.Member(name, type_id, 8 * offset, 0)
        place = die.unsigned(c.AT_DATA_BIT_OFFSET)
        if place is None:  # DWARF 2: counted from the most significant bit of the storage unit
            unit = 8 * (die.unsigned(c.AT_BYTE_SIZE) or self.sizeof(type_id))
            place = 8 * offset + unit - (die.unsigned(c.AT_BIT_OFFSET) or 0) - bits
        return t.Member(name, type_id, place, bits)

    def _enum(self, die: Die) -> t.BtfType:
        if die.flag(c.AT_DECLARATION):
            return t.Fwd(die.name, False)
        size = die.unsigned(c.AT_BYTE_SIZE) or 4
        signed = die.unsigned(c.AT_ENCODING) in (c.ATE_SIGNED, c.ATE_SIGNED_CHAR)
        below = die.type()
        if below is not None:
            view = self.type(self.resolve(self.id_of(below)))
            signed = isinstance(view, t.Int) and view.signed
        values = []
        for child in die.children():
            if child.tag == c.TAG_ENUMERATOR:
                value = child.signed(c.AT_CONST_VALUE) or 0
                if not signed and value < 0:
                    value = (child.unsigned(c.AT_CONST_VALUE) or 0) & ((1 << 8 * size) - 1)
                values.append((child.name, value))
        return t.Enum(die.name, size, signed, values)

    def _array(self, die: Die) -> t.BtfType:
        lengths = [_length(child) for child in die.children() if child.tag == c.TAG_SUBRANGE]
        element = self.id_of(die.type())
        for length in reversed(lengths[1:]):
            element = self._made(t.Array(element, 0, length))
        return t.Array(element, 0, lengths[0] if lengths else 0)

    def _function(self, die: Die) -> t.BtfType:
        params, variadic = [], False
        for child in die.children():
            if child.tag == c.TAG_FORMAL_PARAMETER:
                params.append(t.Param(child.name, self.id_of(child.type())))
            elif child.tag == c.TAG_UNSPECIFIED_PARAMETERS:
                variadic = True
        return t.FuncProto(self.id_of(die.type()), params, variadic)

    def _member_pointer(self, die: Die) -> t.BtfType:
        size = die.unsigned(c.AT_BYTE_SIZE) or POINTER_SIZE
        return t.Int("member pointer", size, 0, 8 * size)


_REFERENCES: Final[dict[int, Callable[[int, str], t.BtfType]]] = {
    c.TAG_POINTER: t.Ptr,
    c.TAG_REFERENCE: t.Ref,
    c.TAG_RVALUE_REFERENCE: t.Ref,
    c.TAG_TYPEDEF: t.Typedef,
    c.TAG_CONST: t.Const,
    c.TAG_VOLATILE: t.Volatile,
    c.TAG_RESTRICT: t.Restrict,
    c.TAG_ATOMIC: t.TypeTag,
}
_RULES: Final[dict[int, Callable[[DwarfTypes, Die], t.BtfType]]] = {
    c.TAG_BASE: DwarfTypes._base,
    c.TAG_STRUCT: DwarfTypes._struct,
    c.TAG_CLASS: DwarfTypes._struct,
    c.TAG_UNION: DwarfTypes._struct,
    c.TAG_ENUM: DwarfTypes._enum,
    c.TAG_ARRAY: DwarfTypes._array,
    c.TAG_SUBROUTINE_TYPE: DwarfTypes._function,
    c.TAG_PTR_TO_MEMBER: DwarfTypes._member_pointer,
}


def _member_offset(die: Die) -> int | None:
    """Offset in bytes; None when it must be computed at run time (virtual bases)."""
    if not die.has(c.AT_DATA_MEMBER_LOCATION):
        return 0  # members of unions, bit-fields with a bit offset
    offset = die.unsigned(c.AT_DATA_MEMBER_LOCATION)
    if offset is not None:
        return offset
    ops = die.location(c.AT_DATA_MEMBER_LOCATION, 0) or []
    if len(ops) == 1 and ops[0].code == c.OP_PLUS_UCONST:
        return ops[0].number
    return None


def _length(subrange: Die) -> int:
    """Elements of one dimension; 0 when only known at run time."""
    count = subrange.unsigned(c.AT_COUNT)
    if count is not None:
        return count
    bound = subrange.signed(c.AT_UPPER_BOUND)
    if bound is None or bound < 0:
        bound = subrange.unsigned(c.AT_UPPER_BOUND)
    return 0 if bound is None or bound >= 1 << 40 else bound + 1
