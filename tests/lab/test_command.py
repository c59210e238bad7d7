"""``python -m tests.lab``, and machines that end otherwise than by themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from . import kernels

ROOT = Path(__file__).resolve().parents[2]


def lab(*words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.lab", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_output_and_status_are_those_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "given").write_text("given\n")
    script = (
        f"cat {tmp_path}/given; echo error >&2; echo back >{tmp_path}/back; echo $NAME $PWD;"
        f" touch {ROOT}/lab-was-here; exit 3"
    )
    done = lab("--rw", str(tmp_path), "--env", "NAME=value=1", "--", "sh", "-c", script)
    assert done.stdout == f"given\nvalue=1 {ROOT}\n"
    assert done.stderr == "error\n"
    assert done.returncode == 3
    assert (tmp_path / "back").read_text() == "back\n"
    assert not (ROOT / "lab-was-here").exists()


def test_complaint_of_the_kernel_is_a_failure() -> None:
    done = lab("--", "sh", "-c", "echo '<4>WARNING: CPU: 0 PID: 1 at test' >/dev/kmsg")
    assert done.returncode == 126
    assert "lab: the kernel complained" in done.stderr
    assert "at test" in done.stderr


def test_panic_is_a_failure() -> None:
    done = lab("--", "sh", "-c", "echo before; echo c >/proc/sysrq-trigger; echo after")
    assert done.returncode == 125
    assert done.stdout == "before\n"
    assert "Kernel panic" in done.stderr


def test_time_is_limited() -> None:
    done = lab("--seconds", "3", "--", "sleep", "1000")
    assert done.returncode == 124
    assert "lab: the machine did not end in time" in done.stderr


@pytest.mark.parametrize("kernel", kernels.DEFAULT)
def test_modules_are_built_outside(kernel: str, tmp_path: Path) -> None:
    release = lab("--kernel", kernel, "--release").stdout.strip()
    build = lab("--kernel", kernel, "--builddir").stdout.strip()
    assert release.startswith(f"{kernel}.")
    (tmp_path / "Makefile").write_text("obj-m := given.o\n")
    (tmp_path / "given.c").write_text(
        '#include <linux/module.h>\nMODULE_LICENSE("Dual BSD/GPL");\n'
        "static int __init start(void) { return 0; }\nmodule_init(start);\n"
    )
    subprocess.run(["make", "-s", "-C", build, f"M={tmp_path}", "modules"], check=True)
    words = ["/usr/sbin/modinfo", "-F", "vermagic", str(tmp_path / "given.ko")]
    assert subprocess.run(words, capture_output=True, text=True).stdout.split()[0] == release


@pytest.mark.parametrize("name", ["no such kernel", "sid/a/b", "../6.1", ""])
def test_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(kernels.LabError, match="no kernel is called"):
        kernels.get(name)


@pytest.mark.parametrize("words", [[], ["--release", "--", "true"]])
def test_either_a_question_or_a_command(words: list[str]) -> None:
    done = lab(*words)
    assert done.returncode == 2
    assert "give a command, or one of" in done.stderr
