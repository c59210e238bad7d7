"""Probes of many kinds by modules; where the bpf runtime has them, both must print the same."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import inprocess
from lab.modules import Module, Modules, staprun

pytestmark = pytest.mark.lab

PYTHON = sys._base_executable  # type: ignore[attr-defined]
CAT = "/bin/cat /etc/hostname /nonexistent"
LIBC = "/lib/x86_64-linux-gnu/libc.so.6"
MINE = "if (pid() != target()) next;"

KERNEL = f"""
probe syscall.openat, syscall.newfstatat ?, syscall.mmap, syscall.rt_sigaction ? {{
  {MINE}
  printf("%s(%s)\\n", name, argstr)
}}
probe syscall.openat.return, syscall.read.return {{ {MINE} printf("%s = %s\\n", name, retstr) }}
probe kernel.function("vfs_open") {{
  {MINE}
  printf("%s %s %s\\n", ppfunc(), probefunc(), symdata(addr()))
  print_syms(callers(3))
  print_backtrace()
  printf("%x %d %d\\n", register("rip") == addr(), register("rsp") == 0, user_mode())
  print_regs()
}}
probe kernel.function("vfs_read").return {{ {MINE} printf("%s %d\\n", ppfunc(), returnval()) }}
probe kernel.trace("sched_process_exit") {{ {MINE} print_backtrace() }}
probe syscall.close {{ {MINE} printf("%d %s\\n", user_mode(), modname(stack(0))) }}
"""
USER = f"""
probe process("{LIBC}").function("open64") ?, process("{LIBC}").function("__open64") ? {{
  {MINE}
  printf("open %s\\n", user_string(pointer_arg(1)))
}}
probe process("{LIBC}").function("write").return {{ {MINE} printf("write %d\\n", returnval()) }}
probe process.begin {{ printf("begin %s %d\\n", execname(), pid() == target()) }}
probe process.end {{ printf("end %s %d\\n", execname(), pid() == target()) }}
probe process.syscall {{ if ($syscall == 1) printf("write to %d\\n", $arg1) }}
probe process("/bin/cat").syscall.return {{ if ($syscall == 1) printf("wrote %d\\n", $return) }}
"""
THREADS = """
probe process.thread.begin { println("begin ", tid() != pid()) }
probe process.thread.end { println("end ", tid() != pid()) }
probe process.begin { println(pid() == target() ? "first" : "child") }
probe process.end { println(pid() == target() ? "first ends" : "child ends") }
"""
COMPARED = {
    "kernel": (Module("-c", CAT, "-e", KERNEL), CAT, KERNEL),
    "user": (Module("-c", CAT, "-e", USER), CAT, USER),
}
FILES = Module(
    "-e",
    """
    global n, last
    probe procfs("count").read { $value = sprintf("%d\\n", n++) }
    probe procfs("dir/long").read.maxsize(1000) {
      for (i = 0; i < 90; i++) $value .= sprintf("line %2d\\n", i)
    }
    probe procfs("in").write { printf("[%s]", $value); last = $value }
    probe procfs("both").read { $value = last }
    probe procfs("both").umask(0).write { last = $value . "!" }
    """,
)
THREADED = Module("-c", "/bin/true", "-e", THREADS)
LEFT_OUT = Module(
    "-g",
    "-e",
    """
    probe kprobe.statement(0x1000).absolute { println("never") }
    probe timer.ms(1) { println("done") exit() }
    """,
)


def comparable(text: str) -> str:
    """Without what differs between two runs: addresses and contents of registers."""
    text = re.sub(r"\b0x[0-9a-f]{9,}", "ADDRESS", text)
    return re.sub(r"\b[0-9a-f]{16}\b|EFLAGS: \w+", "WORD", text)


@pytest.mark.parametrize("name", COMPARED)
def test_as_on_the_bpf_runtime(modules: Modules, name: str) -> None:
    module, command, script = COMPARED[name]
    mine = modules.run(module, "-c", command)
    theirs = inprocess.Run("-c", command, "-e", script).end(120)
    assert comparable(mine.out) == comparable(theirs.out)
    assert (mine.err, mine.status) == (theirs.err, theirs.status)


def test_threads_and_children(modules: Modules) -> None:
    program = (
        "import os, threading;"
        "t = threading.Thread(target=print); t.start(); t.join();"
        "pid = os.fork() or os._exit(0); os.waitpid(pid, 0)"
    )
    done = modules.run(THREADED, "-c", f"{PYTHON} -ISc '{program}'")
    assert done.out == "first\nbegin 1\n\nend 1\nchild\nchild ends\nfirst ends\n", done.err


def test_files(modules: Modules, tmp_path: Path) -> None:
    module = modules.build(FILES)
    files = f"/proc/systemtap/{module.stem}"
    said = tmp_path / "said"
    commands = (
        f"cd {files}; cat count count; tail -n1 dir/long; wc -c < dir/long; echo hello > in;"
        " cat both; printf x > both; cat both; echo; cat in 2>&1; stat -c %A:%n *"
    )
    done = staprun("-c", f"sh -c '{commands}' > {said}", str(module))
    assert done.out == "[hello\n]", done.err
    assert said.read_text() == (
        "0\n1\nline 89\n720\nhello\nx!\ncat: in: Permission denied\n"
        "-rw-------:both\n-r--------:count\ndr-xr-xr-x:dir\n--w-------:in\n"
    )
    assert not Path("/proc/systemtap").exists()


def test_places_that_cannot_be_probed_are_left_out(modules: Modules) -> None:
    done = modules.run(LEFT_OUT)
    assert done.out == "done\n"
    assert done.err.startswith(
        "WARNING: probe kprobe.statement(0x1000).absolute registration error"
    )
    assert done.status == 0
