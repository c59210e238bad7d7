"""Modules under load, killed, refused and cut short: nothing of them stays, nothing breaks."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lab.modules import Module, Modules, staprun, started
from pystap.staprun.control import RUNNING, Control, loaded_modules
from pystap.staprun.loading import LoadError, load, unload
from pystap.staprun.modulefile import ModuleFile
from stap import wait_for

from .conftest import left, load_on_all_cpus, processes

pytestmark = pytest.mark.lab

BUSY = Module(
    "-e",
    """
    global reads, calls, switches, ticks, sizes
    probe kprobe.function("vfs_read") { reads[pid()]++ }
    probe kprobe.function("vfs_read").return { sizes <<< 1 }
    probe syscall.* { calls[name] <<< 1 }
    probe kernel.trace("sched_switch") { switches[cpu()]++ }
    probe timer.ms(1) { ticks++; if (ticks % 100 == 0) println(ticks) }
    probe timer.profile { ticks++ }
    """,
    "--no-global-var-display",
)
LEAVES = Module(
    "-e",
    """
    global reads
    probe kprobe.function("vfs_read") {
      if (++reads <= 50) println(reads)
      if (reads == 50) exit()
    }
    probe end { println("the end") }
    """,
)
HUGE = Module("-e", "global a[50000000] probe oneshot { a[1] = 1; println(a[1]) }")
BOUNDED = Module("-DSTP_MAXMEMORY=100", "-e", "global a probe oneshot { a[1] = 1 }")
UNKNOWN = Module(
    "-e",
    """
    global n
    probe kprobe.function("vfs_read"), kprobe.function("vfs_write"), timer.ms(1) { n++ }
    probe kernel.trace("sched_switch"), kprobe.function("vfs_fsync") { n++ }
    probe never { println(n) }
    """,
)
WRITES = Module("-e", 'probe timer.ms(1) { printf("%1000d\\n", 1) }')


@pytest.mark.shared_out
def test_many_sessions_under_load(modules: Modules) -> None:
    module = ModuleFile(str(modules.build(BUSY)))
    with load_on_all_cpus():
        for _ in range(200):
            load(module, module.name, ["stap_megabytes=1"])
            control = Control(module.name)
            control.tell("attach")
            control.tell("start")
            assert control.status().phase == RUNNING
            control.tell("stop")
            control.close()
            unload(module.name)


@pytest.mark.shared_out
def test_killed_at_any_moment(modules: Modules) -> None:
    path = modules.build(BUSY)
    moments = random.Random(1)
    with load_on_all_cpus():
        for _ in range(15):
            run = started("-R", str(path))
            time.sleep(moments.uniform(0, 1.5))
            os.kill(run.pid, signal.SIGKILL)
            run.end()
            wait_for(lambda: left() == [], 60)


def test_killed_with_its_watcher(modules: Modules) -> None:
    path = modules.build(BUSY)
    run = started(str(path))
    wait_for(lambda: any(Control(name).status().phase == RUNNING for name in loaded_modules()))
    for pid in processes("stap-unload"):
        os.kill(pid, signal.SIGKILL)
    os.kill(run.pid, signal.SIGKILL)
    run.end()
    (name,) = loaded_modules()
    wait_for(lambda: not Control(name).status().attached)
    assert Control(name).status().phase != RUNNING
    assert Path("/sys/kernel/debug/kprobes/list").read_text() == ""
    done = staprun("-d", name)
    assert (done.err, done.status) == ("", 0)


def test_in_use_while_somebody_is_attached(modules: Modules) -> None:
    path = modules.build(BUSY)
    run = started(str(path))
    name = ModuleFile(str(path)).name
    wait_for(lambda: name in loaded_modules() and Control(name).status().phase == RUNNING)
    with pytest.raises(LoadError, match="couldn't remove module"):
        unload(name)
    os.kill(run.pid, signal.SIGTERM)
    assert run.end().status == 0


def test_exit_under_load(modules: Modules) -> None:
    with load_on_all_cpus():
        for _ in range(5):
            done = modules.run(LEAVES, "-R")
            assert done.out == "".join(f"{n}\n" for n in range(1, 51)) + "the end\n", done.err
            assert done.status == 0


def test_more_memory_than_there_is(modules: Modules) -> None:
    done = modules.run(HUGE)
    assert "need more than half of the memory that is available" in done.err
    assert (done.out, done.status) == ("", 1)
    done = modules.run(BOUNDED)
    assert "more memory than STP_MAXMEMORY allows" in done.err
    assert done.status == 1
    done = staprun("-b", "4095", str(modules.build(LEAVES)))
    assert "need more than half of the memory that is available" in done.err
    assert done.status == 1


def changed(path: Path, name: bytes, to: Path) -> str:
    """A module that looks for something that does not exist in place of a name."""
    data = path.read_bytes()
    assert name + b"\0" in data
    to.write_bytes(data.replace(name + b"\0", name[:-1] + b"_\0"))
    return str(to)


def test_a_probe_that_cannot_be_registered(modules: Modules, tmp_path: Path) -> None:
    built, name = modules.build(UNKNOWN), tmp_path / "stap_unknown.ko"
    done = staprun("-R", changed(built, b"sched_switch", name))
    assert done.err == (
        'ERROR: probe kernel.trace("sched:sched_switch") registration error (rc -2): '
        "No such file or directory\n"
    )
    assert done.status == 1
    done = staprun("-R", "--time-limit", "0.2", changed(built, b"vfs_fsync", name))
    assert (
        'probe kprobe.function("vfs_fsync") registration error [man warning::pass5] (rc -2)'
        in done.err
    )
    assert done.status == 0


def test_full_disk(modules: Modules, tmp_path: Path) -> None:
    path = modules.build(WRITES)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], check=True)
    try:
        done = staprun("-o", str(tmp_path / "out"), str(path))
        assert "No space left on device" in done.err
        assert done.status == 1
    finally:
        subprocess.run(["umount", tmp_path], check=True)
