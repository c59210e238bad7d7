"""Places in the kernel by their addresses, which only the machine that runs it knows."""

from __future__ import annotations

import pytest

from lab.modules import Module, Modules
from lab.test_kernel_functions import symbol
from stap import PYTHON

from .elsewhere import MadeElsewhere

pytestmark = pytest.mark.lab

SIZE, CALLS = 4321, 5
READS = f"""
import os
f = os.open("/proc/version", os.O_RDONLY)
for _ in range({CALLS}): os.pread(f, {SIZE}, 0)
"""
NAMES = MadeElsewhere(
    "-m",
    "stap_names",
    "-e",
    f"""
    global hits
    probe kprobe.function("vfs_read"), kprobe.function("vfs_read").return {{
      if (pid() == target() && (is_return() ? returnval() > 0 : ulong_arg(3) == {SIZE}))
        hits[pp()]++
    }}
    probe kprobe.module("overlay").function("ovl_open").return {{
      if (pid() == target()) hits[probemod()]++
    }}
    probe kprobe.function("no_such_function") {{ hits["no"]++ }}
    probe end {{ foreach (point+ in hits) println(point, " ", hits[point]) }}
    """,
)
TYPED = MadeElsewhere(
    "-m",
    "stap_typed",
    "-e",
    f"""
    global hits
    probe vfs.read.return {{
      if (pid() == target() && bytes_to_read == {SIZE})
        hits[$file->f_pos == 0 && ppid() == task_pid(task_parent(task_current()))]++
    }}
    probe module("overlay").function("ovl_ope*").return {{
      if (pid() == target() && isinstr($$parms, "file=0x")) opened += $return == 0
    }}
    global opened
    probe end {{ println(hits[1], " ", opened > 0) }}
    """,
)


def test_functions_that_are_found_where_the_module_runs(modules: Modules) -> None:
    done = modules.run(NAMES, "-c", f"{PYTHON} -IS -c '{READS}'")
    counts = dict(line.rsplit(" ", 1) for line in done.out.splitlines())
    assert counts['kprobe.function("vfs_read")'] == str(CALLS)
    assert int(counts['kprobe.function("vfs_read").return']) >= CALLS
    assert int(counts["overlay"]) > 0
    assert len(counts) == 3
    said = 'WARNING: probe kprobe.function("no_such_function") registration error'
    assert (done.err.count("WARNING"), done.status) == (1, 0)
    assert done.err.startswith(said)


def test_functions_and_types_of_another_kernel(modules: Modules) -> None:
    """What is in the kernel's package tells them: no debug information was there."""
    done = modules.run(TYPED, "-c", f"{PYTHON} -IS -c '{READS}'")
    assert (done.out, done.err, done.status) == (f"{CALLS} 1\n", "", 0)


def test_absolute_statements(modules: Modules) -> None:
    at = symbol("vfs_read")
    script = f"""
    global hits
    probe kernel.statement({at:#x}).absolute, kprobe.statement({at:#x}).absolute {{
      if (pid() == target() && ulong_arg(3) == {SIZE} && ppfunc() == "") hits[pp()]++
    }}
    probe end {{ foreach (point+ in hits) println(point, " ", hits[point]) }}
    """
    module = Module("-g", "-m", "stap_absolute", "-e", script)
    done = modules.run(module, "-c", f"{PYTHON} -IS -c '{READS}'")
    assert (done.err, done.status) == ("", 0)
    assert done.out.splitlines() == [
        f"kernel.statement({at:#x}).absolute {CALLS}",
        f"kprobe.statement({at:#x}).absolute {CALLS}",
    ]
