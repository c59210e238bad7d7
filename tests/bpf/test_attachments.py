"""Every probe of a module gets a program, or translation ends with an error."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from pystap.backend.bpf import process_table
from pystap.backend.bpf.artifact import CONTROL_UNWATCHED
from pystap.backend.bpf.compile import compile_module
from pystap.backend.bpf.facts import CompileError, running_kernel
from pystap.backend.bpf.process_table import identity
from pystap.probes.attach import ProcessEvent

from .build import ModuleBuilder
from .harness import Loaded


class Unknown(NamedTuple):
    """A way to attach that the runtime has never heard of."""

    where: str = "somewhere"


def test_unknown_way_to_attach_is_refused() -> None:
    m = ModuleBuilder()
    m.begin()
    m.probe(Unknown(), point='strange("place")')  # type: ignore[arg-type]
    with pytest.raises(CompileError, match=r'cannot attach strange\("place"\) \(Unknown\)'):
        compile_module(m.module, running_kernel())


def test_file_as_the_kernel_shows_it(tmp_path: Path) -> None:
    program, link = tmp_path / "program", tmp_path / "link"
    program.write_bytes(b"content")
    link.symlink_to(program)
    assert identity(str(program)).inode == program.stat().st_ino
    assert identity(str(link)) == identity(str(program))
    other = tmp_path / "other"
    other.write_bytes(b"content")
    assert identity(str(other)) != identity(str(program))


def test_file_that_is_gone(tmp_path: Path) -> None:
    m = ModuleBuilder()
    m.probe(ProcessEvent("begin", path=str(tmp_path / "gone")), point="process")
    with pytest.raises(CompileError, match="gone': No such file"):
        compile_module(m.module, running_kernel())


def test_processes_there_is_no_room_for_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_table, "_ENTRIES", 1)
    m = ModuleBuilder()
    m.probe(ProcessEvent("end"), point="process.end")
    with Loaded(m.module) as loaded:
        loaded.during(fork_two)
        assert loaded.words[CONTROL_UNWATCHED] >= 1


def fork_two() -> None:
    """Two children at once."""
    children = [subprocess.Popen(["cat"], stdin=subprocess.PIPE) for _ in range(2)]
    for child in children:
        child.communicate()
