"""Handlers run as if alone, with two CPUs at work in the same globals."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

import inprocess
from datadriven import Case, load_cases

HERE = Path(__file__).parent
CASES = load_cases(HERE / "data" / "atomicity.test")
CALLS = 60_000  # of each CPU
HITS = 2 * CALLS
NAME = f"hammer-{os.getpid()}"  # its own for each process that runs tests side by side
CALL = "syscall.sched_get_priority_max"
ALIASES = (
    f'probe hit = {CALL} {{ if (execname() != "{NAME}") next }} '
    f'probe back = {CALL}.return {{ if (execname() != "{NAME}") next }} '
    "function slowly() { return strlen(sprint(gettimeofday_ns())) > 0 }"
)
# However often a lock is not free in time: the hit is skipped, and the session goes on.
OPTIONS = ("-DMAXSKIPPED=1000000", "-DSTP_NO_OVERLOAD", "--no-global-var-display")


@pytest.fixture(scope="session")
def hammer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program in which two CPUs make the same system call all the time."""
    path = tmp_path_factory.mktemp("hammer") / NAME
    command = ["gcc", "-O2", "-pthread", "-o", str(path), str(HERE / "hammer.c")]
    subprocess.run(command, check=True)
    return str(path)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_if_alone(case: Case, hammer: str) -> None:
    words = [*OPTIONS, *case.get("options").split(), "-E", ALIASES, "-e", case.input]
    done = inprocess.stap(*words, "-c", f"{hammer} {CALLS}")
    assert done.status == 0, done.err
    found = re.fullmatch(r"ran (-?\d+) wrong (-?\d+)\n", done.out)
    assert found, (done.out, done.err)
    ran, wrong = map(int, found.groups())
    assert wrong == 0
    assert HITS - skipped(done.err) <= ran <= HITS


def skipped(complaints: str) -> int:
    """Skipped hits as the session counted them."""
    found = re.search(r"skipped probes: (\d+)", complaints)
    return int(found[1]) if found else 0
