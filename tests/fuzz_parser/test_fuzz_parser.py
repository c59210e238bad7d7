"""Damaged scripts, the same ones in every run; ``make fuzz-parser`` makes fresh ones."""

from __future__ import annotations

from collections import Counter

import pytest

from pystap.options import Options

from .check import check, script_of

FIRST, COUNT = 0, 1000


FOUND = [
    "probe ** { println(1) }",
    "probe begin { println(&x) }",
    "probe begin { foreach (b in @hist_log($x)) println(b) }",
    "probe begin { if (println()) exit() }",
    "global s probe begin if (@max(s)) { s <<< 1 }",
]


@pytest.mark.parametrize("text", FOUND)
def test_what_was_found(text: str) -> None:
    """Scripts that once ended in a traceback."""
    end = check(text, Options())
    assert not end.failure, end.failure


def test_damaged_scripts_end_in_diagnostics() -> None:
    ends: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + COUNT):
        text, options = script_of(seed)
        end = check(text, options)
        ends[end.stage] += 1
        assert not end.failure, f"python -m tests.fuzz_parser 1 {seed}\n{end.failure}"
    assert ends["parse"] > COUNT / 10, ends
    assert ends["analyse"] > COUNT / 10, ends
    assert ends["ok"] > COUNT / 100, ends
