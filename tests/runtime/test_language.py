"""Scripts and what they print, on every runtime.

A case is a script; sections: ``[args]`` script arguments (one a line), ``[options]`` words of
the command line, ``[out]`` standard output, ``[err]`` standard error (both exact; a mark tells
of output that does not end in a newline), ``[status]`` (default 0), ``[runtimes]`` (default: bpf
reference).  The cases of ``basics.test`` run by the real command, the others by a fork of it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import inprocess
import stap
from datadriven import Case, assert_case, load_cases

DATA = Path(__file__).parent / "data"
CASES = load_cases(DATA)
RUNS = [
    pytest.param(case, runtime, id=f"{case}-{runtime}")
    for case in CASES
    for runtime in case.get("runtimes", "bpf reference").split()
]
NO_NEWLINE = "\n(no newline)\n"
TIMEOUT = 60.0


class Runs:
    """Runs started ahead of the tests that want them, as many as there are CPUs."""

    def __init__(self, wanted: list[tuple[Case, str]]) -> None:
        # Workers of pytest-xdist share the tests among them: none knows which are its own.
        shared = "PYTEST_XDIST_WORKER" in os.environ
        self._ahead = 1 if shared else 2 * len(os.sched_getaffinity(0))
        self._places = {(str(case), runtime): at for at, (case, runtime) in enumerate(wanted)}
        self._wanted = wanted
        self._started: dict[int, inprocess.Run] = {}

    def take(self, case: Case, runtime: str) -> stap.Done:
        """Start this run and the next ones unless that has been done; give how this one ended."""
        at = self._places[str(case), runtime]
        for index in range(at, min(at + self._ahead, len(self._wanted))):
            if index not in self._started:
                self._started[index] = inprocess.Run(*words_of(*self._wanted[index]))
        return self._started.pop(at).end(TIMEOUT)

    def finish(self) -> None:
        """End what nobody asked for."""
        for run in self._started.values():
            run.end(TIMEOUT)


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """The runs of the selected tests, with a cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYSTEMTAP_DIR", str(tmp_path_factory.mktemp("systemtap")))
        patch.setenv("TZ", "UTC")
        started = Runs(selected(request))
        yield started
        started.finish()


def selected(request: pytest.FixtureRequest) -> list[tuple[Case, str]]:
    """Case and runtime of the selected tests of a module that run as a fork."""
    items = [item for item in request.session.items if item.path == request.path]
    specs = [getattr(item, "callspec", None) for item in items]
    found = [spec.params for spec in specs if spec and "runtime" in spec.params]
    return [(p["case"], p["runtime"]) for p in found if not by_command(p["case"])]


def by_command(case: Case) -> bool:
    """Whether a case runs by the real command."""
    return case.path.stem == "basics"


@pytest.mark.parametrize(("case", "runtime"), RUNS)
def test_language(runs: Runs, case: Case, runtime: str) -> None:
    if by_command(case):
        done = stap.stap(*words_of(case, runtime), timeout=TIMEOUT)
    else:
        done = runs.take(case, runtime)
    assert_case(case, marked(done.out))
    assert_case(case, done.err, "err")
    assert done.status == int(case.get("status", "0"))


def words_of(case: Case, runtime: str) -> list[str]:
    """The command line of a case."""
    words = [f"--runtime={runtime}", *shlex.split(case.get("options")), "-e", case.input]
    if "args" in case.sections:
        words += case.get("args").split("\n")
    return [os.fsdecode(word.encode("latin-1")) for word in words]


def marked(out: str) -> str:
    return out + NO_NEWLINE if out and not out.endswith("\n") else out
