"""The text of typed values: ``$x$`` (one level), ``$x$$`` (all levels) and ``$$vars``.

Everything becomes one ``sprintf`` over loads, so the text is made where the event happens.
"""

from __future__ import annotations

from collections.abc import Iterable

from pystap.debuginfo import btftypes as t
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.lang.visit import clone
from pystap.probes.core import CoreIntrinsic
from pystap.probes.target import (
    Place,
    Space,
    element_of,
    is_char,
    member_of,
    number,
    object_of,
    scalar,
    size_of,
    value,
)
from pystap.typing import Final

# A print call takes at most 32 arguments (output.md, print family).
_MOST_ARGUMENTS: Final = 32
_MOST_ELEMENTS: Final = 5
_MOST_LEVELS: Final = 16
_STRING_BYTES: Final = 128
_FLOATS: Final = (4, 8)  # sizes of the floating-point numbers that have a text
_FLOAT_DIGITS: Final = 6  # behind the point, as printf(3) gives them
_UNREADABLE: Final = "ERROR"


class _Text:
    """A format and its arguments, growing."""

    def __init__(self, tok: Token) -> None:
        self.tok = tok
        self.format: list[str] = []
        self.args: list[ast.Expr] = []

    def full(self) -> bool:
        return len(self.args) >= _MOST_ARGUMENTS

    def literal(self, text: str) -> None:
        self.format.append(text.replace("%", "%%"))

    def value(self, directive: str, arg: ast.Expr) -> None:
        self.format.append(directive)
        self.args.append(arg)

    def expr(self) -> ast.Expr:
        text = "".join(self.format)
        if not self.args:
            return _string(text.replace("%%", "%"), self.tok)
        if text == "%s":
            return self.args[0]
        return ast.Print(
            tok=self.tok,
            type="string",
            name="sprintf",
            args=self.args,
            format=_string(text, self.tok),
        )


def pretty(place: Place, depth: int, tok: Token) -> ast.Expr:
    """The text of one value; ``depth`` 1 leaves out what nested structures hold.

    A structure that cannot be read gives ``ERROR``.
    """
    text = _Text(tok)
    place = _behind_pointer(place, tok)
    _emit(text, place, _MOST_LEVELS if depth > 1 else 1)
    made = text.expr()
    if not place.memory or place.bit_size:
        return made
    return _if_readable(place, made, tok)


def variables_text(items: Iterable[tuple[str, Place | None]], depth: int, tok: Token) -> ast.Expr:
    """``name=value ...`` of ``$$vars`` and its like; ``None`` stands for what has no value.

    ``depth`` 0 gives values in hexadecimal; 1 and 2 are those of :func:`pretty`.
    """
    text = _Text(tok)
    for count, (name, place) in enumerate(items):
        text.literal(f"{' ' if count else ''}{name}=")
        if place is None or text.full():
            text.literal("?" if place is None else "...")
        elif depth:
            text.value("%s", pretty(place, depth, tok))
        else:
            text.value("%#x", value(place, tok))
    return text.expr()


def text_depth(var: ast.TargetVar) -> int:
    """Depth that the components of ``$$vars`` ask for: none, ``$`` or ``$$``."""
    from pystap.probes.target import error

    depths = []
    for component in var.components:
        if not isinstance(component, ast.Pretty):
            raise error(f"'{var.name}' is text and has no members", component.tok)
        depths.append(component.depth)
    if var.address_of:
        raise error(f"cannot take the address of '{var.name}'", var.tok)
    return depths[0] if depths else 0


def _behind_pointer(place: Place, tok: Token) -> Place:
    """What a pointer to a structure points to; everything else as it is."""
    view = place.view()
    if not isinstance(view, t.Ptr) or place.pointers > 1:
        return place
    target = place.btf.type(place.btf.resolve(view.target))
    return object_of(place, tok) if isinstance(target, t.Struct) else place


def _emit(text: _Text, place: Place, levels: int) -> None:
    """Append one value."""
    view = place.view()
    if text.full():
        text.literal("...")
    elif isinstance(view, t.Struct):
        _emit_struct(text, place, levels)
    elif isinstance(view, t.Array):
        _emit_array(text, place, view, levels)
    elif isinstance(view, t.Ptr):
        _emit_pointer(text, place, view)
    elif isinstance(view, (t.Int, t.Enum)) and view.size <= 8:
        _emit_number(text, place)
    elif isinstance(view, t.Float) and view.size in _FLOATS:
        text.value("%s", _decimal(value(place, text.tok), view.size))
    else:
        text.literal("?")


def _emit_struct(text: _Text, place: Place, levels: int) -> None:
    if levels == 0:
        text.literal("{...}")
        return
    text.literal("{")
    for count, member in enumerate(place.btf.members(place.type_id)):
        text.literal(", " if count else "")
        if text.full():
            text.literal("...")
            break
        text.literal(f".{member.name}=")
        here = place._replace(expr=clone(place.expr))
        _emit(text, member_of(here, member.name, text.tok), levels - 1)
    text.literal("}")


def _emit_array(text: _Text, place: Place, view: t.Array, levels: int) -> None:
    if is_char(place.btf, view.element):
        text.value("%s", _quoted(clone(place.expr), place.space, view.length, text.tok))
        return
    if levels == 0:
        text.literal("[...]")
        return
    text.literal("[")
    for index in range(view.length):
        text.literal(", " if index else "")
        if index == _MOST_ELEMENTS or text.full():
            text.literal("...")
            break
        here = place._replace(expr=clone(place.expr))
        _emit(text, element_of(here, number(index, text.tok), text.tok), levels - 1)
    text.literal("]")


def _emit_pointer(text: _Text, place: Place, view: t.Ptr) -> None:
    got = value(place, text.tok)
    if place.pointers <= 1 and is_char(place.btf, view.target):
        space = object_of(place, text.tok).space
        quoted = _quoted(got, space, _STRING_BYTES, text.tok)
        text.value("%s", quoted)
    else:
        text.value("%p", got)


def _emit_number(text: _Text, place: Place) -> None:
    got = value(place, text.tok)
    if is_char(place.btf, place.type_id):
        text.value("'%#c'", got)
        return
    _, signed = scalar(place.btf, place.type_id, text.tok)
    text.value("%i" if signed else "%u", got)


def _decimal(bits: ast.Expr, size: int) -> ast.Expr:
    """The text of a floating-point number, made by functions of the tapset."""
    tok = bits.tok
    if size == 4:
        bits = ast.Call(tok=tok, type="long", name="fp32_to_fp64", args=[bits])
    args = [bits, number(_FLOAT_DIGITS, tok)]
    return ast.Call(tok=tok, type="string", name="fp_to_string", args=args)


def _quoted(addr: ast.Expr, space: Space, limit: int, tok: Token) -> ast.Expr:
    limit = min(limit, _STRING_BYTES)
    return CoreIntrinsic(
        tok=tok,
        type="string",
        name=f"{space}_string_quoted",
        args=[addr, number(limit, tok), number(limit + 16, tok)],
    )


def _if_readable(place: Place, made: ast.Expr, tok: Token) -> ast.Expr:
    """The text if the first and the last byte can be read."""
    size = size_of(place.btf, place.type_id, tok)
    checks = [_readable(place, offset, tok) for offset in sorted({0, max(size - 1, 0)})]
    cond = checks[0]
    for check in checks[1:]:
        cond = ast.Binary(tok=tok, type="long", op="&&", left=cond, right=check)
    return ast.Ternary(tok=tok, type="string", cond=cond, yes=made, no=_string(_UNREADABLE, tok))


def _readable(place: Place, offset: int, tok: Token) -> ast.Expr:
    addr = clone(place.expr)
    if offset:
        right = number(offset, tok)
        addr = ast.Binary(tok=tok, type="long", op="+", left=addr, right=right)
    read = CoreIntrinsic(
        tok=tok,
        type="long",
        name=f"{place.space}_read_or",
        args=[addr, number(1, tok), number(-1, tok)],
    )
    return ast.Compare(tok=tok, type="long", op=">=", left=read, right=number(0, tok))


def _string(text: str, tok: Token) -> ast.String:
    return ast.String(tok=tok, type="string", value=text)
