"""Places in the source of a module: probes there fire as often as the code runs, and see its
parameters, locals and globals, as a model of the module in Python says."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stap import Done, stap

from .modules import Modules
from .probed import (
    COMMAND,
    FUNCTIONS,
    PROBED,
    check_functions,
    check_statements,
    line,
    models,
    statements,
)

pytestmark = pytest.mark.lab

_SECONDS = 300


@pytest.fixture
def probed(modules: Modules) -> Iterator[Path]:
    """The module, loaded: its file."""
    path = modules.build(PROBED)
    subprocess.run(["insmod", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["rmmod", "probed"], check=True)
    assert Path("/sys/kernel/debug/kprobes/list").read_text() == ""


def run(path: Path, script: str, *words: str) -> Done:
    """A session in which the requests are made; ``M`` in the script stands for the module."""
    script = script.replace("M.", f'module("{path}").')
    done = stap(*words, "-c", COMMAND, "-e", script, timeout=_SECONDS)
    assert done.status == 0, done.err
    assert "WARNING" not in done.err, done.err
    return done


def test_functions(probed: Path) -> None:
    check_functions(run(probed, FUNCTIONS).out)


def test_statements(probed: Path) -> None:
    more = f"""
    probe M.statement({address("leaf"):#x}) {{ println("address ", $n) }}
    probe module("probed").statement({address("leaf"):#x}).nearest {{ println("near ", $n) }}
    probe kernel.statement({address("leaf"):#x}).absolute {{ println("absolute ", int_arg(1)) }}
    probe kprobe.statement({address("leaf"):#x}).absolute {{ println("kprobe ", int_arg(1)) }}
    """
    done = run(probed, statements() + more, "-g")
    check_statements(done.out, at_leaf=("address", "near", "absolute", "kprobe"))


def address(name: str) -> int:
    """Where a function of the module is."""
    for text in Path("/proc/kallsyms").read_text().splitlines():
        if text.endswith(f" {name}\t[probed]"):
            return int(text.split()[0], 16)
    raise LookupError(name)


def test_module_that_comes_later(modules: Modules) -> None:
    """Its places are armed before it is loaded: its beginning counts, too."""
    path = modules.build(PROBED)
    script = f"""
    probe M.function("probed_begin@work.c").call {{ println("begin") }}
    probe M.function("probed_work").return {{ println("worked ", $return, " ", $n) }}
    probe M.statement("probed_work@work.c:{line("loop")}") {{ println("loop ", $i) }}
    probe M.function("twin@work.c") {{ println("twin of work ", $n) }}
    probe M.function("twin@*/other.c").return {{ println("twin of other ", $return) }}
    """
    script = script.replace("M.", f'module("{path}").')
    words = f"sh -c 'insmod {path} && echo 2 -9 > /proc/probed; rmmod probed'"
    done = stap("-c", words, "-e", script, timeout=_SECONDS)
    lines = ["begin", "loop 0", "loop 1", "worked -22 2", "twin of other -21", "twin of work 2"]
    assert done.out.splitlines()[:4] == lines[:4], done.err
    assert sorted(done.out.splitlines()) == sorted(lines), done.err


@pytest.mark.shared_out
def test_what_does_not_work(probed: Path) -> None:
    """Unreadable variables are refused with the reason, or 0; so is what cannot be probed."""
    last = line("last")
    gone = f'probe M.statement("probed_work@work.c:{last}") {{ println("n ", $n) }}'
    done = stap("-p2", "-e", gone.replace("M.", f'module("{probed}").'), timeout=_SECONDS)
    assert done.status == 1
    assert "'$n' not accessible at this address (pc: " in done.err
    found = run(probed, gone, "--skip-badvars", "-w").out.splitlines()
    assert found == ["n 0"] * sum(not m.failed for m in models())
    listed = stap("-L", f'module("{probed}").statement("probed_work@work.c:{last}")')
    assert " $t:struct thing* $sum:int" in listed.out
    assert "$n:" not in listed.out
    begin = (
        f'module("{probed}").function("probed_begin@work.c")'  # was thrown away when it had run
    )
    assert stap("-l", begin, timeout=_SECONDS).status == 1
    missing = stap("-l", 'module("probed").statement("leaf@work.c:1").nearest', timeout=_SECONDS)
    assert "missing x86_64 kernel/module debuginfo" in missing.err
    assert 'name its file: module("/path/of/probed.ko")' in missing.err
