"""What watchpoints are put on: memory of a program, and numbers of the kernel."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

_PROGRAM = r"""
#include <sys/wait.h>
#include <unistd.h>
volatile long watched;
int main(void) {
  for (int i = 0; i < 5; i++) watched = i;
  if (fork() == 0) { watched = 7; _exit(0); }
  wait(0);
  return watched == 99;
}
"""


def program(directory: Path) -> tuple[Path, int]:
    """A program that writes to a variable five times, its child once; where that is in memory."""
    source = directory / "watched.c"
    source.write_text(_PROGRAM)
    path = directory / "watched"
    subprocess.run(["gcc", "-static", "-no-pie", "-O0", "-o", path, source], check=True)
    table = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout
    found = re.search(r"^(\w+) \w watched$", table, re.M)
    assert found is not None
    return path, int(found[1], 16)


def changes(files: Iterable[str]) -> str:
    """A command whose children read each number, a file below /proc/sys, and write it once."""
    names = " ".join(f"/proc/sys/{name}" for name in files)
    return f"sh -c 'for f in {names}; do old=$(cat $f); sh -c \"echo $old > $f; :\"; done'"
