"""Scripts and what they print, on every runtime.

A case is a script; sections: ``[args]`` script arguments (one a line), ``[options]`` words of
the command line, ``[out]`` standard output, ``[err]`` standard error (both exact; a mark tells
of output that does not end in a newline), ``[status]`` (default 0), ``[runtimes]`` (default: bpf
reference).  The cases of ``basics.test`` run by the real command, the others by a fork of it.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

import inprocess
import stap
from datadriven import Case, assert_case, load_cases

CASES = load_cases(Path(__file__).parent / "data")
RUNS = [
    pytest.param(case, runtime, id=f"{case}-{runtime}")
    for case in CASES
    for runtime in case.get("runtimes", "bpf reference").split()
]
NO_NEWLINE = "\n(no newline)\n"


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYSTEMTAP_DIR", str(tmp_path_factory.mktemp("systemtap")))
        patch.setenv("TZ", "UTC")
        yield


@pytest.mark.parametrize(("case", "runtime"), RUNS)
def test_language(case: Case, runtime: str) -> None:
    run = stap.stap if case.path.stem == "basics" else inprocess.stap
    words = [f"--runtime={runtime}", *shlex.split(case.get("options")), "-e", case.input]
    if "args" in case.sections:
        words += case.get("args").split("\n")
    done = run(*(os.fsdecode(word.encode("latin-1")) for word in words))
    assert_case(case, _marked(done.out))
    assert_case(case, done.err, "err")
    assert done.status == int(case.get("status", "0"))


def _marked(out: str) -> str:
    return out + NO_NEWLINE if out and not out.endswith("\n") else out
