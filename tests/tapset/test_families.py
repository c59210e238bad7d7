"""Families of probes made of tracepoints: each fires for what a test does, and says what it did.

Handlers keep to the processes of the test by their names, others are busy on the machine too.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from stap import stap

PYTHON = sys.executable


def lines(script: str, program: Path, text: str) -> list[str]:
    """What a script prints while a Python program of that name runs as its target."""
    program.with_suffix(".py").write_text(text)
    if not program.exists():
        program.symlink_to(PYTHON)
    done = stap("-c", f"{program} -IS {program.with_suffix('.py')}", "-e", script)
    assert (done.err, done.status) == ("", 0)
    return done.out.splitlines()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program whose name nobody else has."""
    return tmp_path / f"fam{os.getpid()}"


def test_scheduler(program: Path) -> None:
    script = """
    global seen, pids, bad
    probe scheduler.ctxswitch {
      if (prev_pid == target()) seen["off"]++
      if (next_pid == target()) {
        seen["on"]++
        if (next_task_name != task_execname(next_task) || task_pid(next_task) != next_pid) bad++
      }
      if (task_current() != prev_task || prev_pid != pid() || prev_tid != tid()) bad++
    }
    probe scheduler.cpu_off {
      if (task_prev != task_current() || idle != (tid() == 0)) bad++
      if (pid() == target()) seen["cpu_off"]++
    }
    probe scheduler.wakeup { if (task_pid == target() && task_tid == target()) seen["wakeup"]++ }
    probe scheduler.wakeup_new { if (task_pid == target() || pids[task_pid]) seen["new"]++ }
    probe scheduler.process_fork {
      if (parent_pid == target()) { seen["fork"]++ pids[child_pid] = 1 }
    }
    probe scheduler.process_exit { if (pids[pid]) seen["exit"]++ }
    probe scheduler.process_wait { if (pid() == target()) seen["wait"]++ }
    probe scheduler.signal_send { if (pid() == target() && signal_number == 10) seen["signal"]++ }
    probe end {
      foreach (k+ in seen) printf("%s %s\\n", k, seen[k] >= 3 ? "enough" : sprint(seen[k]))
      println("bad ", bad)
    }
    """
    text = """
import os, time
for _ in range(3):
    child = os.fork()
    if child == 0:
        time.sleep(5)
        os._exit(0)
    os.kill(child, 10)
    os.waitpid(child, 0)
    time.sleep(0.01)
"""
    kinds = ("cpu_off", "exit", "fork", "new", "off", "on", "signal", "wait", "wakeup")
    expected = [f"{k} enough" for k in kinds]
    assert lines(script, program, text) == [*expected, "bad 0"]


def test_kprocess(program: Path) -> None:
    script = """
    global mine
    probe kprocess.create {
      if (pid() == target()) { mine[new_pid] = 1 println("create ", task_pid(task) == new_pid) }
    }
    probe kprocess.exec { if (mine[pid()]) println(name, " ", filename, " ", args) }
    probe kprocess.exec_complete { if (mine[pid()]) println(success, " ", errno, " ", retstr) }
    probe kprocess.exit { if (mine[pid()]) println("exit ", code) }
    """
    text = """
import os
for path, status in (("/nonexistent", 7), ("/bin/false", 0)):
    child = os.fork()
    if child == 0:
        try:
            os.execv(path, [path, "one"])
        finally:
            os._exit(status)
    os.waitpid(child, 0)
"""
    assert lines(script, program, text) == [
        "create 1",
        'execve "/nonexistent" ["/nonexistent", "one"]',
        "0 -2 -2 (ENOENT)",
        "exit 1792",
        "create 1",
        'execve "/bin/false" ["/bin/false", "one"]',
        "1 0 0",
        "exit 256",
    ]


def test_a_released_process_is_reported() -> None:
    script = """
    global mine, seen
    probe kprocess.create { if (execname() == "sh") mine[new_pid] = 1 }
    probe kprocess.release, scheduler.process_free {
      if (mine[pid]) seen[pn()]++
      if (seen["kprocess.release"] && seen["scheduler.process_free"]) {
        foreach (k+ in seen) println(k)
        exit()
      }
    }
    """
    done = stap("-c", "sh -c 'while :; do /bin/true; done'", "-T", "30", "-e", script)
    assert done.out.splitlines() == ["kprocess.release", "scheduler.process_free"]


def test_signals(program: Path) -> None:
    script = """
    probe signal.send {
      if (sig_pid == target() && sig != 17)
        println("send ", sig, " ", sig_name, " ", pid_name == execname(), " ", si_code, shared)
    }
    probe signal.handle { if (pid() == target()) println("handle ", sig_name, " ", sig_mode) }
    probe signal.syskill { if (pid() == target()) println(name, " ", sig_name, sig_pid == pid()) }
    probe signal.systgkill { if (pid() == target()) println(name, " ", sig_name, tgid == pid()) }
    probe signal.systgkill.return { if (pid() == target()) println(name, " ", retstr) }
    """
    text = """
import ctypes, os, signal
signal.signal(signal.SIGUSR1, lambda *a: None)
os.kill(os.getpid(), signal.SIGUSR1)
libc = ctypes.CDLL(None)
libc.syscall(234, os.getpid(), os.getpid(), 10)
"""
    assert lines(script, program, text) == [
        "kill SIGUSR11",
        "send 10 SIGUSR1 1 SI_USER1",
        "handle SIGUSR1 user",
        "tgkill SIGUSR11",
        "send 10 SIGUSR1 1 SI_TKILL0",
        "tgkill 0",
        "handle SIGUSR1 user",
    ]


def test_packets(program: Path) -> None:
    script = """
    global port
    probe netdev.transmit, netdev.hard_transmit, netdev.rx {
      if (pid() == target() && dev_name == "lo") seen[pn(), ntohs(protocol)]++
    }
    probe netdev.receive {
      if (dev_name == "lo" && length >= 4200 && truesize > length) seen[pn(), ntohs(protocol)]++
    }
    probe netdev.transmit { if (pid() == target()) lengths[length]++ }
    global seen, lengths
    probe end {
      foreach ([k+, p] in seen) printf("%s %#x %d\\n", k, p, seen[k, p])
      foreach (l in lengths) println(l)
    }
    """
    text = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
for _ in range(3):
    s.sendto(b"x" * 4200, s.getsockname())
    s.recv(5000)
"""
    out = lines(script, program, text)
    for kind in ("netdev.hard_transmit", "netdev.rx", "netdev.transmit"):
        assert f"{kind} 0x800 3" in out
    assert any(line.startswith("netdev.receive 0x800 ") for line in out)
    assert out[-1] == str(14 + 20 + 8 + 4200)


def test_block_requests(program: Path, tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"")
    device = os.stat(tmp_path).st_dev
    script = """
    global mine
    probe ioblock.request {
      if (pid() == target() && size >= 8192) {
        mine[sector] = 1
        println("request ", devname, " ", size, " ", bio_rw_str(rw), " ", ino)
      }
    }
    probe ioblock.end { if (mine[sector]) println("end ", devname, " ", bytes_done, " ", error) }
    """
    text = f"""
import os
f = os.open({str(file)!r}, os.O_WRONLY)
os.write(f, b"x" * 8192)
os.fsync(f)
"""
    found = lines(script, program, text)
    name = r"\w+"
    if os.major(device):  # else the file system lies on another one
        name = os.path.basename(
            os.readlink(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
        )
    inode = file.stat().st_ino
    assert any(re.fullmatch(rf"request {name} 8192 W {inode}", line) for line in found), found
    assert any(re.fullmatch(rf"end {name} 8192 0", line) for line in found), found


def test_interrupts_and_work() -> None:
    script = """
    global seen
    probe irq_handler.entry { if (irq >= 0 && strlen(dev_name)) seen["entry"]++ }
    probe irq_handler.exit { if (ret >= 0 && handler) seen["exit"]++ }
    probe softirq.entry { if (vec_nr < 10) seen["soft"]++ }
    probe softirq.exit { if (vec_nr < 10) seen["softexit"]++ }
    probe workqueue.insert { if (work && work_func) seen["insert"]++ }
    probe workqueue.execute { if (work && wq_thread == task_current()) seen["execute"]++ }
    probe timer.ms(20) {
      foreach (k in seen) n++
      if (n == 6) { println("all") exit() }
    }
    """
    text = "sh -c 'while :; do dd if=/dev/zero of=DIR bs=4k count=1 conv=fsync 2>/dev/null; done'"
    path = Path(os.environ.get("TMPDIR", "/var/tmp")) / f"pystap-irq-{os.getpid()}"
    try:
        done = stap("-c", text.replace("DIR", str(path)), "-T", "30", "-e", script)
    finally:
        path.unlink(missing_ok=True)
    assert done.out == "all\n"
