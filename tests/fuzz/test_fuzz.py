"""Random programs, the same ones in every run of the tests; ``python -m tests.fuzz`` makes fresh
ones."""

from __future__ import annotations

import pytest

from .check import prepare, report

FIRST, COUNT = 1000, 12


def test_runtimes_agree(capsys: pytest.CaptureFixture[str]) -> None:
    print(f"seeds {FIRST} to {FIRST + COUNT - 1}: python -m tests.fuzz {COUNT} {FIRST}")
    with prepare():
        failures = [text for s in range(FIRST, FIRST + COUNT) if (text := report(s, 30))]
    assert not failures, "\n".join(failures)
