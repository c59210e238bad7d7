"""All passes in a machine of the lab: it has the headers of its kernel, make and gcc."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stap import STAP

HELLO = 'probe begin { printf("Hello, World!\\n"); exit() }'


@pytest.mark.lab
@pytest.mark.shared_out(long=True)
def test_made_where_it_runs(tmp_path: Path) -> None:
    tree = Path("/lib/modules", os.uname().release, "build")
    compiler = re.search(r"\bgcc-\d+", (tree / ".kernelvariables").read_text())
    if compiler is not None and shutil.which(compiler[0]) is None:
        pytest.skip(f"{compiler[0]} is not installed")
    words = [str(STAP), "-v", "-e", HELLO, "--runtime=kernel"]
    kept = {**os.environ, "SYSTEMTAP_DIR": str(tmp_path)}
    first = subprocess.run(words, env=kept, capture_output=True, text=True)
    assert (first.stdout, first.returncode) == ("Hello, World!\n", 0), first.stderr
    assert re.search('^Pass 4: compiled C into "stap_.*[.]ko" in ', first.stderr, re.MULTILINE)
    again = subprocess.run(words, env=kept, capture_output=True, text=True)
    assert (again.stdout, again.returncode) == ("Hello, World!\n", 0), again.stderr
    assert re.search("^Pass 4: using cached .*[.]ko$", again.stderr, re.MULTILINE)
