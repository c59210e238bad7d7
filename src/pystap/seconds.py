"""Lengths of time as command lines give them."""

from __future__ import annotations

_LONGEST = 1e9


def read_seconds(text: str) -> float | None:
    """A number of seconds, whole or not; None for a text that is none that can be waited."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds < _LONGEST else None
