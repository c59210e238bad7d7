"""Suggestions for misspelt names."""

from __future__ import annotations

import time

import pytest

from pystap.diag.suggest import suggest

NAMES = ["begin", "end", "timer", "kernel", "process", "println", "print", "printf", "sprintf"]
NAMES += ["gettimeofday_us", "gettimeofday_ns", "user_string", "user_string_n", "pid", "tid", "HZ"]


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("beginn", ["begin"]),
        ("bgein", ["begin"]),
        ("tiimer", ["timer"]),
        ("prinft", ["printf", "print", "sprintf", "println"]),
        ("Pid", ["pid", "tid"]),
        ("gettimeofday_su", ["gettimeofday_us", "gettimeofday_ns"]),
        ("user_str", ["user_string", "user_string_n"]),
        ("hz", ["HZ"]),
        ("pid", ["tid"]),
        ("completely_else", []),
        ("", []),
        ("x", []),
    ],
)
def test_nearest_first(word: str, near: list[str]) -> None:
    assert suggest(word, NAMES) == near


def test_limit_and_duplicates() -> None:
    assert suggest("abc", ["abd", "abe", "abf", "abd", "abg"], limit=2) == ["abd", "abe"]


def test_fast_on_many_candidates() -> None:
    kinds = [f"{a}_{b}" for a in ("sys", "vfs", "tcp", "do") for b in ("open", "read")]
    names = [f"{kind}_{n}" for kind in kinds for n in range(1500)]
    start = time.process_time()
    assert suggest("sys_opne_77", names)[0] == "sys_open_77"
    assert time.process_time() - start < 1
