"""Cases with a section ``kernel``, run by ``stap`` as well; what functions say of real tasks."""

from __future__ import annotations

import os
import re
import time

import pytest

from datadriven import Case, assert_case
from stap import stap

from .test_functions import CASES

# The cases end when their begin probes have run.
_END = "\nprobe begin(9223372036854775806) { exit() }\n"
_TRAILER = re.compile(
    r"^(WARNING: .* exited with status: 1|Pass 5: run failed\..*)\n?", re.MULTILINE
)


@pytest.mark.parametrize("case", [c for c in CASES if "kernel" in c.sections], ids=str)
def test_case(case: Case) -> None:
    done = stap("-", script=case.input + _END)
    err = _TRAILER.sub("", re.sub(r" at \S*/tapset/", " at ", done.err))
    assert_case(case, err, "err")
    assert_case(case, done.out)


def lines(script: str, *words: str) -> list[str]:
    """Lines that a script prints."""
    done = stap(*words, "-e", script)
    assert done.err == ""
    return done.out.splitlines()


def test_the_begin_probe_runs_in_the_process_of_the_session() -> None:
    script = """probe begin {
      println(pid() == stp_pid(), tid() == pid(), " ", ppid(), " ", pgrp(), " ", sid())
      println(uid(), gid(), euid(), egid(), " ", cpu() < 4096)
      println(pid2task(pid()) == task_current())
      println(task_pid(pid2task(ppid())), " ", task_pid(task_parent(task_current())))
      println(pexecname() == pid2execname(ppid()))
      println(task_execname(task_current()) == execname())
      t = task_current()
      println(task_tid(t) == tid(), task_uid(t), task_gid(t))
      exit()
    }"""
    pid = os.getpid()
    out = lines(script)
    assert out[0] == f"11 {pid} {os.getpgrp()} {os.getsid(0)}"
    assert out[1] == f"{os.getuid()}{os.getgid()}{os.geteuid()}{os.getegid()} 1"
    assert out[2:] == ["1", f"{pid} {pid}", "1", "1", f"1{os.getuid()}{os.getgid()}"]


def test_processes_that_do_not_exist() -> None:
    script = """probe begin {
      println(pid2task(2147483647), "[", pid2execname(2147483647), "]", proc_mem_size(2147483647))
      exit()
    }"""
    assert lines(script) == ["0[]0"]


def test_arguments_environment_and_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPSET_TEST", "some value")
    script = """probe begin {
      println(env_var("TAPSET_TEST"), "|", env_var("TAPSET_NONE"), "|")
      println(d_path(task_cwd_path(task_current())))
      println(isinstr(cmdline_str(), "probe begin"), cmdline_arg(0) != "")
      println(fullpath_struct_file(task_current(), current_exe_file()))
      println(task_open_file_handles(task_current()) > 2,
              task_max_file_handles(task_current()) >= task_open_file_handles(task_current()))
      exit()
    }"""
    out = lines(script)
    assert out[:3] == ["some value||", os.getcwd(), "11"]
    assert os.path.basename(out[3]).startswith("python")
    assert out[4] == "11"


def test_numbers_that_the_system_tells_too() -> None:
    script = """probe begin {
      t = task_current()
      println(mem_page_size(), " ", task_rlimit(t, "RLIMIT_NOFILE"), " ", task_nice(t))
      println(gettimeofday_ns(), " ", ktime_get_ns(), " ", ktime_get_boot_ns())
      println(proc_mem_rss() > 100, proc_mem_size() > proc_mem_rss(), proc_mem_txt() > 0)
      println(task_utime() + task_stime() > 0, task_start_time(tid()) < ktime_get_ns())
      exit()
    }"""
    import resource

    before = time.time_ns(), time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    out = lines(script)
    after = time.time_ns(), time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert out[0] == f"{resource.getpagesize()} {files} {os.nice(0)}"
    for low, value, high in zip(before, map(int, out[1].split()), after):
        assert low < value < high
    assert out[2:] == ["111", "11"]


def test_the_target_and_what_it_starts() -> None:
    script = """probe kernel.trace("sched_process_exec") {
      if (target_set_pid(pid()))
        println(execname(), " ", pid() == target(), " ", task_ancestry(task_current(), 0))
    }"""
    out = lines(script, "-c", "/bin/sh -c '/bin/true; /bin/echo hi | /bin/cat >/dev/null'")
    names = [line.split()[0] for line in out]
    assert names[0] == "sh"
    assert sorted(names[1:]) == ["cat", "echo", "true"]
    assert [line.split()[1] for line in out] == ["1", "0", "0", "0"]
    assert all("=>sh=>" in line for line in out[1:])
