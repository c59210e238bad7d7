"""All passes in a machine of the lab: it has the headers of its kernel, make and gcc."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.test_kernel_functions import symbol
from stap import PYTHON, STAP, stap

HELLO = 'probe begin { printf("Hello, World!\\n"); exit() }'
READS = """
import os
f = os.open("/proc/version", os.O_RDONLY)
for _ in range(7): os.pread(f, 4321, 0)
open(__file__).close()
"""


@pytest.fixture(autouse=True)
def _has_the_compiler() -> None:
    tree = Path("/lib/modules", os.uname().release, "build")
    compiler = re.search(r"\bgcc-\d+", (tree / ".kernelvariables").read_text())
    if compiler is not None and shutil.which(compiler[0]) is None:
        pytest.skip(f"{compiler[0]} is not installed")


@pytest.mark.lab
@pytest.mark.shared_out(long=True)
def test_made_where_it_runs(tmp_path: Path) -> None:
    words = [str(STAP), "-v", "-e", HELLO, "--runtime=kernel"]
    kept = {**os.environ, "SYSTEMTAP_DIR": str(tmp_path)}
    first = subprocess.run(words, env=kept, capture_output=True, text=True)
    assert (first.stdout, first.returncode) == ("Hello, World!\n", 0), first.stderr
    assert re.search('^Pass 4: compiled C into "stap_.*[.]ko" in ', first.stderr, re.MULTILINE)
    again = subprocess.run(words, env=kept, capture_output=True, text=True)
    assert (again.stdout, again.returncode) == ("Hello, World!\n", 0), again.stderr
    assert re.search("^Pass 4: using cached .*[.]ko$", again.stderr, re.MULTILINE)


@pytest.mark.lab
@pytest.mark.shared_out(long=True)
def test_functions_of_the_kernel_that_runs(tmp_path: Path) -> None:
    """By their addresses, and of its modules by a pattern."""
    at = symbol("vfs_read")
    script = f"""
    global hits, opened
    probe kernel.function({at:#x}) {{
      if (pid() == target() && $count == 4321) hits["function"]++
    }}
    probe kernel.function({at:#x}).return {{
      if (pid() == target() && $count == 4321) hits["return"] += $return > 0
    }}
    probe kernel.statement({at:#x}) {{
      if (pid() == target() && ulong_arg(3) == 4321) hits["statement"]++
    }}
    probe module("over*").function("ovl_ope*") {{
      if (pid() == target()) opened[probemod(), $file != 0]++
    }}
    probe end {{
      foreach (name+ in hits) println(name, " ", hits[name])
      foreach ([name, known] in opened) println(name, " ", known)
    }}
    """
    program = tmp_path / "program.py"
    program.write_text(READS)
    words = ["--runtime=kernel", "-c", f"{PYTHON} -IS {program}", "-e", script]
    done = stap(*words, timeout=600)
    assert (done.err, done.status) == ("", 0)
    assert done.out.splitlines() == ["function 7", "return 7", "statement 7", "overlay 1"]
