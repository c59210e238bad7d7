"""Numbers of the script language, which have 64 bits and a sign."""

from __future__ import annotations


def signed(value: int, bits: int = 64) -> int:
    """The low ``bits`` of a number as a signed one."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
