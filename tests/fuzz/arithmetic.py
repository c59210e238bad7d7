"""The operators on numbers, written down once more."""

from __future__ import annotations

_WORD = 1 << 64
_SIGN = 1 << 63


def wrap(number: int) -> int:
    """As signed 64 bits."""
    return (number + _SIGN) % _WORD - _SIGN


def compute(op: str, left: int, right: int) -> int:
    """The value of ``left op right``; the divisor is not 0."""
    match op:
        case "+":
            result = left + right
        case "-":
            result = left - right
        case "*":
            result = left * right
        case "/" | "%":
            quotient = abs(left) // abs(right)
            if (left < 0) != (right < 0):
                quotient = -quotient
            result = quotient if op == "/" else left - quotient * right
        case "&":
            result = left & right
        case "|":
            result = left | right
        case "^":
            result = left ^ right
        case "<<":
            result = left << (right % 64)
        case ">>":
            result = left >> (right % 64)
        case ">>>":
            result = (left % _WORD) >> (right % 64)
        case _:
            raise ValueError(op)
    return wrap(result)


def compare(op: str, left: int | str, right: int | str) -> int:
    """The value of a comparison of two numbers or two strings."""
    if isinstance(left, str) and isinstance(right, str):
        order = (left > right) - (left < right)
    else:
        order = (int(left) > int(right)) - (int(left) < int(right))
    return int(
        {
            "<": order < 0,
            "<=": order <= 0,
            ">": order > 0,
            ">=": order >= 0,
            "==": order == 0,
            "!=": order != 0,
        }[op]
    )
