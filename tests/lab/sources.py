"""Kernel modules of a test's own C files, built outside of the machine, with debug information.

    PROBED = SourceModule("probed")

    def test_it(modules: Modules) -> None:
        modules.build(PROBED)  # the file

They are made of the files in ``tests/lab/data/NAME`` and called ``NAME.ko``.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from . import kernels
from .modules import Module

DATA = Path(__file__).parent / "data"


class SourceModule(Module):
    """A module by the name of the directory of its files."""

    maker = "lab.sources"

    @property
    def directory(self) -> Path:
        """Its files."""
        return DATA / self.words[0]


def build(kernel: kernels.Kernel, words: list[str], work: Path) -> dict[str, object]:
    """Build a module into a directory: its name there, or what was said instead."""
    [name] = words
    for file in (DATA / name).iterdir():
        shutil.copy(file, work)
    command = ["make", "-s", "-C", str(kernel.build), f"M={work}", "modules"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return {"status": done.returncode, "err": done.stdout + done.stderr, "name": f"{name}.ko"}
