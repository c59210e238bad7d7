"""The report of ``-t`` from the counters of a module; see ``report.h`` of its runtime."""

from __future__ import annotations

import os

from pystap.output.hits import Times, hit_report, merge
from pystap.session.outfile import write_all
from pystap.typing import Final, NamedTuple

_UNITS: Final = ("", "cycles", "nsecs", "hits")
_STDERR: Final = 2


class _Probe(NamedTuple):
    """A probe as the report names it."""

    point: str
    origin: str
    derivation: list[str]


class _Report:
    """The rows of the file."""

    def __init__(self, text: str) -> None:
        self.probes: list[_Probe] = []
        self.locks: list[tuple[str, int, int]] = []  # name, hits skipped, times it was not free
        self.numbers: dict[str, int] = {}
        self._parts: list[list[Times]] = []
        for line in text.splitlines():
            self._add(*line.partition(" ")[::2])

    def _add(self, kind: str, rest: str) -> None:
        if kind == "probe":
            point, origin, *derivation = rest.partition(" ")[2].split("\t")
            self.probes.append(_Probe(point, origin, derivation))
            self._parts.append([])
        elif kind == "hits":
            index, *numbers = map(int, rest.split())
            self._parts[index].append(Times(*numbers))
        elif kind == "lock":
            skipped, contended, name = rest.split(" ", 2)
            self.locks.append((name, int(skipped), int(contended)))
        else:
            self.numbers[kind] = int(rest)

    def times(self) -> list[Times]:
        """Of each probe, on all CPUs together."""
        return [merge(parts) for parts in self._parts]


def print_report(directory: str, fd: int, missed: int) -> list[str]:
    """Write the report of the module in a directory of /proc, if it has one: to ``fd`` when that
    is a terminal or shall get it in any case, else to standard error.

    ``missed`` hits came to no handler.  Gives lines about hits that were skipped.
    """
    try:
        with open(f"{directory}/hits", encoding="latin-1") as file:
            report = _Report(file.read())
    except FileNotFoundError:
        return []
    numbers, start = report.numbers, report.numbers["start"]
    began = Times(1, start, start, start, start, 0) if start else None
    contention = [(name, count) for name, _, count in report.locks]
    unit = _UNITS[numbers["unit"]]
    text = hit_report(report.probes, report.times(), unit, began, contention)
    to = fd if numbers["tty"] or os.isatty(fd) else _STDERR
    write_all(to, text.encode("latin-1", "replace"))
    lines = [
        f"WARNING: Skipped due to global '{name}' lock timeout: {skipped}"
        for name, skipped, _ in report.locks
        if skipped
    ]
    reentrant = numbers["reentrant"] + missed
    return lines + ([f"WARNING: Skipped due to reentrancy: {reentrant}"] if reentrant else [])
