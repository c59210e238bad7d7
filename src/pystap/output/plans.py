"""Turns a format into a function from an item's bytes to text: the fast path in Python."""

from __future__ import annotations

import struct
from collections.abc import Callable

from pystap.output.formats import MAX_FIELD, STAR, Directive, Format
from pystap.output.formatspec import argument_kinds
from pystap.output.records import RecordError, values
from pystap.output.render import render
from pystap.typing import Final, TypeAlias

Plan: TypeAlias = Callable[[bytes, int, int], bytes]

_SIGNED, _UNSIGNED, _BYTE, _TEXT = "qQBs"  # numbers: as struct spells them
_TEMPLATE_FLAGS: Final = {
    "d": "-+ 0",
    "u": "-0",
    "x": "-0",
    "X": "-0",
    "o": "-0",
    "c": "-",
    "s": "-",
}
_CODES: Final = {"d": _SIGNED, "c": _BYTE, "s": _TEXT}


def make_plan(fmt: Format, hist_width: int, hist_elision: int) -> Plan:
    """A function (record, begin, end of the arguments) -> text; it raises :class:`RecordError`.

    Formats that Python's ``%`` renders as :func:`pystap.output.render.render` does become one
    template; the others go through the reference formatter.
    """
    template = b""
    codes = ""
    for directive in fmt.directives:
        if not directive.conv:
            template += directive.text.encode("latin-1").replace(b"%", b"%%")
            continue
        part = _template(directive)
        if part is None:
            return _general_plan(fmt, hist_width, hist_elision)
        template += part
        codes += _CODES.get(directive.conv, _UNSIGNED)
    return _template_plan(template, codes)


def _template(directive: Directive) -> bytes | None:
    """The directive in Python's own notation, or None when that would not do the same."""
    conversion, flag, width = directive.conv, directive.flag, directive.width
    precision = directive.precision
    if STAR in (width, precision) or flag not in ("", *_TEMPLATE_FLAGS.get(conversion, "")):
        return None
    if conversion not in _TEMPLATE_FLAGS or (flag == "0" and precision is not None):
        return None
    if (width or 0) > MAX_FIELD or (conversion == "c" and precision is not None):
        return None
    if conversion != "s" and (precision or 0) > MAX_FIELD:
        return None
    letter = {"u": "d", "s": "b"}.get(conversion, conversion)
    digits = "" if width is None else str(width)
    point = "" if precision is None else f".{precision}"
    return f"%{flag}{digits}{point}{letter}".encode("ascii")


def _template_plan(template: bytes, codes: str) -> Plan:
    """Numbers are read in runs, all between two strings at once."""
    runs = [struct.Struct("<" + run) for run in codes.replace(_BYTE, "B7x").split(_TEXT)]
    first, rest = runs[0], runs[1:]

    def plan(record: bytes, at: int, end: int) -> bytes:
        if first.size > end - at:
            raise RecordError(f"item of {end - at} bytes ends before its arguments")
        args = first.unpack_from(record, at)
        at += first.size
        for run in rest:
            begin = at + 4
            length = int.from_bytes(record[at:begin], "little")
            at += length + 11 & ~7
            if at + run.size > end:
                raise RecordError(f"string of {length} bytes runs over the end of its item")
            args += (record[begin : begin + length], *run.unpack_from(record, at))
            at += run.size
        return template % args

    return plan


def _general_plan(fmt: Format, hist_width: int, hist_elision: int) -> Plan:
    kinds = argument_kinds(fmt)

    def plan(record: bytes, at: int, end: int) -> bytes:
        args = values(record, kinds, at, end)
        try:
            return render(fmt, args, hist_width, hist_elision)
        except ValueError as error:
            raise RecordError(str(error)) from error

    return plan
