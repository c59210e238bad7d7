"""Probes in programs whose own words tell what the probes must print.

A case is a script, in which ``@P@`` is the program, and the program's source (``[c]`` or
``[cxx]``).  The program writes to its standard error what the script must write to standard
output.  It is built as each line of ``[flags]`` says (default: ``programs.BUILDS``).
"""

from __future__ import annotations

from pathlib import Path

import pytest

import inprocess
from datadriven import Case, load_cases
from userland.programs import BUILDS, build

CASES = load_cases(Path(__file__).parent / "data")
RUNS = [
    pytest.param(case, flags, id=f"{case}{flags.replace(' ', '')}")
    for case in CASES
    for flags in case.get("flags", "\n".join(BUILDS)).splitlines()
]


@pytest.mark.parametrize(("case", "flags"), RUNS)
def test_prints_what_the_program_knows(case: Case, flags: str, tmp_path: Path) -> None:
    language = "cxx" if "cxx" in case.sections else "c"
    program = build(case.get(language), tmp_path, flags, language)
    script = case.input.replace("@P@", str(program))
    done = inprocess.Run("-c", str(program), "-e", script).end(60)
    assert done.err, "the program is to say something"
    assert done.out == done.err
    assert done.status == 0
