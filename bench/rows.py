"""One line of the table of results."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table: ``bar`` is what ``ratio`` (or the value) must not exceed."""

    what: str
    ours: str
    peer: str
    ratio: float
    bar: float

    def text(self) -> str:
        """The row with its verdict."""
        verdict = "ok" if self.ratio <= self.bar else "MISSED"
        return (
            f"{self.what:<44} {self.ours:>16} {self.peer:>16} "
            f"{self.ratio:>8.3f} {self.bar:>8.3f}  {verdict}"
        )
