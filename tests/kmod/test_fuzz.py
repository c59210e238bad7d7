"""Fresh random programs as modules in the lab; ``make fuzz-kernel N=1000`` makes more.

``FUZZ_SEED`` repeats those of a failure.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.modules import Modules

from .fuzz import Programs, difference

pytestmark = [pytest.mark.lab, pytest.mark.shared_out]

TOGETHER = 20
COUNT = int(os.environ.get("FUZZ_PROGRAMS", "40"))


@pytest.mark.parametrize("part", range(-(-COUNT // TOGETHER)))
def test_modules_agree_with_the_interpreter(part: int, modules: Modules) -> None:
    first = int(os.environ["FUZZ_SEED"]) + part * TOGETHER
    count = min(TOGETHER, COUNT - part * TOGETHER)
    directory: Path = modules.directory(Programs(range(first, first + count)))
    found = [(first + number, difference(directory, number)) for number in range(count)]
    texts = [f"===== seed {seed}\n{text}" for seed, text in found if text]
    assert not texts, "\n".join(texts)
