"""Fresh random programs in every run of the tests."""

from __future__ import annotations

import time

import pytest

from .check import prepare, report

COUNT = 40


def test_runtimes_agree(capsys: pytest.CaptureFixture[str]) -> None:
    first = time.time_ns() % 10**9
    print(f"seeds {first} to {first + COUNT - 1}: python -m tests.fuzz {COUNT} {first}")
    with prepare():
        failures = [text for s in range(first, first + COUNT) if (text := report(s, 30))]
    assert not failures, "\n".join(failures)
