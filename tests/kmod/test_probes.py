"""Probes of many kinds, by modules."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.modules import Module, Modules, staprun, started
from stap import PYTHON

pytestmark = pytest.mark.lab

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
probe process("{LIBC}").function("open64") {{
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
OF_KERNEL = Module("-c", CAT, "-e", KERNEL)
OF_USERS = Module("-c", CAT, "-e", USER)
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
PACKETS = Module(
    "-g",
    "-e",
    """
    probe netfilter.hook("NF_INET_LOCAL_OUT").pf("NFPROTO_IPV4").priority("NF_IP_PRI_FIRST") {
      if ($skb->len == 61) {
        printf("%d by %s: %d\\n", $hooknum, kernel_string($out->name), $verdict)
        $verdict = 0
      }
      if ($skb->len == 62) println("passed")
    }
    """,
)
TYPED = Module(
    "-e",
    """
    probe input.line { printf("line %s", line) if (line == "end\\n") exit() }
    probe input.char { if (char == "x") println("x was typed") }
    """,
)
ONE_RETURN = Module(
    "-e", 'probe kernel.function("hrtimer_nanosleep").return.maxactive(1) { println("slept") }'
)
# Five processes sleep at the same time, until they are killed.
SLEEPERS = """
import os, signal, time
pids = []
for _ in range(5):
    pid = os.fork()
    if not pid:
        time.sleep(1000)
    pids.append(pid)
for pid in pids:
    while open(f"/proc/{pid}/syscall").read().split()[0] != "230":
        os.sched_yield()
for pid in pids:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""
BUSY = Module(
    "-e",
    f"""
    global called, left, switched, malloced, slept
    probe kernel.function("vfs_read") {{ called++ }}
    probe kernel.function("vfs_read").return, kernel.function("hrtimer_nanosleep").return {{
      left++
    }}
    probe kernel.trace("sched_switch"), timer.profile.tick, syscall_any {{ switched++ }}
    probe process("{LIBC}").function("malloc") {{ malloced++ }}
    probe process("{LIBC}").function("clock_nanosleep").return, process.begin {{
      slept++
    }}
    probe timer.ms(300) {{
      if (called && left && switched && malloced && slept) exit()
    }}
    probe end {{ println(called, " ", left, " ", switched, " ", malloced, " ", slept) }}
    """,
)
RUNNING = Module(
    "-x",
    "1",
    "-e",
    """
    global calls
    probe process.begin { println("begin ", pid() == target(), " ", execname()) }
    probe process.syscall { if ($syscall == 110) calls++ }
    probe process.begin, process.syscall { if (pid() != target()) println("another's") }
    probe process.end { println("end ", calls > 10, " ", pid() == target()) }
    probe timer.ms(50) { if (calls > 10) system("kill " . sprint(target())) }
    """,
)
LEFT_OUT = Module(
    "-g",
    "-e",
    """
    probe kprobe.statement(0x1000).absolute { println("never") }
    probe timer.ms(1) { println("done") exit() }
    """,
)


HOSTNAME = len(Path("/etc/hostname").read_bytes())
FRAME = r" 0x[0-9a-f]{16} : [\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+ \[\w+\]"
REGISTERS = r"RIP: [0-9a-f]{16}\nRSP: [0-9a-f]{16}  EFLAGS: [0-9a-f]{8}\n"


@pytest.fixture(scope="module")
def of_kernel(modules: Modules) -> str:
    """What the script about the kernel prints."""
    done = modules.run(OF_KERNEL, "-c", CAT)
    assert done.err.splitlines() == [
        "/bin/cat: /nonexistent: No such file or directory",
        "WARNING: Child process exited with status 1",
    ]
    assert done.status == 0
    return done.out


def test_system_calls_as_text(of_kernel: str) -> None:
    lines = of_kernel.splitlines()
    at = lines.index('openat(AT_FDCWD, "/etc/hostname", O_RDONLY)')
    assert "openat = 3" in lines[at:]
    at = lines.index('openat(AT_FDCWD, "/nonexistent", O_RDONLY)')
    assert lines[at + 1] == "openat = -2 (ENOENT)"
    assert f"read = {HOSTNAME}" in lines
    shape = r"mmap\(0x0, \d+, PROT_READ, MAP_PRIVATE.*, 3, 0x0\)"
    assert any(re.fullmatch(shape, line) for line in lines)


def test_functions_and_stacks_of_the_kernel(of_kernel: str) -> None:
    opened = re.findall(rf"vfs_open vfs_open vfs_open(\+0x0/0x\w+ \[kernel\])\n((?:{FRAME}\n)+)"
                        rf"1 0 0\n{REGISTERS}", of_kernel)  # fmt: skip
    assert len(opened) >= 3
    for _, frames in opened:
        names = re.findall(r" : ([\w.]+)\+", frames)
        assert names[:1] == names[4:5] == ["vfs_open"]  # of print_syms() and of print_backtrace()
        assert names[:4] == names[4:8]
        assert names[-1].startswith("entry_SYSCALL")
    assert f"vfs_read {HOSTNAME}\n" in of_kernel
    exit_stack = re.findall(rf"(?:{FRAME}\n)+", of_kernel)[-1]
    assert "do_exit+" in exit_stack.splitlines()[0]
    assert "1 kernel\n" in of_kernel


def test_users_and_their_programs(modules: Modules) -> None:
    done = modules.run(OF_USERS, "-c", CAT)
    assert done.status == 0
    said = Path("/etc/hostname").read_text()  # by the program
    lines = done.out.replace(said, "", 1).splitlines()
    assert (lines[0], lines[-1]) == ("begin cat 1", "end cat 1")
    assert lines[lines.index("open /etc/hostname") + 1 :][:3] == [
        "write to 1",
        f"wrote {HOSTNAME}",
        f"write {HOSTNAME}",
    ]


def test_threads_and_children(modules: Modules) -> None:
    program = (
        "import os, threading;"
        "t = threading.Thread(target=int); t.start(); t.join();"
        "pid = os.fork() or os._exit(0); os.waitpid(pid, 0)"
    )
    done = modules.run(THREADED, "-c", f"{PYTHON} -ISc '{program}'")
    lines = done.out.splitlines()  # a thread may end after its joiner has gone on
    assert sorted(lines) == sorted(
        ["first", "begin 1", "end 1", "child", "child ends", "first ends"]
    )
    assert (lines[0], lines[-2:]) == ("first", ["child ends", "first ends"]), done.err


def test_a_target_that_runs_already(modules: Modules) -> None:
    words = [PYTHON, "-ISc", "import os, time\nwhile True: os.getppid(); time.sleep(0.001)"]
    with subprocess.Popen(words) as target, subprocess.Popen(words) as other:
        try:
            done = modules.run(RUNNING, "-x", str(target.pid))
        finally:
            target.kill()
            other.kill()
    assert done.out == "begin 1 python3.11\nend 1 1\n", done.err
    assert done.status == 0


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


def test_files_of_a_session_that_was_killed(modules: Modules) -> None:
    run = started(str(modules.build(FILES)))
    directory = Path("/proc/systemtap")
    wait_until(lambda: (directory / modules.build(FILES).stem / "count").exists())
    os.kill(run.pid, signal.SIGKILL)
    run.end(60)
    wait_until(lambda: not directory.exists())


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for something that is bound to come."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_standard_input(modules: Modules) -> None:
    command = [sys.executable, "-m", "pystap.staprun", str(modules.build(TYPED))]
    done = subprocess.run(command, input="one\nx\nend\nmore\n", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "line one\nx was typed\nline x\nline end\n"


def test_packets_and_what_becomes_of_them(modules: Modules, tmp_path: Path) -> None:
    subprocess.run(["busybox", "ip", "link", "set", "lo", "up"], check=True)
    program = tmp_path / "program"
    program.write_text(
        "import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "for n in (33, 34):\n"
        "    try: s.sendto(b'x' * n, ('127.0.0.1', 9))\n"
        "    except PermissionError: print('dropped')\n"
    )
    said = tmp_path / "said"
    done = modules.run(PACKETS, "-c", f"sh -c '{PYTHON} -IS {program} > {said}'")
    assert done.out == "3 by lo: 1\npassed\n", done.err
    assert said.read_text() == "dropped\n"


def test_places_that_cannot_be_probed_are_left_out(modules: Modules) -> None:
    done = modules.run(LEFT_OUT)
    assert done.out == "done\n"
    assert done.err.startswith(
        "WARNING: probe kprobe.statement(0x1000).absolute registration error"
    )
    assert done.status == 0


def test_missed_returns_are_counted(modules: Modules, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(SLEEPERS)
    done = modules.run(ONE_RETURN, "-c", f"{PYTHON} -IS {program}")
    found = re.fullmatch(
        r"WARNING: Number of errors: 0, skipped probes: (\d)\n((?:slept\n)+)", done.err + done.out
    )
    assert found, done
    # the kernel rounds the number of outstanding returns up
    assert int(found[1]) + found[2].count("slept") == 5


def test_unloads_while_its_probes_are_hit(modules: Modules) -> None:
    busy = [
        subprocess.Popen(["sh", "-c", "while :; do cat /etc/hostname; done"], stdout=-3),
        subprocess.Popen([PYTHON, "-ISc", "import time\nwhile True: time.sleep(0.01)"]),
        subprocess.Popen(["sleep", "1000"]),
    ]
    try:
        for _ in range(2):
            done = modules.run(BUSY)
            assert [int(word) > 0 for word in done.out.split()] == [True] * 5, done.err
            assert done.status == 0
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert "stap_" not in Path("/proc/modules").read_text()
