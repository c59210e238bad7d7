"""Sizes of C types, whoever describes them."""

from __future__ import annotations

from pystap.debuginfo import btftypes as t
from pystap.debuginfo.btffile import BtfError
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.debuginfo.types import Types

POINTER_SIZE: Final = 8
_DEEPEST: Final = 64


def type_size(types: Types, type_id: int) -> int:
    """Size in bytes; :class:`BtfError` for what has none (void, functions, declarations)."""
    factor, inner = 1, type_id
    for _ in range(_DEEPEST):
        view = types.type(types.resolve(inner))
        if isinstance(view, (t.Int, t.Struct, t.Enum, t.Float, t.Datasec)):
            return factor * view.size
        if isinstance(view, t.Ptr):
            return factor * POINTER_SIZE
        if isinstance(view, t.Array):
            factor *= view.length
            inner = view.element
        elif isinstance(view, t.Var):
            inner = view.type
        else:
            from pystap.debuginfo.cnames import spell

            raise BtfError(f"type '{spell(types, inner)}' has no size")
    raise BtfError(f"type {type_id} refers to itself")
