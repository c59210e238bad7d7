"""The ``-v`` lines of each pass, and plain messages on standard error."""

from __future__ import annotations

import os
import time

from pystap.session.outfile import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystap.session.cache import Entry

_PASS_NAMES = ("parse", "analysis", "translation", "compilation", "run")


def complain(text: str, end: str = "\n") -> None:
    """Write to standard error, bytes above 0x7f unchanged."""
    write_all(2, (text + end).encode("latin-1", "replace"))


class NeedsModule(Exception):  # noqa: N818 - a change of plan, not an error
    """Only the kernel-module runtime can do what a script wants, and nobody chose another."""


class PassReport:
    """Times each pass and prints its line when its verbosity asks for it."""

    def __init__(self, verbose: list[int]) -> None:
        self.verbose = verbose
        self._start = (0.0, 0.0, 0.0)
        self.begin()

    def begin(self) -> None:
        """A pass begins now."""
        times = os.times()
        self._start = (times.user, times.system, time.monotonic())

    def end(self, number: int, text: str, memory: bool = True) -> None:
        """A pass ended: ``Pass N: TEXT [using MEM] in Uusr/Ssys/Rreal ms.``"""
        if self.verbose[number - 1]:
            used = f" {_memory()}" if memory else ""
            complain(f"Pass {number}: {text}{used} in {self._elapsed()}")

    def say(self, number: int, text: str) -> None:
        """A plain ``Pass N:`` line."""
        if self.verbose[number - 1]:
            complain(f"Pass {number}: {text}")

    def failed(self, number: int) -> None:
        """The line that tells which pass failed; shown at any verbosity."""
        name = _PASS_NAMES[number - 1]
        complain(f"Pass {number}: {name} failed.  [man error::pass{number}]")

    def cached(self, entry: Entry) -> None:
        """The lines of a translation found in the cache."""
        self.say(2, f"{analysis_text(entry.counts)}, cached.")
        self.say(4, "using cached BPF programs.")
        for note in entry.artifact.notes:
            self.say(4, note)

    def _elapsed(self) -> str:
        times = os.times()
        user, system, real = self._start
        return (
            f"{(times.user - user) * 1000:.0f}usr/{(times.system - system) * 1000:.0f}sys/"
            f"{(time.monotonic() - real) * 1000:.0f}real ms."
        )


def counted(number: int, noun: str) -> str:
    """``1 probe``, ``2 probes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def analysis_text(counts: tuple[int, int, int, int]) -> str:
    """``analyzed script: P probes, F functions, E embeds, G globals``."""
    nouns = ("probe", "function", "embed", "global")
    return "analyzed script: " + ", ".join(counted(n, w) for n, w in zip(counts, nouns))


def _memory() -> str:
    with open("/proc/self/statm", encoding="ascii") as file:
        size, resident, shared, _, _, data, _ = (int(word) * 4 for word in file.read().split())
    return f"using {size}virt/{resident}res/{shared}shr/{data}data kb,"
