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

    def met(self) -> bool:
        """Whether the bar is met."""
        return self.ratio <= self.bar

    def text(self) -> str:
        """The row with its verdict."""
        verdict = "ok" if self.met() else "MISSED"
        return (
            f"{self.what:<44} {self.ours:>16} {self.peer:>16} "
            f"{self.ratio:>8.3f} {self.bar:>8.3f}  {verdict}"
        )


def print_table(rows: list[Row]) -> None:
    """All rows, under a headline."""
    print(f"{'':<44} {'pystap':>16} {'peer':>16} {'ratio':>8} {'bar':>8}")
    for row in rows:
        print(row.text())
