"""Processes by the path of their program, on the stacked file systems of a machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stap import stap

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("layer", ["lower", "upper"])
def test_begin_and_end_by_path(layer: str, tmp_path: Path) -> None:
    program = Path("/bin/busybox")
    if layer == "upper":
        program = Path(shutil.copy(program, tmp_path / "busybox"))
    edges = " ".join(f"probe process(@1).{edge} {{ println(pp()) }}" for edge in ("begin", "end"))
    done = stap("-e", edges, "-c", f"{program} true", program, timeout=300)
    shown = program.resolve()
    assert done.out == f'process("{shown}").begin\nprocess("{shown}").end\n'
    assert (done.err, done.status) == ("", 0)
