"""The reference formatter: what a format makes of its arguments, byte for byte.

The conversions follow C's printf, with these differences (all of them visible in SystemTap):
``#`` puts its prefix in front of 0 too and in addition to the digits of ``precision``; a zero
flag fills up to the width even when a precision is given; at least one digit is printed;
``%p`` is ``%#x``; there are ``%b``, ``%m``, ``%M`` and the ``#`` forms of ``%c`` and ``%s``.
"""

from __future__ import annotations

from collections.abc import Sequence

from pystap.longs import signed
from pystap.output import histogram
from pystap.output.formats import MAX_FIELD, STAR, Directive, Format
from pystap.typing import Final, TypeAlias

Argument: TypeAlias = int | bytes | Sequence[int]

_MASK: Final = (1 << 64) - 1
_ESCAPES: Final = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 92: "\\"}


def render(
    fmt: Format,
    args: Sequence[Argument],
    hist_width: int = histogram.WIDTH,
    hist_elision: int = histogram.ELISION,
) -> bytes:
    """Apply a format.  ``args`` are longs (any int, taken modulo 2^64), strings as bytes, and
    bucket counts for histograms, in the order of :func:`formatspec.argument_kinds`."""
    out: list[bytes] = []
    rest = iter(args)
    for directive in fmt.directives:
        conversion = directive.conv
        if not conversion:
            out.append(directive.text.encode("latin-1"))
        elif conversion.startswith("hist"):
            counts = next(rest)
            assert not isinstance(counts, int)
            out.append(render_histogram(directive, counts, hist_width, hist_elision))
        else:
            width = next(rest) if directive.width == STAR else directive.width or 0
            precision = next(rest) if directive.precision == STAR else directive.precision
            assert isinstance(width, int)
            assert precision is None or isinstance(precision, int)
            out.append(_field(directive, signed(width), precision, next(rest)))
    return b"".join(out)


def render_histogram(
    directive: Directive, counts: Sequence[int], width: int, elision: int
) -> bytes:
    """The table of a histogram directive; ValueError when ``counts`` has the wrong length."""
    if directive.conv == "hist_log":
        _check_buckets(counts, histogram.LOG_BUCKETS)
        return histogram.render_log(counts, width, elision)
    start, stop, step = directive.params
    _check_buckets(counts, histogram.linear_buckets(start, stop, step))
    return histogram.render_linear(counts, start, stop, step, width, elision)


def _check_buckets(counts: Sequence[int], wanted: int) -> None:
    if len(counts) != wanted:
        raise ValueError(f"histogram of {len(counts)} buckets, not {wanted}")


def _field(directive: Directive, width: int, precision: int | None, value: Argument) -> bytes:
    """One converted argument, padded."""
    flag = directive.flag
    if precision is not None:
        precision = signed(precision)
        if precision < 0:
            precision = None
    left = flag == "-" or width < 0
    width = min(abs(width), MAX_FIELD)
    conversion = directive.conv
    if isinstance(value, int):
        if conversion == "b":
            return _binary(value, left, width, precision)
        if conversion == "c":
            text = _character(value & 0xFF, flag == "#")
        else:
            return _number(value, conversion, flag, left, width, precision)
    else:
        assert isinstance(value, bytes)
        text = _text(value, conversion, flag, precision)
    return text.ljust(width) if left else text.rjust(width)


def _number(
    value: int, conversion: str, flag: str, left: bool, width: int, precision: int | None
) -> bytes:
    prefix = ""
    if conversion == "d":
        value = signed(value)
        if value < 0:
            prefix = "-"
        elif flag in ("+", " "):
            prefix = flag
        digits = str(abs(value))
    elif conversion == "u":
        digits = str(value & _MASK)
    elif conversion == "o":
        digits = f"{value & _MASK:o}"
        prefix = "0" if flag == "#" else ""
    else:
        digits = f"{value & _MASK:X}" if conversion == "X" else f"{value & _MASK:x}"
        if flag == "#" or conversion == "p":
            prefix = "0X" if conversion == "X" else "0x"
    digits = digits.zfill(min(precision or 0, MAX_FIELD))
    if flag == "0" and not left:
        digits = digits.zfill(width - len(prefix))
    text = (prefix + digits).encode("ascii")
    return text.ljust(width) if left else text.rjust(width)


def _binary(value: int, left: bool, width: int, precision: int | None) -> bytes:
    """``%b``: the low 1, 2, 4 or 8 bytes; wider fields are filled with NUL bytes."""
    wanted = precision if precision is not None else width or 8
    size = 1 if wanted <= 1 else 2 if wanted == 2 else 4 if wanted <= 4 else 8
    data = (value & _MASK).to_bytes(8, "little")[:size]
    return data.ljust(width, b"\0") if left else data.rjust(width, b"\0")


def _text(value: bytes, conversion: str, flag: str, precision: int | None) -> bytes:
    if precision is not None:
        value = value[:precision]
    if conversion == "M":
        return value.hex().encode("ascii")
    if conversion == "s" and flag == "#":
        return escape(value)
    return value


def escape(text: bytes) -> bytes:
    """``%#s``: double quotes, backslashes and control characters as C escapes, the rest as is."""
    if text.isalnum():
        return text
    return b"".join(
        _escaped(byte) if byte < 32 or byte in (34, 92, 127) else bytes((byte,)) for byte in text
    )


def _character(byte: int, quoted: bool) -> bytes:
    """``%c``; the ``#`` form escapes what is not printable ASCII, the quote and the backslash."""
    if quoted and (not 32 <= byte < 127 or byte in (39, 92)):
        return _escaped(byte)
    return bytes((byte,))


def _escaped(byte: int) -> bytes:
    if byte in (34, 39):
        return b"\\" + bytes((byte,))
    letter = _ESCAPES.get(byte)
    return f"\\{letter or format(byte, '03o')}".encode("ascii")
