"""Shared by all tests: being here puts this directory on the import path (``datadriven``)."""

import os
import time

import pytest

pytest.register_assert_rewrite("datadriven")

pytest_plugins = ["lab.plugin"]


def pytest_configure() -> None:
    """Seeds of the random programs; workers of pytest-xdist inherit the first one."""
    os.environ.setdefault("FUZZ_SEED", str(time.time_ns() // 1000 % 10**9))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell them, if any were run."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind)]
    if any("fuzz/test_fuzz.py" in r.nodeid for r in reports):
        terminalreporter.write_line(f"random programs: FUZZ_SEED={os.environ['FUZZ_SEED']}")
