"""One seed: run, compare, cut down, report."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from .compare import difference
from .programs import Program, random_program
from .shrink import shrink
from .tree import text_of


@contextmanager
def prepare() -> Iterator[None]:
    """Runs in here have a cache of their own."""
    before = os.environ.get("SYSTEMTAP_DIR")
    with tempfile.TemporaryDirectory() as directory:
        os.environ["SYSTEMTAP_DIR"] = directory
        try:
            yield
        finally:
            if before is None:
                del os.environ["SYSTEMTAP_DIR"]
            else:
                os.environ["SYSTEMTAP_DIR"] = before


def report(seed: int, shrink_seconds: float) -> str:
    """What is wrong with the program of a seed; empty when nothing is."""
    program = random_program(seed)
    found = difference(program)
    if found is None:
        return ""
    kind = found.kind

    def fails(candidate: Program) -> bool:
        other = difference(candidate)
        return other is not None and other.kind == kind

    program = shrink(program, fails, shrink_seconds)
    final = difference(program) or found
    options = " ".join(program.options)
    return (
        f"===== seed {seed}: {kind}\nstap {options} -e '\n{text_of(program.tree)}'\n{final.text}"
    )
