"""Pass 2 on scripts: what -p2 prints, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from datadriven import Case, assert_case, load_cases

from .harness import run_case

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("case", load_cases(DATA), ids=str)
def test_case(case: Case, tmp_path: Path) -> None:
    assert_case(case, run_case(case, tmp_path))
