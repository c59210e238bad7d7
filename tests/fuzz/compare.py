"""Runs a program on both runtimes and tells how they differ."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import inprocess

from .programs import Program
from .tree import text_of

RUNTIMES = ("bpf", "reference")
_LIMIT = 60.0  # seconds for one run


@dataclass(frozen=True)
class Difference:
    """``kind`` says in a few words what differs, ``text`` shows it."""

    kind: str
    text: str


def difference(program: Program) -> Difference | None:
    """What the runtimes disagree about, or what is wrong with one; None when all is well.

    A script that asks for a variance runs on one CPU: the integer arithmetic of merging would show
    how its samples are spread over CPUs.
    """
    script = text_of(program.tree)
    results = []
    for runtime in RUNTIMES:
        words = [f"--runtime={runtime}", *program.options, "-e", script]
        try:
            done = inprocess.stap(
                *(os.fsdecode(w.encode("latin-1")) for w in words),
                timeout=_LIMIT,
                cpus={0} if "@variance" in script else None,
            )
        except inprocess.TimedOut as error:
            return Difference(f"{runtime} hangs", str(error))
        trouble = re.search(r"Traceback|verifier: .*|Pass [1-4]: .*failed", done.err)
        if trouble:
            return Difference(f"{runtime}: {_plain(trouble[0], done.err)}", done.err)
        results.append(done)
    one, other = results
    for what, left, right in (
        ("status", str(one.status), str(other.status)),
        ("standard error", one.err, other.err),
        ("output", one.out, other.out),
    ):
        if left != right:
            shown = "".join(f"--- {what} of {r}\n{t}\n" for r, t in zip(RUNTIMES, (left, right)))
            return Difference(what, shown)
    return None


def _plain(trouble: str, err: str) -> str:
    """What stays the same while a program is cut down."""
    if trouble == "Traceback":
        trouble = err.strip().rpartition("\n")[2]
    elif trouble.startswith("Pass"):
        trouble = err.strip().partition("\n")[0]
    return re.sub(r"\d+|'[^']*'", "N", trouble)
