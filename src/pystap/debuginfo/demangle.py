"""Names of functions as people write them, from those that compilers give to symbols.

C++ names (``_Z...``) are left to the C++ library's ``__cxa_demangle``, which is on practically
every machine; without it they stay as they are.  Rust has two forms: an older one that looks like
C++ names with a hash behind, and ``_R...`` (:mod:`pystap.debuginfo.rustnames`).
"""

from __future__ import annotations

import ctypes
from functools import lru_cache

from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LIBRARIES: Final = ("libstdc++.so.6", "libc++abi.so.1")
_LONGEST: Final = 4096  # bytes of a symbol that are worth the work
_HASH: Final = "::h"
_HASH_DIGITS: Final = 16
_RUST: Final = (
    ("$LT$", "<"), ("$GT$", ">"), ("$LP$", "("), ("$RP$", ")"), ("$C$", ","), ("$RF$", "&"),
    ("$BP$", "*"), ("$SP$", "@"), ("$u20$", " "), ("$u22$", '"'), ("$u27$", "'"), ("$u2b$", "+"),
    ("$u3b$", ";"), ("$u5b$", "["), ("$u5d$", "]"), ("$u7b$", "{"), ("$u7d$", "}"),
    ("$u7e$", "~"), ("..", "::"),
)  # fmt: skip


def demangle(name: str) -> str:
    """The readable form of a symbol's name; the name itself when it is no mangled one.

    What a compiler or linker put behind a name (``.part.0``, ``.cold``) is kept.
    """
    if name.startswith("_R") and len(name) <= _LONGEST:
        from pystap.debuginfo.rustnames import demangle_rust

        return demangle_rust(name) or name
    if not name.startswith(("_Z", "__Z")) or len(name) > _LONGEST:
        return name
    text = _by_library(name)
    if text is None:
        stem, dot, suffix = name.partition(".")
        text = _by_library(stem) if dot else None
        if text is None:
            return name
        text += f" [clone .{suffix}]"
    return _without_hash(text)


def _by_library(name: str) -> str | None:
    function = _function()
    if function is None:
        return None
    status = ctypes.c_int()
    found = function(name.encode("latin-1"), None, None, status)
    if not found:
        return None
    try:
        return ctypes.string_at(found).decode("latin-1")
    finally:
        _free()(found)


@lru_cache(maxsize=1)
def _function() -> Callable[..., int | None] | None:
    """``char *__cxa_demangle(const char *, char *, size_t *, int *)`` of the C++ ABI."""
    for library in _LIBRARIES:
        try:
            function = ctypes.CDLL(library).__cxa_demangle
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_void_p
        function.argtypes = (
            ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int),
        )  # fmt: skip
        return function
    return None


@lru_cache(maxsize=1)
def _free() -> Callable[[int], None]:
    free = ctypes.CDLL(None).free
    free.argtypes = (ctypes.c_void_p,)
    free.restype = None
    return free


def _without_hash(text: str) -> str:
    """A Rust name of the older form without its hash and escapes; others as they are."""
    stem, mark, digits = text.rpartition(_HASH)
    if not mark or len(digits) != _HASH_DIGITS or set(digits) - set("0123456789abcdef"):
        return text
    parts = []
    for part in stem.split("::"):
        part = part[1:] if part.startswith("_$") else part
        for escape, character in _RUST:
            part = part.replace(escape, character)
        parts.append(part)
    return "::".join(parts)
