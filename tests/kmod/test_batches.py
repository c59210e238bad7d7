"""The language, as tests/runtime has it, by modules in the machines of the lab.

The same code runs in a process for all cases (test_language.py); here it is the kernel's part
that counts, so that a selection is enough except with ``--lab-whole``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from datadriven import Case, assert_case, load_cases
from lab.modules import Modules
from runtime import test_language as language

from .batch import Runs

pytestmark = pytest.mark.lab

CASES = [
    case
    for case in load_cases(language.DATA)
    if "reference" in case.get("runtimes", "bpf reference").split()
    and not re.search(r"%\(\s*runtime\b", case.input)  # tells runtimes apart
]


@pytest.fixture(scope="module")
def batches(request: pytest.FixtureRequest, modules: Modules) -> Iterator[Runs]:
    """The runs of the selected tests."""
    items = [item for item in request.session.items if item.path == request.path]
    specs = [getattr(item, "callspec", None) for item in items]
    wanted = [language.words_of(spec.params["case"], "kernel") for spec in specs if spec]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        yield Runs(modules, wanted)


@pytest.mark.shared_out(one_in=8)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_language(batches: Runs, case: Case) -> None:
    done = batches.run(*language.words_of(case, "kernel"))
    assert_case(case, language.marked(done.out))
    assert_case(case, done.err, "err")
    assert done.status == int(case.get("status", "0"))
