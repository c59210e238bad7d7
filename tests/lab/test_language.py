"""The language, as tests/runtime has it, on the kernels of the lab."""

from __future__ import annotations

import pytest

from datadriven import Case
from runtime import test_language as language

pytestmark = pytest.mark.lab
runs = language.runs


@pytest.mark.parametrize(
    ("case", "runtime"), [run for run in language.RUNS if run.values[1] == "bpf"]
)
def test_language(runs: language.Runs, case: Case, runtime: str) -> None:
    language.test_language(runs, case, runtime)
