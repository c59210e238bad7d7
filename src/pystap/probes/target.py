"""Member and subscript chains on typed values, turned into memory loads.

``$next->mm->pgd``, ``@cast(p, "task_struct")->comm`` and ``x->pid`` all come here: a value whose
type BTF knows, and components applied to it one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from pystap.debuginfo import btftypes as t
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.core import CoreContext, CoreLoad
from pystap.typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from pystap.debuginfo.types import Types

Space = Literal["kernel", "user"]

_WIDTHS: Final = (1, 2, 4, 8)


class CType(NamedTuple):
    """What an integer value stands for; the ``ctype`` of expressions.

    The type is ``type_id`` with ``pointers`` times ``*`` added (BTF need not have a type of its
    own for these: ``&$x->m``, arrays, casts).  ``space`` is where pointers lead.
    """

    btf: Types
    type_id: int
    space: Space = "kernel"
    pointers: int = 0

    def text(self) -> str:
        """The C type, spelled as listings show it: ``struct task_struct*``."""
        return listing_name(self.btf, self.type_id) + "*" * self.pointers


class Place(NamedTuple):
    """A typed thing: a value at hand, or memory at an address (then ``expr`` is the address)."""

    expr: ast.Expr
    btf: Types
    type_id: int
    space: Space
    memory: bool
    pointers: int = 0  # how many ``*`` to add to the type
    bit_offset: int = 0  # bit-fields: within the memory at ``expr``
    bit_size: int = 0
    words: tuple[ast.Expr | None, ...] = ()  # an object in registers: all of it, None unknown

    def view(self) -> t.BtfType:
        """The type behind typedefs and qualifiers."""
        if self.pointers:
            return t.Ptr(self.type_id)
        return self.btf.type(self.btf.resolve(self.type_id))

    def type_text(self) -> str:
        """The C type."""
        return CType(self.btf, self.type_id, self.space, self.pointers).text()


def expand_ctype(
    base: ast.Expr,
    ctype: CType,
    components: Sequence[ast.Component],
    tok: Token,
    address_of: bool = False,
) -> ast.Expr:
    """The same for a value that already carries a :class:`CType` (autocast)."""
    place = Place(base, ctype.btf, ctype.type_id, ctype.space, False, ctype.pointers)
    return expand(place, components, tok, address_of)


def expand(
    place: Place, components: Sequence[ast.Component], tok: Token, address_of: bool = False
) -> ast.Expr:
    """Apply components to a place, then read it (or take its address, or print it)."""
    for position, component in enumerate(components):
        if isinstance(component, ast.Pretty):
            from pystap.probes.pretty import pretty

            _refuse_effects(components[:position])
            return pretty(place, component.depth, component.tok)
        if isinstance(component, ast.Member):
            place = member_of(place, component.name, component.tok)
        else:
            place = element_of(place, component.index, component.tok)
        tok = component.tok
    return address(place, tok) if address_of else value(place, tok)


def member_of(place: Place, name: str, tok: Token) -> Place:
    """``place->name``, through a pointer where there is one."""
    place = object_of(place, tok)
    btf = place.btf
    btf, struct_id, struct = _complete(btf, place.type_id)
    in_registers = isinstance(struct, t.Struct) and bool(place.words)
    if place.pointers or not (place.memory or in_registers) or not isinstance(struct, t.Struct):
        raise error(f"'{place.type_text()}' has no members: cannot apply '->{name}'", tok)
    found = btf.member(struct_id, name)
    if found is None:
        raise _no_member(btf, struct_id, name, tok)
    type_id, bit_offset, bit_size = found
    if in_registers:
        return _in_registers(place, type_id, bit_offset, bit_size, name, tok)
    if not bit_size:
        return Place(_plus(place.expr, bit_offset // 8, tok), btf, type_id, place.space, True)
    unit, offset = _bitfield_unit(bit_offset, bit_size, size_of(btf, type_id, tok))
    addr = _plus(place.expr, unit, tok)
    return Place(addr, btf, type_id, place.space, True, 0, offset, bit_size)


def element_of(place: Place, index: ast.Expr, tok: Token) -> Place:
    """``place[index]`` of an array, or of what a pointer points to."""
    view = place.view()
    if isinstance(view, t.Ref) and not place.pointers:
        place = object_of(place, tok)
        view = place.view()
    if isinstance(view, t.Array):
        first = place._replace(type_id=view.element)
    elif isinstance(view, t.Ptr):
        first = object_of(place, tok)
    else:
        raise error(f"'{place.type_text()}' is neither array nor pointer: cannot apply '['", tok)
    size = 8 if first.pointers else _element_size(first.btf, first.type_id, tok)
    return first._replace(expr=_plus_scaled(first.expr, index, size, tok))


def object_of(place: Place, tok: Token) -> Place:
    """What a pointer points to; a place that is no pointer stays as it is."""
    view = place.view()
    if not isinstance(view, t.Ptr):
        return place
    pointer = _pointer(place, view, tok)
    if place.pointers:
        return Place(pointer, place.btf, place.type_id, place.space, True, place.pointers - 1)
    target, space = pointee(place.btf, view, tok)
    # User-space data only points to user space.
    space = "user" if place.space == "user" else space
    return Place(pointer, place.btf, target, space, True)


def _pointer(place: Place, view: t.Ptr, tok: Token) -> ast.Expr:
    """The address that a pointer or a reference holds."""
    if isinstance(view, t.Ref) and place.memory:
        return CoreLoad(
            tok=tok, type="long", addr=place.expr, space=place.space, size=8, signed=False
        )
    return place.expr if isinstance(view, t.Ref) else value(place, tok)


def value(place: Place, tok: Token) -> ast.Expr:
    """What is there: a number, or the address for arrays.  Structures have no value."""
    btf = place.btf
    view = place.view()
    if isinstance(view, t.Ref) and not place.pointers:
        return value(object_of(place, tok), tok)
    ctype = CType(btf, place.type_id, place.space, place.pointers)
    if isinstance(view, t.Array) and not place.memory:
        raise error(f"an array ('{place.type_text()}') in registers has no address", tok)
    if isinstance(view, t.Array):
        return _typed(place.expr, ctype._replace(type_id=view.element, pointers=1), tok)
    if isinstance(view, (t.Struct, t.Fwd)):
        raise error(f"'{place.type_text()}' is being accessed instead of a member", tok)
    if not place.memory:
        return _typed(place.expr, ctype, tok)
    size, signed = (8, False) if place.pointers else scalar(btf, place.type_id, tok)
    if place.bit_size:
        size = _width(place.bit_offset + place.bit_size)
    return CoreLoad(
        tok=tok,
        type="long",
        ctype=ctype,
        addr=place.expr,
        space=place.space,
        size=size,
        signed=signed,
        bit_offset=place.bit_offset,
        bit_size=place.bit_size,
    )


def address(place: Place, tok: Token) -> ast.Expr:
    """``&place``."""
    if place.bit_size:
        raise error("cannot take the address of a bit-field", tok)
    if isinstance(place.view(), t.Ref):
        place = object_of(place, tok)
    if not place.memory:
        raise error("cannot take the address of a value that is not in memory", tok)
    ctype = CType(place.btf, place.type_id, place.space, place.pointers + 1)
    return _typed(place.expr, ctype, tok)


def scalar(btf: Types, type_id: int, tok: Token) -> tuple[int, bool]:
    """Size in bytes and signedness of a number, pointer or enumeration."""
    view = btf.type(btf.resolve(type_id))
    if isinstance(view, t.Ptr):
        return 8, False
    if isinstance(view, (t.Int, t.Enum)) and view.size in _WIDTHS:
        return view.size, view.signed
    if isinstance(view, t.Float) and view.size in _WIDTHS:
        return view.size, False  # its bits
    shown = listing_name(btf, type_id)
    if isinstance(view, (t.Int, t.Float)):
        raise error(f"a value of {view.size} bytes ('{shown}') cannot be read", tok)
    raise error(f"'{shown}' has no value", tok)


def extended(raw: ast.Expr, btf: Types, type_id: int, tok: Token) -> ast.Expr:
    """A number that came zero-extended to 64 bits, as its type says it is.

    Tracepoints and registers hold narrow arguments this way (or with rubbish above).
    """
    view = btf.type(btf.resolve(type_id))
    if not isinstance(view, (t.Int, t.Enum)) or view.size >= 8:
        return raw
    if view.signed:
        shift = number(64 - 8 * view.size, tok)
        return binary(">>", binary("<<", raw, shift, tok), shift, tok)
    return binary("&", raw, number((1 << 8 * view.size) - 1, tok), tok)


def pointee(btf: Types, pointer: t.Ptr, tok: Token) -> tuple[int, Space]:
    """What a pointer points to, and ``user`` when the kernel marked it so."""
    target = pointer.target
    space: Space = "kernel"
    while True:
        view = btf.type(target)
        if isinstance(view, t.Void):
            raise error("cannot follow a 'void*': use @cast to say what it points to", tok)
        if isinstance(view, t.TypeTag):
            if view.name == "user":
                space = "user"
            elif view.name == "percpu":
                raise error("cannot follow a per-CPU pointer", tok)
        elif not isinstance(view, (t.Const, t.Volatile, t.Restrict)):
            return target, space
        target = view.target


def listing_name(btf: Types, type_id: int) -> str:
    """A C type as ``-L`` spells it, without a space before ``*``."""
    return btf.c_name(type_id).replace(" *", "*")


def is_char(btf: Types, type_id: int) -> bool:
    """Whether a type is one of the character types."""
    view = btf.type(btf.resolve(type_id))
    return isinstance(view, t.Int) and view.size == 1 and (view.character or "char" in view.name)


def size_of(btf: Types, type_id: int, tok: Token) -> int:
    """Size in bytes, with a diagnostic for types that have none."""
    from pystap.debuginfo.btf import BtfError

    try:
        return btf.sizeof(type_id)
    except BtfError as problem:
        raise error(str(problem), tok) from None


def enumerator(btf: Types, var: ast.TargetVar, known: Sequence[str]) -> ast.Expr:
    """The enumerator that ``$NAME`` is, or the error that there is no such variable."""
    from pystap.probes.base import unknown_variable

    found = btf.enumerator(var.name[1:])
    if found is None or var.components or var.address_of:
        raise unknown_variable(var, known)
    made = number(found[1], var.tok)
    made.ctype = CType(btf, found[0])
    return made


# --- nodes --------------------------------------------------------------------------------------


def number(number_value: int, tok: Token) -> ast.Number:
    """A literal."""
    return ast.Number(tok=tok, type="long", value=number_value)


def binary(op: str, left: ast.Expr, right: ast.Expr, tok: Token) -> ast.Binary:
    """Arithmetic."""
    return ast.Binary(tok=tok, type="long", op=op, left=left, right=right)


def error(message: str, tok: Token, hint: str | None = None) -> Exception:
    """A ``DiagnosticError`` at a token."""
    from pystap.diag.diagnostic import Diagnostic, DiagnosticError

    return DiagnosticError(Diagnostic("semantic error", message, tok, hint=hint))


# --- parts --------------------------------------------------------------------------------------


def _in_registers(
    place: Place, type_id: int, bit_offset: int, bit_size: int, name: str, tok: Token
) -> Place:
    """A member of an object that is held in registers."""
    btf = place.btf
    index, shift = divmod(bit_offset, 64)
    size = bit_size or 8 * size_of(btf, type_id, tok)
    word = place.words[index] if index < len(place.words) else None
    if word is None or (shift and shift + size > 64):
        raise error(f"'{name}' is not in a register that can be read", tok)
    if shift:
        word = binary(">>>", word, number(shift, tok), tok)
    view = btf.type(btf.resolve(type_id))
    if isinstance(view, (t.Struct, t.Array)):
        words = (word, *(place.words[index + 1 :] if not shift else ()))
        return Place(word, btf, type_id, place.space, False, words=words)
    if not bit_size:
        return Place(extended(word, btf, type_id, tok), btf, type_id, place.space, False)
    signed = isinstance(view, (t.Int, t.Enum)) and view.signed
    rest = number(64 - bit_size, tok)
    word = binary(">>" if signed else ">>>", binary("<<", word, rest, tok), rest, tok)
    return Place(word, btf, type_id, place.space, False)


def _typed(expr: ast.Expr, ctype: CType, tok: Token) -> ast.Expr:
    """The expression with a ctype; one that has another, or is not ours, is wrapped."""
    if expr.ctype == ctype:
        return expr
    if expr.ctype is None and isinstance(expr, (ast.Binary, CoreContext)):
        expr.ctype = ctype
        return expr
    return ast.Unary(tok=tok, type="long", ctype=ctype, op="+", operand=expr)


def _complete(btf: Types, type_id: int) -> tuple[Types, int, t.BtfType]:
    """The type behind typedefs, and for a mere declaration the definition of that name."""
    resolved = btf.resolve(type_id)
    view = btf.type(resolved)
    found = btf.definition(view) if isinstance(view, t.Fwd) else None
    if found is not None:
        return (*found, found[0].type(found[1]))
    return btf, resolved, view


def _no_member(btf: Types, struct_id: int, name: str, tok: Token) -> Exception:
    from pystap.diag.suggest import suggest

    names = [member.name for member in btf.members(struct_id)]
    near = suggest(name, names) or names[:8]
    more = f" (alternatives: {', '.join(near)})" if near else ""
    shown = listing_name(btf, struct_id)
    return error(f"unable to find member '{name}' for {shown}{more}", tok)


def _element_size(btf: Types, type_id: int, tok: Token) -> int:
    types, complete_id, _ = _complete(btf, type_id)
    return size_of(types, complete_id, tok)


def _bitfield_unit(bit_offset: int, bit_size: int, declared: int) -> tuple[int, int]:
    """Byte offset of the memory to load for a bit-field, and the field's place in it.

    The declared type's own storage unit where the field lies within it (always, unless the
    structure is packed), else the bytes from its first one on.
    """
    unit = bit_offset // (8 * declared) * declared
    if bit_offset + bit_size > 8 * (unit + declared):
        unit = bit_offset // 8
    return unit, bit_offset - 8 * unit


def _width(bits: int) -> int:
    return next(width for width in _WIDTHS if 8 * width >= bits)


def _plus(base: ast.Expr, offset: int, tok: Token) -> ast.Expr:
    if not offset:
        return base
    if isinstance(base, ast.Binary) and base.op == "+" and base.ctype is None:
        known = base.right
        if isinstance(known, ast.Number):
            return binary("+", base.left, number(known.value + offset, tok), tok)
    return binary("+", base, number(offset, tok), tok)


def _plus_scaled(base: ast.Expr, index: ast.Expr, size: int, tok: Token) -> ast.Expr:
    if isinstance(index, ast.Number):
        return _plus(base, index.value * size, tok)
    scaled = index if size == 1 else binary("*", index, number(size, tok), tok)
    return binary("+", base, scaled, tok)


def _refuse_effects(components: Sequence[ast.Component]) -> None:
    """Pretty printing reads its value several times: indexes must not change anything."""
    from pystap.lang.visit import walk

    for component in components:
        if isinstance(component, ast.Subscript):
            for node in walk(component.index):
                if isinstance(node, (ast.Assign, ast.Crement)):
                    raise error("the index of a pretty-printed value must not assign", node.tok)
