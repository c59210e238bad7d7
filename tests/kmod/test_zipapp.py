"""staprun as one file, which needs Python alone."""

from __future__ import annotations

import importlib.util
import subprocess
import zipfile
from pathlib import Path

import pytest

from lab.modules import Module, Modules
from stap import PYTHON

TOOL = Path(__file__).parents[2] / "tools" / "make_staprun.py"
HELLO = Module("-m", "simple", "-e", 'global x probe oneshot { println("hello ", x); x++ }')
NOT_IN_IT = ("backend", "cli", "ir", "lang", "probes", "sema", "tapset")


def made(directory: Path) -> Path:
    """The file, made by the tool."""
    spec = importlib.util.spec_from_file_location("make_staprun", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.make(directory / "staprun.pyz")
    return directory / "staprun.pyz"


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """A run without anything of the environment, site packages or the present directory."""
    command = [PYTHON, "-IS", *map(str, words)]
    return subprocess.run(command, cwd="/", env={}, capture_output=True, text=True)


def test_what_is_in_it(tmp_path: Path) -> None:
    file = made(tmp_path)
    names = zipfile.ZipFile(file).namelist()
    assert "pystap/staprun/main.py" in names
    assert not [name for name in names if name.split("/")[1:2] and name.split("/")[1] in NOT_IN_IT]
    assert file.stat().st_size < 200_000
    before = file.read_bytes()
    assert made(tmp_path).read_bytes() == before


def test_all_it_imports_is_in_it(tmp_path: Path) -> None:
    file = made(tmp_path)
    names = [name for name in zipfile.ZipFile(file).namelist() if name.startswith("pystap/")]
    modules = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names
    ]
    code = f"import sys; sys.path.insert(0, {str(file)!r}); import {', '.join(modules)}"
    done = run("-c", code)
    assert (done.stderr, done.returncode) == ("", 0)


def test_words(tmp_path: Path) -> None:
    file = made(tmp_path)
    assert run(file, "-V").stdout.startswith("staprun of pystap ")
    assert run(file, "-h").stdout.startswith("Usage: staprun ")
    done = run(file, "/nosuch.ko")
    assert done.stderr == "ERROR: cannot read '/nosuch.ko': No such file or directory\n"
    assert done.returncode == 1


@pytest.mark.lab
def test_a_module_from_elsewhere(modules: Modules, tmp_path: Path) -> None:
    done = run(made(tmp_path), modules.build(HELLO), "x=3")
    assert (done.stdout, done.stderr, done.returncode) == ("hello 3\n", "", 0)
