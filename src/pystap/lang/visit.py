"""Walking, rewriting and copying syntax trees.

The functions that know the fields of one class are generated from its dataclass fields the first
time a node of that class is met (measured about three times faster than loops over field names).
A field is a child when its annotation names a class of :mod:`pystap.lang.ast`; it is a slot that
later stages fill (and a copy starts without) when its annotation names ``object`` or when it is
the ``type`` or ``ctype`` of an expression.

Trees are at most :data:`pystap.lang.limits.MAX_DEPTH` deep, so recursion is safe here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pystap.lang import ast
from pystap.typing import Any, TypeAlias, TypeVar

AnyNode: TypeAlias = (
    ast.Node
    | ast.Member
    | ast.Subscript
    | ast.Pretty
    | ast.PointComponent
    | ast.GlobalVar
    | ast.Param
    | ast.File
)
T = TypeVar("T", bound=AnyNode)

_WORD = re.compile(r"\w+")
_children: dict[type, Callable[[Any], list[Any]]] = {}
_cloners: dict[type, Callable[[Any], Any]] = {}
_rewriters: dict[type, Callable[[Any, Callable[[Any], Any]], None]] = {}


def iter_children(node: AnyNode) -> list[AnyNode]:
    """The direct children of ``node`` in source order; absent ones (``None``) are left out."""
    cls = node.__class__
    children = _children.get(cls)
    if children is None:
        children = _children[cls] = _make_children(cls)
    return children(node)


def walk(node: AnyNode) -> Iterator[AnyNode]:
    """``node`` and everything below it, parents first, in source order.

    A node's children are looked up after it was handed out, so the caller may change them.
    """
    stack = [node]
    pop = stack.pop
    while stack:
        node = pop()
        yield node
        below = iter_children(node)
        below.reverse()
        stack += below


def rewrite_children(node: AnyNode, fn: Callable[[Any], Any]) -> None:
    """Replace each direct child of ``node`` by what ``fn`` makes of it, in source order."""
    cls = node.__class__
    rewrite = _rewriters.get(cls)
    if rewrite is None:
        rewrite = _rewriters[cls] = _make_rewriter(cls)
    rewrite(node, fn)


def transform(
    node: AnyNode,
    fn: Callable[[Any], Any],
    enter: Callable[[Any], bool] | None = None,
) -> Any:
    """Rewrite a tree in place, children first; return what ``fn`` made of ``node``.

    ``fn`` gets each node after its children were rewritten and returns the node itself or its
    replacement.  When ``enter`` is given and false for a node, the node is left as it is with
    everything below it (``fn`` is not called for it either).
    """

    def visit(child: Any) -> Any:
        if enter is not None and not enter(child):
            return child
        rewrite_children(child, visit)
        return fn(child)

    return visit(node)


def clone(node: T) -> T:
    """A deep copy that shares tokens and starts without what later stages filled in."""
    cls = node.__class__
    cloner = _cloners.get(cls)
    if cloner is None:
        cloner = _cloners[cls] = _make_cloner(cls)
    copy: T = cloner(node)
    return copy


def same_tree(a: object, b: object) -> bool:
    """Whether two trees (or lists of nodes) are equal but for tokens and later stages' slots.

    File names do not count either.  Works without recursion, on trees of any depth.
    """
    stack = [(a, b)]
    while stack:
        x, y = stack.pop()
        if x.__class__ is not y.__class__:
            return False
        if isinstance(x, list) and isinstance(y, list):
            if len(x) != len(y):
                return False
            stack += zip(x, y)
        elif hasattr(x, "__dataclass_fields__"):
            cls = x.__class__
            names = [f for f, kind in _fields(cls) if kind != "slot" and f != "tok"]
            if cls is ast.File:
                names.remove("name")
            stack += [(getattr(x, f), getattr(y, f)) for f in names]
        elif x != y:
            return False
    return True


# --- generated functions ------------------------------------------------------------------------


def _fields(cls: type) -> list[tuple[str, str]]:
    """Each field of a node class with its kind: child, list (of children), plain or slot."""
    declared = getattr(cls, "__dataclass_fields__", None)
    made_later = cls.__module__ != ast.__name__  # pystap.probes.core: born with their types
    if declared is None or (made_later and not issubclass(cls, ast.Expr)):
        raise TypeError(f"not a syntax tree node: {cls.__name__}")
    result = []
    for name, field in declared.items():
        words = set(_WORD.findall(field.type))
        if made_later and name in ("type", "ctype"):
            kind = "plain"
        elif "object" in words or (issubclass(cls, ast.Expr) and name in ("type", "ctype")):
            kind = "slot"
        elif any(_is_node_name(word) for word in words):
            kind = "list" if field.type.startswith("list[") else "child"
        else:
            kind = "plain"
        result.append((name, kind))
    return result


def _is_node_name(word: str) -> bool:
    if word in ("Stmt", "TopLevel", "Component"):
        return True
    return hasattr(getattr(ast, word, None), "__dataclass_fields__")


def _optional(cls: type, name: str) -> bool:
    """Whether the field itself (not an element of its list) may be None."""
    annotation: str = cls.__dict__["__dataclass_fields__"][name].type
    return annotation.rsplit("]", 1)[-1].endswith("None")


def _compile(lines: list[str], **names: object) -> Any:
    """Compile one function named ``f``."""
    scope: dict[str, Any] = dict(names)
    exec("\n".join(lines), scope)
    return scope["f"]


def _make_children(cls: type) -> Callable[[Any], list[Any]]:
    parts = []
    optional = False
    for name, kind in _fields(cls):
        if kind == "child":
            parts.append(f"n.{name}")
            optional |= _optional(cls, name)
        elif kind == "list":
            may_be_none = _optional(cls, name)
            parts.append(f"*(n.{name} or ())" if may_be_none else f"*n.{name}")
            annotation: str = cls.__dict__["__dataclass_fields__"][name].type
            optional |= "None" in annotation
    made = f"[{', '.join(parts)}]"
    if optional:
        made = f"[c for c in {made} if c is not None]"
    function: Callable[[Any], list[Any]] = _compile(["def f(n):", f"    return {made}"])
    return function


def _make_cloner(cls: type) -> Callable[[Any], Any]:
    lines = ["def f(n):", "    x = new(cls)"]
    names: dict[str, object] = {"new": cls.__new__, "cls": cls, "clone": clone}
    for name, kind in _fields(cls):
        if kind == "child":
            value = f"clone(n.{name})"
            if _optional(cls, name):
                value = f"None if n.{name} is None else {value}"
        elif kind == "list":
            value = f"[None if c is None else clone(c) for c in n.{name}]"
            if _optional(cls, name):
                value = f"None if n.{name} is None else {value}"
        elif kind == "plain":
            value = f"n.{name}[:]" if _is_list(cls, name) else f"n.{name}"
        else:
            value = _default(cls, name)
        lines.append(f"    x.{name} = {value}")
    function: Callable[[Any], Any] = _compile([*lines, "    return x"], **names)
    return function


def _make_rewriter(cls: type) -> Callable[[Any, Callable[[Any], Any]], None]:
    lines = ["def f(n, visit):"]
    for name, kind in _fields(cls):
        if kind == "child":
            lines.append(f"    if n.{name} is not None: n.{name} = visit(n.{name})")
        elif kind == "list":
            made = f"[None if c is None else visit(c) for c in n.{name}]"
            lines.append(f"    if n.{name}: n.{name}[:] = {made}")
    function: Callable[[Any, Callable[[Any], Any]], None] = _compile([*lines, "    return"])
    return function


def _is_list(cls: type, name: str) -> bool:
    annotation: str = cls.__dict__["__dataclass_fields__"][name].type
    return annotation.startswith("list[")


def _default(cls: type, name: str) -> str:
    """Source text of the value a later stage's slot starts with."""
    if _is_list(cls, name):
        return "[]"
    default = cls.__dict__["__dataclass_fields__"][name].default
    return repr(default)
