"""Test programs, built when they are first asked for."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

INCLUDE = Path(__file__).parents[2] / "include"
#: both levels of optimisation, both versions of DWARF, loaded anywhere and at a fixed address
BUILDS = (
    "-O0 -gdwarf-5 -pie",
    "-O2 -gdwarf-4 -pie",
    "-O0 -gdwarf-4 -no-pie",
    "-O2 -gdwarf-5 -no-pie",
)


def build(source: str, folder: Path, flags: str = "-g", language: str = "c") -> Path:
    """Compile ``source`` with ``flags`` in ``folder``; the program."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ("program.c" if language == "c" else "program.cc")
    file.write_text(source)
    compiler = "gcc" if language == "c" else "g++"
    command = [compiler, *shlex.split(flags), f"-I{INCLUDE}", "-o", "program", file.name]
    if "-pie" in shlex.split(flags):
        command.insert(1, "-fPIE")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "program"
