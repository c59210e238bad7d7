"""Probes in programs on other kernels: what their verifiers say, and reads that must wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from datadriven import Case, load_cases
from userland import test_entry_values, test_programs, test_thread_local
from userland.programs import build

pytestmark = pytest.mark.lab

DATA = Path(test_programs.__file__).parent / "data"
CASES = [
    case
    for case in load_cases(DATA)
    if str(case)
    in (
        "variables:structures",
        "variables:objects_by_value",
        "places:returns",
        "places:callees",
        "marks:arguments",
        "marks:semaphores",
        "memory:never_touched_before",
        "syscalls:entries_and_returns",
        "syscalls:children_of_the_target",
        "floats:in_memory",
        "cplusplus:members_and_references",
    )
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_prints_what_the_program_knows(case: Case, tmp_path: Path) -> None:
    test_programs.test_prints_what_the_program_knows(case, "-O2 -gdwarf-5 -pie", tmp_path)


def test_thread_local_variables(tmp_path: Path) -> None:
    test_thread_local.test_in_a_library(tmp_path, "")


def test_values_of_entries(tmp_path: Path) -> None:
    flags = "-g -O2 -pthread -DTHREADS=3 -DROUNDS=5 -DDEPTH=15"
    program = build(test_entry_values.SOURCE, tmp_path, flags)
    found = test_entry_values.values(program, "one", "deeper", "$n", "")
    assert found == {f"{n} {3 * n}": 5 for n in range(16)}
    test_entry_values.test_forks_inside_of_calls(program)
    test_entry_values.test_errors_at_the_entry(program, "in_call")
