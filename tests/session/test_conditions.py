"""Probes armed and disarmed while they are attached, by events of a process that does as told."""

from __future__ import annotations

import sys
from pathlib import Path

import stap

# Each letter is one event of the process: what a script makes of it is its own matter.
ACTOR = """
import os, sys, ctypes
libc = ctypes.CDLL(None)
acts = {"p": os.getppid, "y": os.sched_yield, "u": libc.umask, "l": libc.labs}
for letter in sys.argv[1]:
    acts[letter](*[18] * (letter in "ul"))
"""
LIBC = next(str(p) for p in Path("/usr/lib").glob("*/libc.so.6"))
MANY = "p" * 7 + "y" + "p" * 5 + "u" + "p" * 3 + "y" + "p" * 2


def run(script: str, acts: str, tmp_path: Path, *words: str) -> stap.Done:
    actor = tmp_path / "actor.py"
    actor.write_text(ACTOR)
    done = stap.stap("-e", script, *words, "-c", f"{sys.executable} {actor} {acts}")
    assert done.status == 0, done.err
    assert done.err == "", done.err
    return done


def test_system_calls(tmp_path: Path) -> None:
    script = """
    global on, n, m
    probe syscall.sched_yield if (!on) { if (pid() == target()) on = 1 }
    probe syscall.umask if (on) { if (pid() == target()) on = 0 }
    probe syscall.getppid if (on) { if (pid() == target()) n++ }
    probe syscall.getppid.return if (!on) { if (pid() == target()) m++ }
    probe end { printf("%d %d\\n", n, m) }
    """
    assert run(script, MANY, tmp_path).out == f"{5 + 2} {7 + 3}\n"


def test_tracepoints_and_a_condition_of_strings(tmp_path: Path) -> None:
    script = """
    global mode = "off", n, m
    probe kernel.trace("sys_enter") { if (pid() == target()) {
      if ($id == %( arch == "x86_64" %? 24 %: 124 %)) mode = "counting"
      if ($id == %( arch == "x86_64" %? 95 %: 166 %)) mode = "off" } }
    probe kernel.trace("sys_exit") if (mode == "counting") {
      if (pid() == target() && $regs->orig_ax == 110) n++ }
    probe syscall.getppid if (mode != "counting") { if (pid() == target()) m++ }
    probe end { printf("%d %d\\n", n, m) }
    """
    assert run(script, MANY, tmp_path).out == f"{5 + 2} {7 + 3}\n"


def test_uprobes(tmp_path: Path) -> None:
    script = f"""
    global on, n
    probe syscall.sched_yield {{ if (pid() == target()) on = 1 }}
    probe syscall.umask {{ if (pid() == target()) on = 0 }}
    probe process("{LIBC}").function("labs") if (on) {{ if (pid() == target()) n++ }}
    probe end {{ println(n) }}
    """
    assert run(script, "lllyllulyllll", tmp_path).out == "6\n"


def test_timers(tmp_path: Path) -> None:
    """A timer that arms itself only until it has run three times, and one never armed."""
    script = """
    global n, m, off
    probe timer.ms(5) if (n < 3) { n++ }
    probe timer.ms(5) if (off) { println("never") }
    probe timer.ms(5) if (n == 3) { if (++m == 3) exit() }
    probe end { printf("%d %d\\n", n, m) }
    """
    done = stap.stap("-e", script)
    assert (done.out, done.status) == ("3 3\n", 0), done.err


def test_what_is_not_armed_does_not_count_as_a_hit(tmp_path: Path) -> None:
    script = """
    global on
    probe syscall.sched_yield { if (pid() == target()) on = 1 }
    probe syscall.getppid if (on) { if (pid() != target()) next; else print("") }
    """
    done = run(script, "pppypp", tmp_path, "-t", "-DSTP_FORCE_STDOUT_TTY")
    [line] = [text for text in done.out.splitlines() if text.startswith("syscall.getppid")]
    hits = int(line.partition("hits: ")[2].partition(",")[0])
    assert hits >= 2
    assert "sched_yield" in done.out


def test_conditions_see_the_work_of_whole_handlers(tmp_path: Path) -> None:
    """One process has a handler change two numbers, another looks for anything in between."""
    script = """
    global a, b, looked, between
    probe syscall.sched_yield { if (execname() == "changer") {
      a++
      for (i = 0; i < 400; i++) ;
      b++ } }
    probe syscall.getppid if (a != b) { between++ }
    probe syscall.getppid { looked++ }
    probe end { printf("%d %d %d\\n", looked > 1000, a > 1000, between) }
    """
    actor = tmp_path / "two.py"
    actor.write_text(
        "import ctypes, os\n"
        "ctypes.CDLL(None).prctl(15, b'changer', 0, 0, 0)\n"
        "child = os.fork()\n"
        "for _ in range(40000):\n"
        "    os.getppid() if child else os.sched_yield()\n"
        "os.wait() if child else None\n"
    )
    done = stap.stap("-e", script, "-c", f"{sys.executable} {actor}", "-DMAXSKIPPED=100000")
    assert done.out == "1 1 0\n", done.err
    assert "ERROR" not in done.err
