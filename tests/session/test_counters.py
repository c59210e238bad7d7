"""Performance events: samples of some processes only, and counters that are read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stap import stap

TOUCH = r"""
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noinline)) int touch(int pages) {
  char *p = mmap(0, 4096L * pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(p, 4096L * pages, MADV_NOHUGEPAGE);
  for (int i = 0; i < pages; i++) p[4096L * i] = 1;
  munmap(p, 4096L * pages);
  return pages;
}
int main(void) {
  touch(100);
  if (fork() == 0) { touch(7); _exit(0); }
  touch(1000);
  wait(0);
  touch(10);
  return 0;
}
"""
BURN = r"""
#include <time.h>
int main(void) {
  struct timespec now;
  do clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); while (now.tv_nsec < 300000000);
  return 0;
}
"""


def build(directory: Path, name: str, text: str) -> Path:
    source = directory / f"{name}.c"
    source.write_text(text)
    subprocess.run(["gcc", "-g", "-O1", "-o", directory / name, source], check=True)
    return directory / name


def test_a_counter_counts_for_each_task(tmp_path: Path) -> None:
    program = build(tmp_path, "touch", TOUCH)
    script = f"""
    global faults, clock
    probe perf.sw.page_faults.counter("faults") {{}}
    probe perf.type(1).config(1).process("{program}").counter("clock") {{}}
    probe process("{program}").function("touch") {{
      faults[tid()] = @perf("faults")
      clock[tid()] = @perf("clock")
    }}
    probe process("{program}").function("touch").return {{
      // one page more at most: a page table of the kernel's is no fault of the program
      printf("%d %d %d\\n", $return, @perf("faults") - faults[tid()] - $return <= 2,
             @perf("faults") - faults[tid()] >= $return)
      if (@perf("clock") <= clock[tid()]) println("the clock stands still")
    }}
    """
    done = stap("-c", program, "-e", script)
    assert done.err == ""
    assert sorted(done.out.splitlines()) == sorted(["100 1 1", "7 1 1", "1000 1 1", "10 1 1"])


def test_samples_of_processes(tmp_path: Path) -> None:
    program = build(tmp_path, "burner", BURN)
    script = f"""
    global named, targets
    probe perf.sw.cpu_clock.sample(1000000).process("{program}") {{ named[pid() == target()]++ }}
    probe perf.sw.task_clock.hz(1000).process {{ targets[pid() == target()]++ }}
    probe end {{
      println(named[1] > 50, " ", named[0], " ", targets[1] > 20, " ", targets[0])
    }}
    """
    done = stap("-c", program, "-e", script)
    assert done.err == ""
    assert done.out == "1 0 1 0\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            'probe perf.sw.page_faults.counter("here") {} '
            'probe syscall.read { println(@perf("there")) }',
            '@perf("there") names no perf counter',
        ),
        (
            'probe perf.sw.page_faults.counter("x") {} probe begin { println(@perf("x")) }',
            "@perf counts what a task does, but no task is probed here",
        ),
        (
            'probe perf.sw.page_faults.counter("x") {} probe perf.sw.cpu_clock.counter("x") {}',
            "perf counter 'x' is there twice",
        ),
        ("probe perf.sw.page_faults.process { exit() }", "which process?"),
        (
            "probe perf.type(77).config(1) { exit() }",
            "the kernel knows no event source of type 77",
        ),
    ],
)
def test_mistakes(script: str, message: str) -> None:
    done = stap("-p2", "-e", script)
    assert done.status == 1
    assert message in done.err


@pytest.mark.skipif(
    any(Path("/sys/bus/event_source/devices", name).exists() for name in ("cpu", "cpu_core")),
    reason="this machine has hardware counters",
)
@pytest.mark.parametrize("point", ["hw.cpu_cycles", 'hw_cache.l1d.read.miss.counter("x")'])
def test_hardware_without_a_pmu_is_refused(point: str) -> None:
    done = stap("-p2", "-e", f"probe perf.{point} {{ exit() }}")
    assert done.status == 1
    assert "this machine offers no hardware performance counters (no CPU PMU)" in done.err
