"""Associative arrays of bounded size.

Elements keep the order of their insertion: that is the order of an unsorted ``foreach``, of
equal elements in a sorted one, and of eviction from a wrapping array.  Only the last is promised
to scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pystap.ir import errors
from pystap.ir.types import Global
from pystap.typing import Any

Key = tuple[int | str, ...]
Pattern = tuple[int | str | None, ...]


class ArrayFullError(Exception):
    """No room for a new element and the array does not wrap."""


class Array:
    """The elements of one array global."""

    def __init__(self, var: Global) -> None:
        self.var = var
        self.elements: dict[Key, Any] = {}

    def get(self, key: Key, default: Any) -> Any:
        """Value of an element or ``default``."""
        return self.elements.get(key, default)

    def set(self, key: Key, value: Any) -> None:
        """Store an element.  Raises :class:`ArrayFullError`."""
        if key not in self.elements:
            self._make_room()
        self.elements[key] = value

    def obtain(self, key: Key, make: Callable[[], Any]) -> Any:
        """An element, made first when absent.  Raises :class:`ArrayFullError`."""
        if key not in self.elements:
            self._make_room()
            self.elements[key] = make()
        return self.elements[key]

    def has(self, pattern: Pattern) -> bool:
        """Whether an element matches; None in the pattern matches anything."""
        if None not in pattern:
            return pattern in self.elements
        return next(self.matching(pattern), None) is not None

    def matching(self, pattern: Pattern) -> Iterator[Key]:
        """Keys that match a pattern, in insertion order."""
        return (key for key in self.elements if _matches(key, pattern))

    def delete(self, pattern: Pattern) -> None:
        """Remove the elements that match, if any."""
        for key in list(self.matching(pattern)):
            del self.elements[key]

    def clear(self) -> None:
        """Remove every element."""
        self.elements.clear()

    def overflow_message(self) -> str:
        """The text of the error for a full array."""
        if self.var.capacity_declared:
            return errors.ARRAY_OVERFLOW_SIZED % self.var.capacity
        return errors.ARRAY_OVERFLOW

    def _make_room(self) -> None:
        if len(self.elements) < self.var.capacity:
            return
        if not self.var.wrap:
            raise ArrayFullError
        del self.elements[next(iter(self.elements))]


def _matches(key: Key, pattern: Pattern) -> bool:
    return all(want is None or part == want for part, want in zip(key, pattern))
