"""How deep a syntax tree may be, and room on the interpreter's stack for trees that deep."""

from __future__ import annotations

import sys

from pystap.typing import Final

# Nesting of statements and parentheses, height of one expression (a chain ``a + a + ...`` of n
# terms is n high), and nesting of macros.  Deeper input is a parse error, so that every later
# pass may recurse.
MAX_DEPTH: Final = 1000

# Python frames a pass may need for one level; the parser itself needs about six.
_FRAMES_PER_LEVEL: Final = 20


def allow_deep_trees() -> None:
    """Let Python recurse as deep as trees go.

    Calls between Python functions take no C stack since Python 3.11, so this costs heap only.
    """
    needed = MAX_DEPTH * _FRAMES_PER_LEVEL
    if sys.getrecursionlimit() < needed:
        sys.setrecursionlimit(needed)
