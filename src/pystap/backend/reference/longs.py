"""Arithmetic on signed 64-bit numbers, as every runtime does it."""

from __future__ import annotations

from collections.abc import Callable

from pystap.typing import Final

MIN: Final = -(1 << 63)
MAX: Final = (1 << 63) - 1
MASK: Final = (1 << 64) - 1


def wrap(value: int) -> int:
    """``value`` modulo 2^64 as a signed number."""
    if MIN <= value <= MAX:
        return value
    value &= MASK
    return value - (1 << 64) if value > MAX else value


def divide(left: int, right: int) -> int:
    """Quotient truncated toward zero; the least number by -1 wraps.  ``right`` is not 0."""
    quotient = abs(left) // abs(right)
    return wrap(quotient if (left < 0) == (right < 0) else -quotient)


def remainder(left: int, right: int) -> int:
    """What ``divide`` leaves; has the sign of ``left``.  ``right`` is not 0."""
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def shift_left(value: int, count: int) -> int:
    """``<<`` with the count taken modulo 64."""
    return wrap(value << (count & 63))


def shift_right(value: int, count: int) -> int:
    """Arithmetic ``>>`` with the count taken modulo 64."""
    return value >> (count & 63)


def shift_right_logical(value: int, count: int) -> int:
    """``>>>``: zeros come in from the left; the count is taken modulo 64."""
    return wrap((value & MASK) >> (count & 63))


def extend(value: int, size: int, signed: bool) -> int:
    """The low ``size`` bytes (1 to 8) of ``value`` as a signed or unsigned number, wrapped."""
    bits = size * 8
    value &= (1 << bits) - 1
    if signed and value >> (bits - 1):
        value -= 1 << bits
    return wrap(value)


TOTAL: Final[dict[str, Callable[[int, int], int]]] = {
    "+": lambda a, b: wrap(a + b),
    "-": lambda a, b: wrap(a - b),
    "*": lambda a, b: wrap(a * b),
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<<": shift_left,
    ">>": shift_right,
    ">>>": shift_right_logical,
}
"""The operators that cannot fail."""
