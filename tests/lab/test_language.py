"""The language, as tests/runtime has it, on the kernels of the lab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from datadriven import Case
from runtime import test_language as language

from . import ahead

pytestmark = pytest.mark.lab
runs = language.runs


@pytest.fixture(scope="module", autouse=True)
def lent(request: pytest.FixtureRequest) -> Iterator[None]:
    """Translations made outside of the machine, for scripts that do not look at its files."""
    directory = Path(request.config.getoption("lab_directory"))
    with pytest.MonkeyPatch.context() as patch:
        # one start of the command is enough where it takes so long
        patch.setattr(language, "by_command", lambda case: str(case) == "basics:hello")
        patch.setattr(language, "TIMEOUT", 300.0)
        wanted = [
            language.words_of(case, runtime)
            for case, runtime in language.selected(request)
            if "process" not in case.input
        ]
        ahead.ask(directory, wanted)
        ahead.lend(directory, patch.setattr)
        yield


@pytest.mark.shared_out(one_in=6)
@pytest.mark.parametrize(
    ("case", "runtime"), [run for run in language.RUNS if run.values[1] == "bpf"]
)
def test_language(runs: language.Runs, case: Case, runtime: str) -> None:
    language.test_language(runs, case, runtime)
