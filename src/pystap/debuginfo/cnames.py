"""C spelling of BTF types."""

from __future__ import annotations

from pystap.debuginfo import btftypes as t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystap.debuginfo.btf import Btf

_DEEPEST = 64


def spell(btf: Btf, type_id: int, declarator: str = "", depth: int = 0) -> str:
    """A declaration of ``declarator`` (may be empty) with the type.

    Qualifiers follow what they qualify (``char const *``); type tags are left out; structures
    and enumerations without a name are shown as ``struct {...}``.
    """
    if depth > _DEEPEST:
        return _join("...", declarator)
    view = btf.type(type_id)
    if isinstance(view, t.Ptr):
        target = btf.type(view.target)
        wrap = isinstance(target, (t.Array, t.FuncProto))
        return spell(btf, view.target, f"(*{declarator})" if wrap else f"*{declarator}", depth + 1)
    if isinstance(view, (t.Const, t.Volatile, t.Restrict)):
        return spell(btf, view.target, _join(_QUALIFIER[type(view)], declarator), depth + 1)
    if isinstance(view, t.TypeTag):
        return spell(btf, view.target, declarator, depth + 1)
    if isinstance(view, t.Array):
        return spell(btf, view.element, f"{declarator}[{view.length}]", depth + 1)
    if isinstance(view, t.FuncProto):
        listed = [spell(btf, p.type, p.name, depth + 1) for p in view.params]
        listed += ["..."] * view.variadic
        return spell(btf, view.result, f"{declarator}({', '.join(listed) or 'void'})", depth + 1)
    if isinstance(view, t.Func):
        return spell(btf, view.proto, declarator or view.name, depth + 1)
    if isinstance(view, t.Var):
        return spell(btf, view.type, declarator or view.name, depth + 1)
    return _join(_base_name(view), declarator)


_QUALIFIER: dict[type[t.BtfType], str] = {
    t.Const: "const",
    t.Volatile: "volatile",
    t.Restrict: "restrict",
}


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
