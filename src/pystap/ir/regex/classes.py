"""Bytes that no set of a pattern tells apart form one class."""

from __future__ import annotations

from collections.abc import Iterable


def byte_classes(sets: Iterable[frozenset[int]]) -> tuple[bytes, list[int]]:
    """The class of each byte value, and one byte of each class."""
    distinct = list(dict.fromkeys(sets))
    numbers: dict[tuple[bool, ...], int] = {}
    class_of = bytearray(256)
    samples: list[int] = []
    for byte in range(1, 256):
        signature = tuple(byte in s for s in distinct)
        if signature not in numbers:
            numbers[signature] = len(samples)
            samples.append(byte)
        class_of[byte] = numbers[signature]
    return bytes(class_of), samples
