"""Hardware watchpoints of modules: on data of the kernel, and in memory of the target."""

from __future__ import annotations

from pathlib import Path

import pytest

import watched
from lab.modules import Module, Modules
from lab.test_kernel_functions import symbol

from .elsewhere import MadeElsewhere

pytestmark = pytest.mark.lab

# Each on a place of its own: QEMU's processor tells of one watchpoint that is hit, not of all
FILES = {
    "panic_timeout": "kernel/panic",
    "panic_on_warn": "kernel/panic_on_warn",
    "sysctl_oom_dump_tasks": "vm/oom_dump_tasks",
}
TELL = """
    { if (ppid() == target()) hits[pp()]++ }
    probe end { foreach (point+ in hits) println(point, " ", hits[point]) }
    global hits
"""
BY_NAME = MadeElsewhere(
    "-m",
    "stap_watch_name",
    "-e",
    """
    probe kernel.data("panic_timeout").rw, kernel.data("panic_on_warn").write,
          kernel.data("no_such_variable").write, kernel.data("cpu_number").write ?
    """
    + TELL,
)


def test_data_of_the_kernel_by_name(modules: Modules) -> None:
    done = modules.run(BY_NAME, "-c", watched.changes(FILES.values()))
    assert done.status == 0
    counts = dict(line.rsplit(" ", 1) for line in done.out.splitlines())
    assert counts.keys() == {
        'kernel.data("panic_timeout").rw',
        'kernel.data("panic_on_warn").write',
    }
    assert int(counts['kernel.data("panic_timeout").rw']) >= 2
    assert counts['kernel.data("panic_on_warn").write'] == "1"
    assert 'probe kernel.data("no_such_variable").write registration error' in done.err


def test_data_of_the_kernel_by_address(modules: Modules) -> None:
    timeout, warn, dump = map(symbol, FILES)
    script = f"""
    probe kernel.data({timeout:#x}).rw, kernel.data({warn:#x}).length(4).write,
          kernel.data({dump:#x}).length(4).rw
    """
    done = modules.run(
        Module("-m", "stap_watch_at", "-e", script + TELL), "-c", watched.changes(FILES.values())
    )
    assert (done.err, done.status) == ("", 0)
    counts = dict(line.rsplit(" ", 1) for line in done.out.splitlines())
    assert counts[f"kernel.data({warn:#x}).length(4).write"] == "1"
    assert int(counts[f"kernel.data({timeout:#x}).rw"]) >= 2
    assert int(counts[f"kernel.data({dump:#x}).length(4).rw"]) >= 2


def test_memory_of_the_target(modules: Modules, tmp_path: Path) -> None:
    path, address = watched.program(tmp_path)
    script = f"""
    global writes
    probe process.data({address:#x}).length(8).write {{
      writes[pid() == target(), user_mode()]++
    }}
    probe end {{
      foreach ([own+, user] in writes) println(own, user, " ", writes[own, user])
    }}
    """
    module = Module("-m", "stap_watch_user", "-e", script, "-c", "true")
    done = modules.run(module, "-c", str(path))
    assert (done.err, done.status) == ("", 0)
    assert done.out.splitlines() == ["01 1", "11 5"]
