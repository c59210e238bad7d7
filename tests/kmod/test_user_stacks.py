"""User-space stacks and symbols by modules: what the eBPF runtime prints of the same programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from datadriven import Case, assert_case, load_cases
from kmod.programs import Program
from lab.modules import Modules, staprun
from userland import test_stack_processes as processes
from userland import test_user_stacks as by_bpf

pytestmark = [pytest.mark.lab, pytest.mark.shared_out(one_in=8)]

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

ANY = """
probe syscall.getppid {
  if (execname() == "program" && usymname(ustack(1)) == "leaf") { print_ubacktrace(); exit() }
}
"""
RUNNING = Program(
    Case(Path(__file__), "running", 0, {"input": ANY, "c": processes.SOURCE}), processes.FLAGS
)


def program_of(case: Case, flags: str) -> Program:
    """A case's program and module."""
    return Program(case, f"{flags} {ALWAYS}")


@pytest.fixture(scope="module", autouse=True)
def asked(request: pytest.FixtureRequest, modules: Modules) -> None:
    """Have the modules of the selected cases made."""
    items = [item for item in request.session.items if item.path == request.path]
    chosen = [spec.params for item in items if (spec := getattr(item, "callspec", None))]
    modules.ask(program_of(one["case"], one["flags"]) for one in chosen if "case" in one)


@pytest.fixture(autouse=True)
def without_debug_information_of_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading that of the C library takes a minute in an emulated machine."""
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", ".debug")


@pytest.mark.parametrize(("case", "flags"), CASES)
def test_prints(case: Case, flags: str, modules: Modules) -> None:
    program = program_of(case, flags)
    done = program.run(modules)
    assert_case(case, by_bpf.plain(done.out, program.path(modules)) + done.err)


def test_processes_that_run_already(modules: Modules) -> None:
    """The target; another one, whose table is made while the session runs, or when somebody
    attaches to it."""
    module = modules.build(RUNNING)
    with processes.running(RUNNING.path(modules)) as process:
        for words in (["-x", str(process.pid), str(module)], [str(module)]):
            done = staprun(*words)
            assert processes.names(done.out) == list(processes.SEEN)
            assert (done.err, done.status) == ("", 0)
        assert staprun("-L", str(module)).status == 0
        done = staprun("-A", module.stem)
    assert processes.names(done.out) == list(processes.SEEN), done.err
