"""Runs a program on both runtimes and past the oracle, and tells how they differ."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import inprocess
from pystap.cli.passes import Front
from pystap.lang.limits import allow_deep_trees
from pystap.lang.source import Source
from pystap.options import Options
from stap import Done

from .oracle import Oracle, Outcome, Unsure
from .programs import Program
from .runs import run
from .tree import text_of

RUNTIMES = ("reference", "bpf")
# Options that tell the oracle nothing.
_HARMLESS = {"-w", "-u", "--no-global-var-display", "--compatible=4.3", "-T0.001"}
_KNOWN_DEFINES = {"MAXSTRINGLEN", "MAXERRORS", "MAXMAPENTRIES", "MAXACTION"}


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
    results: dict[str, Done] = {}
    words = tuple(os.fsdecode(w.encode("latin-1")) for w in program.options)
    cpus = {0} if "variance" in script else None
    try:
        results = run(words, script, RUNTIMES, cpus)
    except inprocess.TimedOut as error:
        return Difference("hangs", str(error))
    for runtime, done in results.items():
        trouble = re.search(r"Traceback|verifier: .*|Pass [1-4]: .*failed|LLVM ERROR", done.err)
        if trouble or done.status not in (0, 1):
            kind = _plain(trouble[0] if trouble else f"status {done.status}", done.err)
            return Difference(f"{runtime}: {kind}", done.err)
    one, other = results.values()
    for what, left, right in (
        ("status", str(one.status), str(other.status)),
        ("standard error", one.err, other.err),
        ("output", one.out, other.out),
    ):
        if left != right:
            return Difference(what, _shown(what, dict(zip(RUNTIMES, (left, right)))))
    return _against_oracle(program, script, one)


def _against_oracle(program: Program, script: str, done: Done) -> Difference | None:
    """Unoptimised programs only: dead code may fail, or not be there."""
    if not {"-u", "--no-global-var-display"} <= set(program.options):
        return None
    try:
        wanted = _foretold(program, script)
    except Unsure:
        return None
    if "MAXACTION exceeded" in done.err or "MAXACTION exceeded" in done.out:
        return None
    output = wanted.output.decode("latin-1")
    if done.out != output:
        shown = _shown("output", {"reference": done.out, "oracle": output})
        return Difference("output of the oracle", shown)
    at = 0
    for message in wanted.errors:
        at = done.err.find(f"ERROR: {message} near ", at) + 1
        if not at:
            return Difference("errors of the oracle", f"{done.err}\n{wanted.errors}")
    reported = re.search(r"Number of errors: (\d+)", done.err)
    if int(reported[1] if reported else 0) != len(wanted.errors):
        return Difference("errors of the oracle", f"{done.err}\n{wanted.errors}")
    if done.status != wanted.failed:
        return Difference("status of the oracle", str(done.status))
    return None


def _foretold(program: Program, script: str) -> Outcome:
    allow_deep_trees()
    front = Front(Options())
    file = front.parse(Source("<input>", script))
    defines = {}
    for option in program.options:
        if option.startswith("-D"):
            name, _, value = option[2:].partition("=")
            defines[name] = int(value)
        elif option not in _HARMLESS:
            raise Unsure(option)
    if not defines.keys() <= _KNOWN_DEFINES:
        raise Unsure("defines")
    return Oracle(file, program.types, program.shapes, defines).run()


def _shown(what: str, texts: dict[str, str]) -> str:
    return "".join(f"--- {what} of {who}\n{text}\n" for who, text in texts.items())


def _plain(trouble: str, err: str) -> str:
    """What stays the same while a program is cut down."""
    if trouble == "Traceback":
        trouble = err.strip().rpartition("\n")[2]
    elif trouble.startswith("Pass"):
        trouble = err.strip().partition("\n")[0]
    return re.sub(r"\d+", "N", trouble)
