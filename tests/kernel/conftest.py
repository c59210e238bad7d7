"""Checks around every kernel test that nothing stays open behind it."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    gc.collect()  # an expected error may still hold what it passed through
    left = []
    for fd in set(os.listdir("/proc/self/fd")) - before:
        try:
            left.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    assert left == []
