"""C spelling of BTF types."""

from __future__ import annotations

from pystap.debuginfo import btftypes as t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystap.debuginfo.types import Types

#: no declaration in a kernel has that many parts; a longer one is a cycle in damaged BTF
_MOST_PARTS = 500


def spell(btf: Types, type_id: int, declarator: str = "") -> str:
    """A declaration of ``declarator`` (may be empty) with the type.

    Qualifiers follow what they qualify (``char const *``); type tags are left out; structures
    and enumerations without a name are shown as ``struct {...}``.
    """
    return _Speller(btf).spell(type_id, declarator)


class _Speller:
    """Spells one declaration; counts its parts."""

    __slots__ = ("_btf", "_left")

    def __init__(self, btf: Types) -> None:
        self._btf = btf
        self._left = _MOST_PARTS

    def spell(self, type_id: int, declarator: str) -> str:
        """Wrap ``declarator`` in the type, from the outside of the type inwards."""
        while True:
            self._left -= 1
            if self._left < 0:
                return _join("...", declarator)
            view = self._btf.type(type_id)
            if isinstance(view, t.FuncProto):
                declarator += self._parameters(view)
                type_id = view.result
            elif isinstance(view, t.Array):
                declarator += f"[{view.length}]"
                type_id = view.element
            elif isinstance(view, t.Ptr):
                star = "&" if isinstance(view, t.Ref) else "*"
                declarator = self._pointer(view.target, star + declarator)
                type_id = view.target
            elif isinstance(view, (t.Const, t.Volatile, t.Restrict)):
                declarator = _join(type(view).__name__.lower(), declarator)
                type_id = view.target
            elif isinstance(view, t.TypeTag):
                type_id = view.target
            elif isinstance(view, (t.Func, t.Var)):
                declarator = declarator or view.name
                type_id = view.proto if isinstance(view, t.Func) else view.type
            else:
                return _join(_base_name(view), declarator)

    def _pointer(self, target: int, declarator: str) -> str:
        wrap = isinstance(self._btf.type(target), (t.Array, t.FuncProto))
        return f"({declarator})" if wrap else declarator

    def _parameters(self, proto: t.FuncProto) -> str:
        listed = [self.spell(param.type, param.name) for param in proto.params]
        listed += ["..."] * proto.variadic
        return f"({', '.join(listed) or 'void'})"


def _base_name(view: t.BtfType) -> str:
    if isinstance(view, (t.Struct, t.Fwd)):
        return f"{'union' if view.is_union else 'struct'} {view.name or '{...}'}"
    if isinstance(view, t.Enum):
        return f"enum {view.name or '{...}'}"
    return view.name


def _join(left: str, declarator: str) -> str:
    if not declarator or declarator.startswith("["):
        return left + declarator
    return f"{left} {declarator}"
