"""Integer literals."""

from __future__ import annotations

from pystap.lang.errors import parse_error
from pystap.lang.tokens import Token
from pystap.typing import Final

_UNSIGNED_MAX: Final = 2**64 - 1
_SIGN_BIT: Final = 2**63


def c_number(text: str) -> int | None:
    """Value of a number as C writes it (decimal, ``0x`` or ``0`` octal) with an optional sign;
    None for any other text."""
    if "_" in text or text[-1:].isspace() or text[:1].isspace():
        return None
    for base in (0, 8):  # a leading 0 is no number to int(..., 0)
        try:
            return int(text, base)
        except ValueError:
            pass
    return None


def number_value(token: Token, negative: bool = False) -> int:
    """Value of a number token, wrapped to 64 bits signed.

    Decimal, ``0x`` hexadecimal and ``0`` octal; 0 to 2**64-1.  With ``negative`` the literal has
    a minus before it, which is applied, and may be 2**63 at most.  Raises DiagnosticError.
    """
    text = token.text
    try:
        if text[0] != "0" or len(text) == 1:
            value = int(text)
        elif text[1] in "xX":
            value = int(text, 16)
        else:
            value = int(text, 8) if text[1] not in "oO" else -1
    except ValueError:
        value = -1
    if not 0 <= value <= (_SIGN_BIT if negative else _UNSIGNED_MAX):
        raise parse_error("number invalid or out of range", token)
    if negative:
        return -value
    return value - 2 * _SIGN_BIT if value >= _SIGN_BIT else value
