"""Modules made as on a machine that runs another kernel: by the headers, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab import kernels
from lab.modules import Module
from stap import STAP


class MadeElsewhere(Module):
    """A module by the words of the command line, of a machine with its own kernel."""

    maker = "kmod.elsewhere"


def build(kernel: kernels.Kernel, words: list[str], work: Path) -> dict[str, object]:
    """Outside: the file's name, or what was said instead."""
    command = [STAP, "--runtime=kernel", "-p4", "-r", str(kernel.build), *words]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    if done.returncode:
        return {"status": done.returncode, "err": done.stderr}
    return {"status": 0, "name": Path(done.stdout.strip()).name}
