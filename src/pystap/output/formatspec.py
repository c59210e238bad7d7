"""Reads printf format literals and knows which arguments each directive takes."""

from __future__ import annotations

from pystap.output.formats import MAX_FIELD, STAR, Directive, Format
from pystap.typing import Final

LONG: Final = "l"
STRING: Final = "s"
HISTOGRAM: Final = "h"

_FLAGS: Final = "-+ #0"
_DIGITS: Final = "0123456789"
_CONVERSIONS: Final = "diuoxXpcsbmM"
_STRING_CONVERSIONS: Final = ("s", "m", "M")
_MOST_DIGITS: Final = 18  # of a number, which is more than enough
_LONGEST: Final = 0x7FFF_FFFF  # no string is longer
_BAD: Final = "invalid or missing conversion specifier"


class FormatError(Exception):
    """A format literal is wrong; ``offset`` is where in the text the bad directive begins."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


def parse_format(text: str) -> Format:
    """Parse a format (one character per byte, escapes already replaced).

    The shape is ``%[flag][width][.precision][l]conversion`` with at most one flag; ``%%`` and a
    lone trailing ``%`` are a percent sign.  Raises :class:`FormatError`.
    """
    directives: list[Directive] = []
    literal = ""
    at = 0
    while True:
        percent = text.find("%", at)
        if percent < 0:
            literal += text[at:]
            break
        literal += text[at:percent]
        if text[percent + 1 : percent + 2] in ("", "%"):
            literal += "%"
            at = percent + 2
            continue
        directive, at = _parse_directive(text, percent)
        if literal:
            directives.append(Directive("", literal))
            literal = ""
        directives.append(directive)
    if literal:
        directives.append(Directive("", literal))
    return Format(tuple(directives))


def _parse_directive(text: str, start: int) -> tuple[Directive, int]:
    """One directive that begins at ``start``; gives it and the offset behind it."""
    at = start + 1
    flag = ""
    if text[at : at + 1] in tuple(_FLAGS):
        flag = text[at]
        at += 1
    width, at = _parse_number(text, at)
    precision: int | None = None
    if text[at : at + 1] == ".":
        precision, at = _parse_number(text, at + 1)
        if precision is None:
            precision = 0
    if text[at : at + 1] == "l":
        at += 1
    conversion = text[at : at + 1]
    if not conversion or conversion not in _CONVERSIONS:
        raise FormatError(_BAD, start)
    if conversion == "i":
        conversion = "d"
    if conversion == "s" and precision is not None:
        precision = min(precision, _LONGEST)
    if _widest(width, precision, conversion) > MAX_FIELD:
        raise FormatError(f"field of more than {MAX_FIELD} bytes", start)
    return Directive(conversion, "", flag, width, precision), at + 1


def _widest(width: int | None, precision: int | None, conversion: str) -> int:
    """The bytes that a directive asks for; a precision of a string only cuts."""
    digits = 0 if conversion in _STRING_CONVERSIONS else precision or 0
    return max(width or 0, digits)


def _parse_number(text: str, at: int) -> tuple[int | None, int]:
    """A width or precision: digits, ``*`` or nothing."""
    if text[at : at + 1] == "*":
        return STAR, at + 1
    end = at
    while end < len(text) and text[end] in _DIGITS:
        end += 1
    digits = text[at:end].lstrip("0")[:_MOST_DIGITS] or "0"
    return (int(digits) if end > at else None), end


def directive_kinds(directive: Directive) -> str:
    """Kinds of the arguments a directive takes, in order: a string over ``l``, ``s``, ``h``.

    The dynamic width and precision come first.  ``%m`` and ``%M`` count as ``s``: that is what
    a record carries; in a script their argument is an address, see :func:`script_kinds`.
    """
    conversion = directive.conv
    if not conversion:
        return ""
    stars = LONG * ((directive.width == STAR) + (directive.precision == STAR))
    if conversion in _STRING_CONVERSIONS:
        return stars + STRING
    return stars + (HISTOGRAM if conversion.startswith("hist") else LONG)


def argument_kinds(fmt: Format) -> str:
    """Kinds of all arguments as a record carries them."""
    return "".join(map(directive_kinds, fmt.directives))


def script_kinds(fmt: Format) -> str:
    """Kinds of all arguments as a script gives them: only ``%s`` takes a string."""
    return "".join(
        directive_kinds(d).replace(STRING, LONG) if d.conv in ("m", "M") else directive_kinds(d)
        for d in fmt.directives
    )
