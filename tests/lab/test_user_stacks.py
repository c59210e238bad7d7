"""User-space stacks on other kernels: their verifiers, and their trees of mappings."""

from __future__ import annotations

from pathlib import Path

import pytest

from datadriven import Case
from userland import test_stack_processes, test_user_stacks

pytestmark = pytest.mark.lab

_WANTED = (
    "code:signals", "code:vdso", "code:returns", "code:frame_pointers", "shapes:addresses",
    "shapes:given_registers", "sources:inlined", "code:programs_of_32_bits",
)  # fmt: skip
CASES = {
    str(parameters.values[0]): parameters.values
    for parameters in test_user_stacks.CASES
    if str(parameters.values[0]) in _WANTED
}


@pytest.fixture(autouse=True)
def without_debug_information_of_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading that of the C library takes a minute in an emulated machine."""
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", ".debug")


@pytest.mark.shared_out
@pytest.mark.parametrize(("case", "flags"), list(CASES.values()), ids=list(CASES))
def test_prints(case: Case, flags: str, tmp_path: Path) -> None:
    test_user_stacks.test_prints(case, flags, tmp_path)


def test_every_way_to_a_function_is_found(tmp_path: Path) -> None:
    test_user_stacks.check_ways(test_user_stacks.OPTIMISED, 100, tmp_path)


def test_any_process_is_looked_at_when_it_is_met(tmp_path: Path) -> None:
    test_stack_processes.test_any_process_is_looked_at_when_it_is_met(tmp_path)
