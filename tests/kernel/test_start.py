"""The kernel layer is on the path of every warm start: what it imports is bounded."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("asyncio", "dataclasses", "enum", "inspect", "json", "logging", "re", "subprocess")
MORE = ("tempfile", "typing", "pystap.debuginfo")


def test_no_heavy_imports() -> None:
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "from pystap.kernel import bpf, cpu, links, maps, perf, privilege, programs, ringbuf\n"
        "from pystap.kernel import btfwriter, features, procs, tracefs\n"
        "print(' '.join(sorted(set(sys.modules) - before)))"
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p)},
    )
    loaded = set(result.stdout.split())
    assert "pystap.kernel.ringbuf" in loaded
    assert loaded & {*HEAVY, *MORE} == set()
