"""Probes in programs by modules: the cases whose programs know what must be printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from datadriven import Case, load_cases
from kmod.programs import Program
from lab.modules import Modules
from userland import test_programs

pytestmark = [pytest.mark.lab, pytest.mark.shared_out]

CASES = [
    *load_cases(Path(test_programs.__file__).parent / "data"),
    *load_cases(Path(__file__).parent / "data_programs"),
]


@pytest.fixture(scope="module", autouse=True)
def asked(request: pytest.FixtureRequest, modules: Modules) -> None:
    """Have the modules of the selected cases made."""
    items = [item for item in request.session.items if item.path == request.path]
    cases = [spec.params["case"] for item in items if (spec := getattr(item, "callspec", None))]
    modules.ask(Program(case) for case in cases)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_prints_what_the_program_knows(case: Case, modules: Modules) -> None:
    done = Program(case).run(modules)
    assert done.err, "the program is to say something"
    assert (done.out, done.status) == (done.err, 0)
