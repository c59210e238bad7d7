"""The report of ``-t`` from the counters of a session."""

from __future__ import annotations

import os
import struct

from pystap.backend.bpf.artifact import (
    CONTROL_CYCLES_PER_US,
    HITS_WORDS,
    LOCK_CONTENDED,
    LOCK_STRIDE,
)
from pystap.output.hits import Times, hit_report, merge
from pystap.session.outfile import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystap.backend.bpf.artifact import Artifact
    from pystap.session.loader import Loaded

_WORD = 2**64 - 1
_SIGN = 2**63
_STDERR = 2


def print_report(artifact: Artifact, loaded: Loaded, fd: int, armed_in: int) -> None:
    """Write the report to ``fd``, where the script's output went, if that is a terminal or
    STP_FORCE_STDOUT_TTY says so; otherwise to standard error, so that a file or pipe holds the
    output alone.  ``armed_in`` are the nanoseconds that loading and attaching took.

    Raises :class:`~pystap.output.consumer.OutputError`.
    """
    unit = artifact.timing
    rate = loaded.control[CONTROL_CYCLES_PER_US]
    times = [_times(loaded, index) for index in range(len(artifact.probes))]
    start = Times(1, armed_in, armed_in, armed_in, armed_in, 0)
    if unit == "cycles":
        times = [time.scaled(rate, 1000) for time in times]
        start = start.scaled(rate, 1000)
    text = hit_report(artifact.probes, times, unit, start, _contention(artifact, loaded))
    shown = artifact.force_tty or os.isatty(fd)
    _write(fd if shown else _STDERR, text.encode("latin-1", "replace"))


def _write(fd: int, data: bytes) -> None:
    from pystap.output.consumer import OutputError

    try:
        write_all(fd, data)
    except OSError as error:
        raise OutputError(error.errno or 0) from error


def _times(loaded: Loaded, index: int) -> Times:
    """The hits of a probe on all CPUs."""
    value = loaded.by_role["hits"].lookup(struct.pack("=I", index)) or b""
    size = 8 * HITS_WORDS
    return merge(_slot(value[at : at + size]) for at in range(0, len(value), size))


def _slot(words: bytes) -> Times:
    count, sum_, least, most, mean, m2 = struct.unpack("=6Q", words)
    signed_mean = mean - 2 * _SIGN if mean >= _SIGN else mean
    return Times(count, sum_, least ^ _WORD, most, signed_mean, m2)


def _contention(artifact: Artifact, loaded: Loaded) -> list[tuple[str, int]]:
    """How often each lock was not free at once."""
    locks = loaded.by_role.get("locks")
    if locks is None:
        return []
    words = locks.mmap(writable=False).view.cast("Q")
    return [
        (name, words[slot * LOCK_STRIDE // 8 + LOCK_CONTENDED])
        for slot, name in enumerate(artifact.locks)
    ]
