"""Where functions leave their results: the System V calling convention of x86-64."""

from __future__ import annotations

from collections.abc import Iterator

from pystap.debuginfo import btftypes as t
from pystap.debuginfo.types import Types
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.core import CoreContext
from pystap.probes.target import Place, Space, error, extended, number
from pystap.typing import Final

_RAX, _RDX = 0, 1  # DWARF's numbers
_WORD: Final = 8
_IN_REGISTERS: Final = 16  # bytes; larger objects are returned in memory, their address in RAX


def returned(types: Types, type_id: int, tok: Token, space: Space = "user") -> Place:
    """The result of a function of a program (or the kernel), at its return.

    Raises ``DiagnosticError`` for results in floating-point registers.
    """
    view = types.type(types.resolve(type_id))
    if isinstance(view, t.Struct):
        return _object(types, type_id, view, tok, space)
    if isinstance(view, t.Float):
        raise _floating(types.c_name(type_id), tok)
    if isinstance(view, t.Int) and view.size > _WORD:
        raise error(f"a result of type '{types.c_name(type_id)}' cannot be read", tok)
    value = extended(_register(_RAX, tok), types, type_id, tok)
    return Place(value, types, type_id, space, False)


def _object(types: Types, type_id: int, view: t.Struct, tok: Token, space: Space) -> Place:
    leaves = list(_leaves(types, type_id, 0))
    whole = all(offset % size == 0 for offset, size, _ in leaves if size)
    if view.size > _IN_REGISTERS or not whole:
        return Place(_register(_RAX, tok), types, type_id, space, True)
    registers = iter((_RAX, _RDX))
    words: list[ast.Expr | None] = []
    for at in range(0, view.size, _WORD):
        here = [real for offset, _, real in leaves if at <= offset < at + _WORD]
        words.append(None if here and all(here) else _register(next(registers), tok))
    if not any(words):
        raise _floating(types.c_name(type_id), tok)
    return Place(words[0] or number(0, tok), types, type_id, space, False, words=tuple(words))


def _floating(name: str, tok: Token) -> Exception:
    """The error for what is left in a register that no event brings along."""
    return error(
        f"a result of type '{name}' cannot be read: it is in a register for floating point", tok
    )


def _leaves(types: Types, type_id: int, offset: int) -> Iterator[tuple[int, int, bool]]:
    """Byte offset, size and whether it is floating point, of each number in an object."""
    view = types.type(types.resolve(type_id))
    if isinstance(view, t.Struct):
        for member in view.members:
            yield from _leaves(types, member.type, offset + member.bit_offset // 8)
    elif isinstance(view, t.Array):
        size = types.sizeof(view.element)
        for index in range(min(view.length, _IN_REGISTERS + 1)):
            yield from _leaves(types, view.element, offset + index * size)
    else:
        yield offset, types.sizeof(type_id), isinstance(view, t.Float)


def _register(index: int, tok: Token) -> ast.Expr:
    return CoreContext(tok=tok, type="long", kind="reg", index=index)
