"""What handlers cost inside the kernel: its own clock of every run, and what the verifier did."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from bench.rows import Row
from bench.tools import STAP, tracer
from pystap.kernel.bpf import enable_run_statistics

_ROUNDS = 1000  # of a loop in a handler
_WATCHED_S = 1.5
_HIDDEN = "the quick brown fox jumps over the lazy dog and " * 2 + "omeg"  # 100 bytes
_ALTERNATIVES = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "omega",
)  # fmt: skip

_FOREACH = """
global a[10000], x
probe begin {
  for (i = 0; i < 10000; i++) a[i * 7919 % 10007] = i * 7907 % 10009
  println("ready")
}
probe timer.ms(10) { foreach (k in a- limit 10) x += a[k] }
"""
_LOOP = """
global s = "%s", n
probe begin { println("ready") }
probe timer.ms(10) {
  for (i = 0; i < %d; i++) if (%s) n++
}
"""
_HELLO = 'probe begin { println("hello world") println("ready") println("done") }'
_KEYED = """
global a
probe kernel.trace("sched_switch") { a[pid(), execname()] <<< $next->pid }
probe begin { println("ready done") }
probe end { foreach ([p, e] in a) { printf("%d %s %d %d %d %d %d\\n", p, e, @count(a[p, e]),
            @sum(a[p, e]), @min(a[p, e]), @max(a[p, e]), @avg(a[p, e]))
            print(@hist_log(a[p, e])) } }
"""


class Loaded(NamedTuple):
    """A program that a process holds: runs, the ns they took, instructions verified."""

    runs: int
    run_ns: int
    verified: int


def programs(pid: int) -> dict[int, Loaded]:
    """The BPF programs behind the descriptors of a process (proc(5), fdinfo), by number."""
    found = {}
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        words = dict(line.split(":", 1) for line in entry.read_text().splitlines() if ":" in line)
        if "prog_type" in words:
            found[int(words["prog_id"])] = Loaded(
                int(words["run_cnt"]), int(words["run_time_ns"]), int(words["verified_insns"])
            )
    return found


@contextmanager
def _clocked() -> Iterator[None]:
    """The kernel takes the time of every program run meanwhile."""
    fd = enable_run_statistics()
    try:
        yield
    finally:
        os.close(fd)


def _loaded(script: str, work: Path) -> list[Loaded]:
    """The programs of a script when it has printed its last word."""
    with tracer([STAP, "--disable-cache", "-e", script], "done", work / "kernel.txt") as process:
        return list(programs(process.pid).values())


def _quickest(script: str, work: Path) -> float:
    """Least ns that the program which takes longest took for a run.

    The kernel's clock goes on while a run is interrupted, so the least is the honest one; the
    first runs, which fill caches, are among those looked at.
    """
    out = work / "kernel.txt"
    command = [STAP, "--disable-cache", "-DMAXACTION=1000000", "-e", script]
    seen: dict[int, list[Loaded]] = {}
    with tracer(command, "ready", out) as process:
        until = time.monotonic() + _WATCHED_S
        while time.monotonic() < until:
            for number, program in programs(process.pid).items():
                seen.setdefault(number, []).append(program)
            time.sleep(0.02)
    least = []
    for states in seen.values():
        if states[-1].runs < 10:
            continue
        steps = [(b.run_ns - a.run_ns, b.runs - a.runs) for a, b in pairwise(states)]
        least.append(min(ns / runs for ns, runs in steps if runs))
    return max(least)


def in_kernel(work: Path) -> list[Row]:
    """Time in the kernel of the largest things handlers do."""
    match = f's =~ "{"|".join(_ALTERNATIVES)}"'
    with _clocked():
        foreach = _quickest(_FOREACH, work)
        with_match, without = (
            _quickest(_LOOP % (_HIDDEN, _ROUNDS, test), work) for test in (match, "n < 0")
        )
        regex = (with_match - without) / _ROUNDS
    return [
        Row("foreach (k in a- limit 10), 10,000 entries", f"{foreach / 1e6:.2f} ms", "-",
            foreach / 1e6, 2.0),
        Row("regex of 20 alternatives, 100 bytes", f"{regex / 1e3:.2f} us", "-",
            regex / 1e3, 2.0),
    ]  # fmt: skip


def verified(work: Path) -> list[Row]:
    """Instructions the verifier looked at for the handler of an event."""
    hello = max(p.verified for p in _loaded(_HELLO, work))
    keyed = sorted(p.verified for p in _loaded(_KEYED, work))[-2]  # the report has more
    return [
        Row("verified for hello world", str(hello), "-", float(hello), 500.0),
        Row("verified for a[pid(), execname()] <<< x", str(keyed), "-", float(keyed), 3000.0),
    ]
