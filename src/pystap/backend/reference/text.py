"""Escaping of text, as text_str() and the ``_quoted`` readers do it."""

from __future__ import annotations

from pystap.typing import Final

_LETTERS: Final = {
    "\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r",
    '"': '\\"', "\\": "\\\\",
}  # fmt: skip
_DECORATION: Final = 5  # two quotes and the dots


def escape_char(char: str) -> str:
    """A byte as it stands in a C literal: printable ASCII as is, C letters, or three octal
    digits."""
    letter = _LETTERS.get(char)
    if letter is not None:
        return letter
    return char if " " <= char <= "~" else f"\\{ord(char):03o}"


def escaped(text: str, room: int) -> tuple[str, bool]:
    """As much of ``text`` as fits escaped into ``room`` bytes, and whether that was not all."""
    out: list[str] = []
    for char in text:
        piece = escape_char(char)
        if len(piece) > room:
            return "".join(out), True
        room -= len(piece)
        out.append(piece)
    return "".join(out), False


def plain(text: str, room: int, limit: int) -> str:
    """``text`` escaped in at most ``room`` bytes (0 and less: all that a string can hold, which
    is ``limit`` bytes with its NUL)."""
    most = limit - 1
    return escaped(text, room if 0 < room < most else most)[0]


def quoted(text: str, room: int, limit: int, cut: bool = False) -> str:
    """``text`` escaped in at most ``room`` bytes (0 and less: all that fits) between double
    quotes; three dots follow when something is missing, here or (``cut``) already."""
    most = limit - 1 - _DECORATION
    inner, short = escaped(text, room if 0 < room < most else most)
    return f'"{inner}"' + ("..." if short or cut else "")
