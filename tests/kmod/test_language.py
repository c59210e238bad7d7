"""The language cases through the C of the kernel-module runtime, compiled for a process.

The process has the runtime's own strings, arrays, aggregates, errors and printing, and begin and
end probes; the kernel it has not: cases with other probes run on the lab's kernels.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from datadriven import Case, load_cases
from pystap.backend.kmod.build import RUNTIME
from pystap.backend.kmod.check import check_module
from pystap.backend.kmod.source import print_c
from pystap.cli.parse import parse
from pystap.cli.passes import Front, translate_to_ir
from pystap.cli.report import PassReport
from pystap.cli.script import read_script
from pystap.ir.module import Module
from pystap.lang.limits import allow_deep_trees
from pystap.probes.attach import SessionEvent

DATA = Path(__file__).parents[1] / "runtime" / "data"
NO_NEWLINE = "\n(no newline)\n"
FLAGS = ["-O0", "-pipe", "-fwrapv", "-fno-strict-aliasing", "-w"]
TIMEOUT = 60
# What only a session tells, or another stage of it.
_OTHERS = ("options:", "session:warn_hidden", "compatible:a_future_release")


def translated(case: Case) -> Module | None:
    """The case's IR; None when another stage ends it."""
    allow_deep_trees()
    words = [*shlex.split(case.get("options")), "-e", case.input]
    if "args" in case.sections:
        words += case.get("args").split("\n")
    options = parse([os.fsdecode(word.encode("latin-1")) for word in words])
    name, text = read_script(options)
    made = translate_to_ir(Front(options), name, text, PassReport(options.verbose))
    return None if isinstance(made, int) else made[1]


def runs_in_a_process(case: Case) -> bool:
    """Whether a case needs neither events of the kernel nor a whole session."""
    if "reference" not in case.get("runtimes", "bpf reference"):
        return False
    return not any(word in str(case) for word in _OTHERS)


CASES = [case for case in load_cases(DATA) if runs_in_a_process(case)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_language(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    module = translated(case)
    if module is None:
        assert case.get("status", "0") != "0" or not case.get("out")
        return
    if any(not isinstance(probe.attach, SessionEvent) for probe in module.probes):
        print_c(module)  # it can be said in C at least
        return
    check_module(module)
    out, err = run(print_c(module, "in_process.h"), tmp_path)
    expected = case.get("out")
    assert _marked(out).rstrip("\n") == expected.rstrip("\n")
    assert _messages(err) == _messages(case.get("err"))


def run(source: str, work: Path) -> tuple[str, str]:
    """What the program of a C text prints."""
    text, program = work / "case.c", work / "case"
    text.write_text(source, encoding="latin-1")
    command = ["gcc", *FLAGS, "-iquote", str(RUNTIME), str(text), "-o", str(program)]
    subprocess.run(command, check=True)
    done = subprocess.run([program], capture_output=True, timeout=TIMEOUT)
    assert done.returncode in (0, 1)
    return done.stdout.decode("latin-1"), done.stderr.decode("latin-1")


def _messages(text: str) -> list[str]:
    """Run-time messages, without those of other stages and of the session's end."""
    compile_time = ("WARNING: never-assigned", "WARNING: side-effect-free", "WARNING: unused")
    return [
        line
        for line in text.splitlines()
        if line.startswith(("ERROR: ", "WARNING: ")) and not line.startswith(compile_time)
    ]


def _marked(out: str) -> str:
    return out + NO_NEWLINE if out and not out.endswith("\n") else out
