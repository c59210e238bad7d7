"""Embedded C, compiled for a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from datadriven import Case, load_cases
from kmod.test_language import run, translated
from pystap.backend.kmod.source import print_c
from pystap.ir.check import check

CASES = load_cases(Path(__file__).parent / "data")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_embedded(case: Case, tmp_path: Path) -> None:
    case.sections["options"] = f"-g --runtime=kernel {case.get('options')}"
    module = translated(case)
    assert module is not None
    assert check(module) == []
    out, err = run(print_c(module, "in_process.h"), tmp_path)
    assert out.rstrip("\n") == case.out.rstrip("\n")
    assert err.rstrip("\n") == case.get("err").rstrip("\n")
