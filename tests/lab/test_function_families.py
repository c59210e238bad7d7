"""Families of the tapset on kernel functions: each fires once for each thing that a program does,
and says what it did."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.test_kernel_functions import run

pytestmark = pytest.mark.lab

# a handler may come upon another one of its CPU
SKIPPED = r"(WARNING: Number of errors: 0, skipped probes: \d+\n)?"


def test_files(tmp_path: Path) -> None:
    program = """
import os
f = os.open(__file__ + ".data", os.O_RDWR | os.O_CREAT)
assert os.write(f, b"x" * 4321) == 4321
assert len(os.pread(f, 4322, 21)) == 4300
assert os.writev(f, [b"y" * 4000, b"z" * 323]) == 4323
assert os.preadv(f, [bytearray(4000), bytearray(324)], 8000) == 644
os.close(f)
f = os.open(__file__ + ".data", os.O_WRONLY)
try:
    os.read(f, 4321)
except OSError:
    pass
try:
    os.open(__file__ + ".data", os.O_RDONLY | os.O_DIRECTORY)
except OSError:
    pass
print(os.fstat(f).st_ino)
"""
    path = tmp_path / "program.py.data"
    script = f"""
    function ours(path) {{ return pid() == target() && path == "{path}" }}
    probe vfs.read, vfs.readv {{
      if (ours(pathname) && file)
        printf("%s %d %d %d %s\\n", name, pos, bytes_to_read, ino, devname)
    }}
    probe vfs.write, vfs.writev {{
      if (ours(pathname)) printf("%s %d %d %d\\n", name, pos, bytes_to_write, dev > 0)
    }}
    probe vfs.read.return, vfs.readv.return {{
      if (ours(pathname))
        printf("%s %d %d %d %s %s\\n", name, pos, bytes_to_read, bytes_read, retstr, error_str)
    }}
    probe vfs.write.return, vfs.writev.return {{
      if (ours(pathname))
        printf("%s %d %d %d %d %s\\n", name, pos, bytes_to_write, bytes_written, ret, error_str)
    }}
    probe vfs.open {{ if (ours(pathname)) println(name, " ", path != 0) }}
    probe vfs.open.return {{ if (ours(pathname)) println(name, " ", ret, " ", error, error_str) }}
    """
    done = run(tmp_path, program, "-e", script)
    assert re.fullmatch(SKIPPED, done.err)
    lines = done.out.splitlines()
    inode = next(line for line in lines if line.isdigit())
    opened = [line for line in lines if line.startswith("vfs.open")]
    assert set(opened) == {"vfs.open 1", "vfs.open 0 0"}
    assert len(opened) >= 4
    rest = [line for line in lines if line != inode and not line.startswith("vfs.open")]
    assert rest == [
        "vfs.write 0 4321 1",
        "vfs.write 0 4321 4321 4321 ",
        f"vfs.read 21 4322 {inode} N/A",
        "vfs.read 21 4322 4300 4300 ",
        "vfs.writev 4321 4323 1",
        "vfs.writev 4321 4323 4323 4323 ",
        f"vfs.readv 8000 4324 {inode} N/A",
        "vfs.readv 8000 4324 644 644 ",
        f"vfs.read 0 4321 {inode} N/A",
        "vfs.read 0 4321 0 -9 EBADF",
    ]


def test_sockets(tmp_path: Path) -> None:
    program = """
import os, socket
one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
assert one.send(b"x" * 321) == 321
assert len(other.recv(500)) == 321
assert os.write(one.fileno(), b"y" * 11) == 11
assert len(os.read(other.fileno(), 50)) == 11
try:
    other.recv(44, socket.MSG_DONTWAIT)
except BlockingIOError:
    pass
one.close()
other.close()
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 6)
except OSError:
    pass
"""
    script = """
    function ours() { return pid() == target() }
    function told(name, family, type, protocol) {
      printf("%s %s %s %d", name, sock_fam_num2str(family), sock_type_num2str(type), protocol)
    }
    probe socket.sendmsg, socket.recvmsg {
      if (ours()) {
        told(name, family, type, protocol)
        printf(" %s %d\\n", sock_state_num2str(state), size)
      }
    }
    probe socket.send, socket.receive {
      if (ours()) { told(name, family, type, protocol) printf(" %d %d\\n", success, size) }
    }
    probe socket.write_iter, socket.read_iter {
      if (ours()) { told(name, family, type, protocol) printf(" %d\\n", size) }
    }
    probe socket.write_iter.return, socket.read_iter.return {
      if (ours()) { told(name, family, type, protocol) printf(" %d %d\\n", success, size) }
    }
    probe socket.create {
      if (ours()) { told(name, family, type, protocol) println(" ", requester) }
    }
    probe socket.create.return {
      if (ours()) { told(name, family, type, protocol) println(" ", success, " ", err) }
    }
    probe socket.close { if (ours()) { told(name, family, type, protocol) println("") } }
    probe socket.close.return { if (ours()) println(name, " done") }
    """
    done = run(tmp_path, program, "-e", script)
    assert done.err == ""
    unix = "LOCAL DGRAM 0"
    lines = done.out.splitlines()
    # where the compiler inlined __sock_sendmsg, both of these are returns of sock_write_iter
    at = lines.index(f"socket.write_iter {unix} 11") + 2
    lines[at : at + 2] = sorted(lines[at : at + 2])
    assert lines == [
        *(f"socket.create {unix} 0", f"socket.create {unix} 1 0") * 2,
        *(f"socket.sendmsg {unix} CONNECTED 321", f"socket.send {unix} 1 321"),
        *(f"socket.recvmsg {unix} CONNECTED 500", f"socket.receive {unix} 1 321"),
        *(f"socket.write_iter {unix} 11", f"socket.sendmsg {unix} CONNECTED 11"),
        *(f"socket.send {unix} 1 11", f"socket.write_iter {unix} 1 11"),
        *(f"socket.read_iter {unix} 50", f"socket.recvmsg {unix} CONNECTED 50"),
        *(f"socket.receive {unix} 1 11", f"socket.read_iter {unix} 1 11"),
        *(f"socket.recvmsg {unix} CONNECTED 44", f"socket.receive {unix} 0 -11"),
        *(f"socket.close {unix}", "socket.close done") * 2,
        *("socket.create INET DGRAM 6 0", "socket.close UNSPEC DGRAM 0", "socket.close done"),
        "socket.create INET DGRAM 6 0 -93",
    ]


def test_memory(tmp_path: Path) -> None:
    program = """
import mmap
place = mmap.mmap(-1, 333 * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(7):
    place[page * 4096] = 1
place.close()
"""
    script = """
    global start, faults, minor
    probe vm.mmap.return {
      if (pid() == target() && length == 333 * 4096) start = $return
    }
    probe vm.pagefault {
      if (pid() == target() && start && address >= start && address < start + 333 * 4096)
        faults[(address - start) / 4096, write_access]++
    }
    probe vm.pagefault.return { if (pid() == target() && fault_type == VM_FAULT_MINOR) minor++ }
    probe vm.munmap {
      if (pid() == target() && start && length == 333 * 4096) {
        println(name, " ", address == start)
        start = 0 // others may get the place now
      }
    }
    probe end {
      foreach ([page+, write] in faults) println(page, " ", write, " ", faults[page, write])
      println(minor >= 7)
    }
    """
    done = run(tmp_path, program, "-e", script)
    assert done.err == ""
    faults = [f"{page} 1 1" for page in range(7)]
    assert done.out.splitlines() == ["vm.munmap 1", *faults, "1"]


def test_allocation(tmp_path: Path) -> None:
    script = """
    global got, bad
    probe vm.kmalloc {
      if (pid() == target()) {
        got["kmalloc"]++
        if (bytes_alloc < bytes_req || caller_function == "" || !ptr) bad++
      }
    }
    probe vm.kmem_cache_alloc {
      if (pid() == target()) { got["cache"]++ if (bytes_alloc < bytes_req) bad++ }
    }
    probe vm.kfree { if (pid() == target()) got["kfree"]++ }
    probe vm.kmem_cache_free { if (pid() == target()) got["free"]++ }
    probe end { foreach (k+ in got) println(k, " ", got[k] > 0) println(bad) }
    """
    done = run(tmp_path, "open(__file__).read()", "-e", script)
    assert done.out.splitlines() == ["cache 1", "free 1", "kfree 1", "kmalloc 1", "0"]


def test_signals_and_processes(tmp_path: Path) -> None:
    program = """
import os, signal
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGHUP])
os.kill(os.getpid(), signal.SIGUSR2)
for _ in range(3):
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
try:
    signal.signal(signal.SIGKILL, signal.SIG_IGN)
except OSError:
    pass
"""
    script = """
    global started, ticks
    probe signal.do_action {
      if (pid() == target() && sig_name == "SIGUSR2" && sigact_addr)
        println(name, " ", sig, " ", sa_handler)
    }
    probe signal.do_action.return {
      if (pid() == target() && $sig == 9 && $act) println(name, " ", retstr)
    }
    probe signal.procmask {
      if (pid() == target() && how < 2 && strlen(sigset) < 20)
        println(name, " ", how, " ", sigset)
    }
    probe signal.checkperm {
      if (pid() == target()) println(name, " ", sig_name, " ", sig_pid == target(), " ", si_code)
    }
    probe signal.checkperm.return { if (pid() == target()) println(name, " ", retstr) }
    probe kprocess.start { if (ppid() == target()) started++ }
    probe scheduler.tick { ticks++ }
    probe end { println(started, " ", ticks > 0) }
    """
    done = run(tmp_path, program, "-e", script)
    assert done.err == ""
    assert done.out.splitlines() == [
        "signal.do_action 12 1",
        "signal.procmask 0 SIGHUP,SIGUSR1",
        "signal.checkperm SIGUSR2 1 SI_USER",
        "signal.checkperm 0",
        "signal.procmask 1 SIGUSR1",
        "signal.do_action -22 (EINVAL)",
        "3 1",
    ]
