"""User-space stacks and symbols by modules: what the eBPF runtime prints of the same programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from datadriven import Case, assert_case, load_cases
from kmod.programs import Program
from lab.modules import Modules
from userland import test_user_stacks as by_bpf

pytestmark = [pytest.mark.lab, pytest.mark.shared_out(one_in=4)]

ALWAYS = "-fno-optimize-sibling-calls -fno-ipa-icf"
CASES = [
    pytest.param(case, flags, id=f"{case}{flags.replace(' ', '')}")
    for case in [
        *load_cases(Path(by_bpf.__file__).parent / "stacks"),
        *load_cases(Path(__file__).parent / "data_stacks"),
    ]
    if case.name != "where_there_is_none"  # a timer of a module interrupts any process
    for flags in case.get("flags", "-O2 -g").splitlines()
]


def program_of(case: Case, flags: str) -> Program:
    """A case's program and module."""
    return Program(case, f"{flags} {ALWAYS}")


@pytest.fixture(scope="module", autouse=True)
def asked(request: pytest.FixtureRequest, modules: Modules) -> None:
    """Have the modules of the selected cases made."""
    items = [item for item in request.session.items if item.path == request.path]
    chosen = [spec.params for item in items if (spec := getattr(item, "callspec", None))]
    modules.ask(program_of(params["case"], params["flags"]) for params in chosen)


@pytest.fixture(autouse=True)
def without_debug_information_of_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading that of the C library takes a minute in an emulated machine."""
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", ".debug")


@pytest.mark.parametrize(("case", "flags"), CASES)
def test_prints(case: Case, flags: str, modules: Modules) -> None:
    program = program_of(case, flags)
    done = program.run(modules)
    assert_case(case, by_bpf.plain(done.out, program.path(modules)) + done.err)
