"""The marker ``lab``, tried on tests of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .kernels import DEFAULT

TESTS = """
import os, time
from pathlib import Path
import pytest

def test_outside():
    assert not Path("/run/lab").exists()

@pytest.mark.lab
@pytest.mark.parametrize("number", [1, 2])
def test_parameter(number, lab_kernel):
    assert os.uname().release.startswith(lab_kernel) and number == 1

@pytest.mark.lab
@pytest.mark.shared_out(long=True)
def test_long():
    pass

@pytest.mark.lab
class TestMore:
    def test_inside(self):
        assert Path("/run/lab").exists()

    def test_skipped(self):
        pytest.skip("not here")

    def test_complaint(self):
        Path("/dev/kmsg").write_text("<4>WARNING: CPU: 0 PID: 1 at test_complaint\\n")

    def test_deadly(self):
        Path("/proc/sysrq-trigger").write_text("c")
        time.sleep(600)

    def test_too_late(self):
        pass
"""


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (directory / "conftest.py").write_text('pytest_plugins = ["lab.plugin"]\n')
    (directory / "test_given.py").write_text(TESTS)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", *words, str(directory)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
    )


def test_every_test_has_its_own_result(tmp_path: Path) -> None:
    done = run(tmp_path, "--lab-kernel", "6.1")
    lines = {line.partition(" - ")[0] for line in done.stdout.splitlines()}
    name = "test_given.py::"
    assert {
        f"PASSED {name}test_outside",
        f"PASSED {name}test_parameter[@6.1-1]",
        f"FAILED {name}test_parameter[@6.1-2]",
        f"PASSED {name}TestMore::test_inside[@6.1]",
        f"ERROR {name}TestMore::test_complaint[@6.1]",
        f"FAILED {name}TestMore::test_deadly[@6.1]",
        f"FAILED {name}TestMore::test_too_late[@6.1]",
    } <= lines, done.stdout
    assert "SKIPPED [1] test_given.py" in done.stdout
    for text in (
        "WARNING: CPU: 0 PID: 1 at test_complaint",
        "the machine did not survive this test",
        "Kernel panic - not syncing: sysrq triggered crash",
        f"the machine had ended when it ran {name}TestMore::test_deadly[@6.1]",
    ):
        assert text in done.stdout


def test_each_kernel_has_its_tests(tmp_path: Path) -> None:
    done = run(tmp_path, "--collect-only", "-q", "-k", "inside or long")
    names = [line for line in done.stdout.splitlines() if "::" in line]
    assert names == [f"test_given.py::TestMore::test_inside[@{kernel}]" for kernel in DEFAULT]
    done = run(tmp_path, "--collect-only", "-q", "-k", "long", "--lab-whole")
    names = [line for line in done.stdout.splitlines() if "::" in line]
    assert names == [f"test_given.py::test_long[@{kernel}]" for kernel in DEFAULT]


def test_kernel_that_is_none_is_a_failure(tmp_path: Path) -> None:
    done = run(tmp_path, "--lab-kernel", "No Such", "-k", "inside")
    assert "no machine: no kernel is called 'No Such'" in done.stdout
    assert done.returncode == 1
