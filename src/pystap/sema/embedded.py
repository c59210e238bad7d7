"""Embedded C: what its markers say, and the globals that it names."""

from __future__ import annotations

import re

from pystap.lang import ast
from pystap.sema.program import GlobalSymbol
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.sema.work import Work

_PRAGMA: Final = re.compile(r"/\*\s*pragma:(read|write):(\w+)\s*\*/")
_PURE: Final = "/* pure */"
_STABLE: Final = "/* stable */"


class GlobalUse(NamedTuple):
    """A global that C text reads or writes."""

    symbol: GlobalSymbol
    writes: bool


def note_globals(work: Work, node: ast.EmbeddedCode | ast.EmbeddedExpr) -> None:
    """Find the globals that the ``pragma`` markers of C text name, for ``node.globals``."""
    from pystap.sema.resolve import find_global

    if node.globals:
        return
    for kind, name in _PRAGMA.findall(node.code):
        symbol = find_global(work, name, node.tok)
        if symbol is None:
            work.error(f"unresolved global '{name}' in a marker of embedded code", node.tok)
            continue
        node.globals.append(GlobalUse(symbol, kind == "write"))


def global_uses(node: ast.EmbeddedCode | ast.EmbeddedExpr) -> list[GlobalUse]:
    """What :func:`note_globals` found."""
    return [use for use in node.globals if isinstance(use, GlobalUse)]


def is_pure(node: ast.EmbeddedCode | ast.EmbeddedExpr) -> bool:
    """Whether C text may be left out when nobody wants its value."""
    constant = isinstance(node, ast.EmbeddedExpr) and node.tok.text == "@const"
    return constant or _PURE in node.code or _STABLE in node.code
