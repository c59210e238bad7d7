"""Scripts and what they print, on every runtime that can run them.

A case is a script; sections: ``[args]`` script arguments (one a line), ``[options]`` words of
the command line, ``[out]`` standard output, ``[err]`` standard error (exact), ``[status]``
(default 0), ``[runtimes]`` (default: bpf reference).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from datadriven import Case, assert_case, load_cases

STAP = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "stap"
CASES = load_cases(Path(__file__).parent / "data")
RUNS = [
    pytest.param(case, runtime, id=f"{case}-{runtime}")
    for case in CASES
    for runtime in case.get("runtimes", "bpf reference").split()
]


@pytest.mark.parametrize(("case", "runtime"), RUNS)
def test_language(case: Case, runtime: str) -> None:
    command = [str(STAP), f"--runtime={runtime}", *case.get("options").split(), "-"]
    if case.get("args"):
        command += case.get("args").split("\n")
    done = subprocess.run(
        command,
        input=case.input.encode("latin-1"),
        capture_output=True,
        timeout=60,
        env={**os.environ, "TZ": "UTC"},
    )
    assert_case(case, done.stdout.decode("latin-1"))
    assert_case(case, done.stderr.decode("latin-1"), "err")
    assert done.returncode == int(case.get("status", "0"))
