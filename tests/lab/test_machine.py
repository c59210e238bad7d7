"""What a machine of the lab is like, from inside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab


def test_kernel_is_the_one_asked_for(lab_kernel: str) -> None:
    release = os.uname().release
    assert release.startswith(f"{lab_kernel}.") or not lab_kernel[0].isdigit()


def test_runs_as_root_with_two_cpus() -> None:
    assert os.getuid() == 0
    assert os.cpu_count() == 2


@pytest.mark.parametrize(
    "path", ["sys/kernel/tracing/events", "sys/kernel/debug/tracing", "sys/kernel/btf/vmlinux"]
)
def test_kernel_file_systems_are_mounted(path: str) -> None:
    assert Path("/", path).exists()


def test_writes_stay_in_the_machine() -> None:
    Path("/etc/lab-was-here").write_text("x")
    assert Path("/etc/lab-was-here").read_text() == "x"


def test_modules_of_the_kernel_can_be_loaded() -> None:
    release = os.uname().release
    assert Path(f"/lib/modules/{release}/modules.dep").stat().st_size
    assert os.system("modprobe dummy numdummies=0") == 0
    assert Path("/sys/module/dummy").exists()
