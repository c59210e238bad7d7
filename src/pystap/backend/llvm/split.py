"""Cuts the text of a large module into parts that can be compiled at the same time.

Works on what :mod:`pystap.backend.llvm.builder` prints for BPF: a function begins with a line
``define`` and ends with a line ``}``, a constant takes one line.
"""

from __future__ import annotations

import re

from pystap.records import dataclass, field
from pystap.typing import Final

_FUNCTION: Final = re.compile(rb"^define .*?^}\n", re.M | re.S)
_HEAD: Final = re.compile(rb"define (?:(internal|weak) )? *(\w+) @([\w.]+)\(([^)]*)\) ([^#]*)#0")
_CONSTANT: Final = re.compile(rb"^@([\w.]+) = .*\n", re.M)
_NAME: Final = re.compile(rb"@([\w.]+)")


@dataclass(slots=True)
class _Function:
    text: bytes
    names: set[bytes]  # of functions and constants it mentions
    inline: bool
    declaration: bytes


@dataclass(slots=True)
class _Part:
    size: int = 0
    names: list[bytes] = field(default_factory=list)


def split(text: bytes, parts: int) -> list[bytes]:
    """Up to ``parts`` modules of about the same size that make up the module together.

    Functions that are called from another part become visible to it; what is to be inlined and
    constants are in every part that wants them.
    """
    functions = dict(_functions(text))
    if not functions:
        return [text]
    constants = {m[1]: m[0] for m in _CONSTANT.finditer(text)}
    rest = _CONSTANT.sub(b"", _FUNCTION.sub(b"", text))
    return [_module(part, functions, constants, rest) for part in _deal(functions, parts)]


def _functions(text: bytes) -> list[tuple[bytes, _Function]]:
    found = []
    for match in _FUNCTION.finditer(text):
        body = match[0]
        head = _HEAD.match(body)
        if head is None:
            raise ValueError(f"unexpected function: {body[:80]!r}")
        linkage, result, name, params, attributes = head.groups()
        inline = b"alwaysinline" in attributes
        if linkage == b"internal" and not inline:
            body = body.replace(b"internal ", b"", 1)
        types = b", ".join(param.split(b" ", 1)[0] for param in params.split(b", ") if param)
        declaration = b"declare %s @%s(%s)\n" % (result, name, types)
        names = set(_NAME.findall(body))
        found.append((name, _Function(body, names, inline, declaration)))
    return found


def _deal(functions: dict[bytes, _Function], parts: int) -> list[list[bytes]]:
    """Names of the functions of each part, the largest ones first to whoever has least."""
    sizes = {n: _size(n, functions, {}) for n, f in functions.items() if not f.inline}
    dealt = [_Part() for _ in range(parts)]
    for name in sorted(sizes, key=lambda n: -sizes[n]):
        least = min(dealt, key=lambda part: part.size)
        least.names.append(name)
        least.size += sizes[name]
    return [part.names for part in dealt if part.names]


def _size(name: bytes, functions: dict[bytes, _Function], known: dict[bytes, int]) -> int:
    """Bytes of a function with what is inlined into it."""
    if name not in known:
        function = functions[name]
        known[name] = len(function.text) + sum(
            _size(n, functions, known)
            for n in function.names
            if n != name and n in functions and functions[n].inline
        )
    return known[name]


def _module(
    names: list[bytes],
    functions: dict[bytes, _Function],
    constants: dict[bytes, bytes],
    rest: bytes,
) -> bytes:
    """The text of one part."""
    wanted = dict.fromkeys(names)
    queue = list(names)
    others: dict[bytes, None] = {}
    for name in queue:  # grows while it is walked
        for mentioned in sorted(functions[name].names):
            function = functions.get(mentioned)
            if function is None or mentioned in wanted or mentioned in others:
                others[mentioned] = None
            elif function.inline:
                wanted[mentioned] = None
                queue.append(mentioned)
            else:
                others[mentioned] = None
    pieces = [rest]
    for name in others:
        if name in constants:
            pieces.append(constants[name])
        elif name in functions and name not in wanted:
            pieces.append(functions[name].declaration)
    pieces += [functions[name].text for name in wanted]
    return b"".join(pieces)
