"""Fresh random programs in every run of the tests.

The seeds are printed at the end of a run, and with a failure; ``FUZZ_SEED`` in the environment,
or ``make fuzz N=1 SEED=...``, repeats them.  A failure is always a bug: of a runtime, of the
passes before it, or of what makes the programs.
"""

from __future__ import annotations

import os

import pytest

from .check import prepare, report

PARTS, COUNT = 6, 50  # in parts, for several workers to share


@pytest.mark.parametrize("part", range(PARTS))
def test_runtimes_agree(part: int) -> None:
    first = int(os.environ["FUZZ_SEED"]) + part * COUNT
    failures = []
    with prepare():
        for seed in range(first, first + COUNT):
            text = report(seed, shrink_seconds=0 if failures else 60)
            if text:
                failures.append(text)
    assert not failures, f"seeds {first} to {first + COUNT - 1}:\n" + "\n".join(failures)
