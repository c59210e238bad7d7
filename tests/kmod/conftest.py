"""What every test of modules in the lab must leave behind: nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stap import PYTHON, wait_for

_WORK = """
import os
f = os.open("/proc/version", os.O_RDONLY)
while True:
    for _ in range(100): os.pread(f, 16, 0)
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
"""


@contextmanager
def load_on_all_cpus() -> Iterator[None]:
    """Processes that keep every CPU busy with system calls and process starts."""
    running = []
    try:
        for cpu in os.sched_getaffinity(0):
            words = ["taskset", "-c", str(cpu), PYTHON, "-ISc", _WORK]
            running.append(subprocess.Popen(words))
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.fixture(autouse=True)
def _nothing_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if request.node.get_closest_marker("lab") is not None:
        wait_for(lambda: left() == [], 30)


def left() -> list[str]:
    """Modules, files, probes and processes of sessions that are over."""
    found = [str(path) for path in Path("/proc").glob("pystap_*")]
    modules = [line.split()[0] for line in Path("/proc/modules").read_text().splitlines()]
    found += [name for name in modules if name.startswith("stap_")]
    for name in ("debug/kprobes/list", "tracing/enabled_functions"):
        path = Path("/sys/kernel", name)
        found += path.read_text().splitlines() if path.exists() else []
    return found + [f"process {pid}" for pid in processes("stap-unload", "staprun")]


def processes(*names: str) -> list[int]:
    """Processes with one of these names."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() in names:
                found.append(int(path.parent.name))
        except OSError:  # it has ended
            continue
    return found
