"""Watchpoints, security hooks and packet hooks, and the families of the tapset on functions of the
network, of terminals and of file systems: each tells of what a program does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import watched
from lab.test_kernel_functions import run, symbol
from stap import STAP, stap, wait_for

pytestmark = pytest.mark.lab

FREE = "-DSTP_NO_OVERLOAD"  # everything is slow here


@pytest.fixture(scope="module", autouse=True)
def _loopback() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def test_watchpoints_and_hooks(tmp_path: Path) -> None:
    program = """
import os, socket
name = __file__ + ".data"
open(name, "w").close()
os.unlink(name)
os.kill(os.getpid(), 0)
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("127.0.0.1", 4321))
other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(7):
    other.sendto(b"hello", one.getsockname())
assert one.recv(10) == b"hello"
"""
    script = """
    global ticks, opened, hooks, packets, killed, unlinked
    probe kernel.data("jiffies_64").write {
      if (pp() == "kernel.data(\\"jiffies_64\\").write" && register("rip") && !user_mode()) ticks++
    }
    probe kernel.lsm("file_open") {
      if (pid() == target()
          && isinstr(kernel_string($file->f_path->dentry->d_name->name), "program.py.data"))
        opened[pp(), $ctx != 0]++
    }
    probe lsm.inode_unlink {
      if (pid() == target() && dir)
        unlinked += isinstr(kernel_string(@cast(dentry, "dentry")->d_name->name), ".data")
    }
    probe lsm.task_kill { if (pid() == target()) killed[task_pid(p) == target()]++ }
    probe netfilter.hook("NF_INET_LOCAL_IN").pf("NFPROTO_IPV4"),
          netfilter.pf("NFPROTO_IPV4").hook("NF_IP_LOCAL_OUT").priority("NF_IP_PRI_FIRST") {
      from = $in ? get_netdev_name($in) : "-"
      to = $out ? get_netdev_name($out) : "-"
      if ($skb->len == 33) hooks[$hooknum, from, to, $verdict]++
    }
    probe netfilter.ipv4.post_routing, netfilter.ip.local_in {
      if (protocol == ipproto_udp && dport == 4321)
        packets[strlen(data_hex), saddr . " " . daddr, isinstr(data_str, "hello"), length]++
    }
    probe end {
      println(ticks > 0, unlinked > 0)
      foreach ([p, c] in opened) println(p, " ", c)
      foreach (k in killed) println("kill ", k, " ", killed[k])
      foreach ([h+, i, o, v] in hooks) println(h, " ", i, " ", o, " ", v, " ", hooks[h, i, o, v])
      foreach ([h, a, t, l] in packets)
        println(h, " ", a, " ", t, " ", l, " ", packets[h, a, t, l])
    }
    """
    done = run(tmp_path, program, "-e", script)
    assert done.err == ""
    assert done.out.splitlines() == [
        "11",
        'kernel.lsm("file_open") 1',
        "kill 1 1",
        "1 lo - 1 7",
        "3 - lo 1 7",
        "66 127.0.0.1 127.0.0.1 1 33 14",
    ]


def test_watchpoints_of_all_forms() -> None:
    """By name and by address, on numbers that are read and written by files of /proc/sys.

    Each on a place of its own: QEMU's processor tells of one watchpoint that is hit, not of all.
    """
    files = {
        "panic_timeout": "kernel/panic",
        "panic_on_warn": "kernel/panic_on_warn",
        "sysctl_oom_dump_tasks": "vm/oom_dump_tasks",
        "sysctl_oom_kill_allocating_task": "vm/oom_kill_allocating_task",
    }
    _, any_length, write, both = map(symbol, files)
    script = f"""
    global hits
    probe kernel.data("panic_timeout").rw, kernel.data({any_length:#x}).rw,
          kernel.data({write:#x}).length(4).write, kernel.data({both:#x}).length(4).rw {{
      if (ppid() == target()) hits[pp()]++
    }}
    probe end {{ foreach (point+ in hits) println(point, " ", hits[point]) }}
    """
    done = stap("-c", watched.changes(files.values()), "-e", script, timeout=300)
    assert (done.err, done.status) == ("", 0)
    counts = dict(line.rsplit(" ", 1) for line in done.out.splitlines())
    assert counts[f"kernel.data({write:#x}).length(4).write"] == "1"
    assert int(counts['kernel.data("panic_timeout").rw']) >= 2
    assert int(counts[f"kernel.data({any_length:#x}).rw"]) >= 2
    assert int(counts[f"kernel.data({both:#x}).length(4).rw"]) >= 2


def test_security_hooks_that_refuse(tmp_path: Path) -> None:
    program = """
import errno, os
def opened(name):
    try:
        os.close(os.open(__file__ + name, os.O_RDONLY))
    except OSError as error:
        return errno.errorcode[error.errno]
    return "opened"
for name in (".no", ".never", ".wrong", ".yes"):
    open(__file__ + name, "w").close()
open(__file__ + ".out", "w").write(" ".join(map(opened, (".no", ".never", ".wrong", ".yes"))))
"""
    script = """
    probe kernel.lsm("file_open") {
      if (pid() != target() || $file->f_mode & 2) next // that was made to be written to
      name = kernel_string($file->f_path->dentry->d_name->name)
      if (name == "program.py.no") $return = -13
      if (name == "program.py.never") { $return = -1 $return = -2 - strlen("") }
      if (name == "program.py.wrong") {
        try { $return = 13 } catch (m) { told[m]++ }
        try { $return = -4096 } catch (m) { told[m]++ }
      }
    }
    probe kernel.lsm("file_open") {
      if (pid() == target())
        got += kernel_string($file->f_path->dentry->d_name->name) == "program.py.yes"
    }
    global got, told
    probe end { println(got > 0) foreach (m+ in told) println(m) }
    """
    done = run(tmp_path, program, FREE, "-g", "-e", script)
    assert done.err == ""
    assert done.out.splitlines() == [
        "1",
        "-4096 is no result of a security hook (-4095..0)",
        "13 is no result of a security hook (-4095..0)",
    ]
    told = (tmp_path / "program.py.out").read_text()
    assert told == "EACCES ENOENT opened opened"


def test_tcp_and_udp(tmp_path: Path) -> None:
    program = """
import socket
listener = socket.socket()
listener.bind(("127.0.0.1", 4323))
listener.listen()
one = socket.socket()
one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
one.connect(listener.getsockname())
other, _ = listener.accept()
one.sendall(b"x" * 321)
got = b""
while len(got) < 321:
    got += other.recv(500)
one.close()
other.close()
left = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
left.bind(("127.0.0.1", 4324))
right = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
right.bind(("127.0.0.1", 4325))
right.connect(left.getsockname())
right.send(b"y" * 77)
assert len(left.recv(100)) == 77
"""
    script = """
    global segments
    probe tcp.sendmsg { if (pid() == target()) println(name, " ", family, " ", size) }
    probe tcp.sendmsg.return { if (pid() == target()) println(name, ".return ", size) }
    probe tcp.recvmsg {
      if (pid() == target())
        println(name, " ", size, " ", saddr, ":", sport, " ", daddr, dport ? " port" : "")
    }
    probe tcp.setsockopt {
      if (pid() == target()) println(name, " ", level, " ", optname, " ", optstr, " ", optlen)
    }
    probe tcp.setsockopt.return { if (pid() == target()) println(name, ".return ", ret) }
    probe tcp.receive {
      if (dport == 4323 && saddr == "127.0.0.1" && daddr == saddr && protocol == 6 && window)
        segments[sprintf("%d%d", syn, fin), family]++
    }
    probe udp.sendmsg, udp.recvmsg {
      if (pid() == target() && (sport == 4324 || sport == 4325))
        printf("%s %d %s:%d %s:%d\\n", name, size, saddr, sport, daddr, dport)
    }
    probe udp.sendmsg.return, udp.recvmsg.return {
      if (pid() == target() && (sport == 4324 || sport == 4325)) println(name, ".return ", size)
    }
    probe tcpmib.ActiveOpens, tcpmib.PassiveOpens, tcpmib.CurrEstab, tcpmib.InSegs,
          tcpmib.OutSegs, ipmib.InReceives, ipmib.OutRequests {}
    probe end {
      foreach ([flags+, family] in segments)
        println(flags, " ", family, " ", segments[flags, family] > 0)
      println(ActiveOpens[1], PassiveOpens[1], CurrEstab[1])
      println(InSegs[1] > 5, OutSegs[1] > 5, InReceives[1] > 7, OutRequests[1] > 7)
    }
    """
    done = run(tmp_path, program, "-e", script)
    lines = done.out.splitlines()
    assert lines[:6] == [
        "tcp.ipv4.setsockopt 6 1 TCP_NODELAY 4",
        "tcp.ipv4.setsockopt.return 0",
        "tcp.sendmsg 2 321",
        "tcp.sendmsg.return 321",
        "tcp.recvmsg 500 127.0.0.1:4323 127.0.0.1 port",
        "udp.sendmsg 77 127.0.0.1:4325 127.0.0.1:4324",
    ]
    assert lines[6:9] == [
        "udp.sendmsg.return 77",
        "udp.recvmsg 100 127.0.0.1:4324 0.0.0.0:0",
        "udp.recvmsg.return 77",
    ]
    assert lines[9:12] == ["00 2 1", "01 2 1", "10 2 1"]
    opened = lines[12]
    assert opened.startswith("11"), opened  # CurrEstab: both sides may not have gone yet
    assert lines[13:] == ["1111"]


def test_devices_terminals_and_files(tmp_path: Path) -> None:
    data = tmp_path / "ram"
    data.mkdir()
    subprocess.run(["mount", "-t", "ramfs", "none", data], check=True)
    program = f"""
import fcntl, mmap, os, pty, socket, struct, termios
name = "{data}/data"
f = os.open(name, os.O_RDWR | os.O_CREAT)
assert os.write(f, b"x" * 5000) == 5000
assert os.lseek(f, 100, os.SEEK_SET) == 100
assert len(os.read(f, 200)) == 200
mmap.mmap(f, 4096).close()
r, w = os.pipe()
assert os.splice(f, w, 1000, offset_src=0) == 1000
os.close(f)
control, terminal = pty.openpty()
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
os.write(terminal, b"hello")
assert os.read(control, 10) == b"hello"
os.write(control, b"typed\\n")
assert os.read(terminal, 10) == b"typed\\n"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
request = struct.pack("16sI12x", b"lo", 1400)
fcntl.ioctl(s, 0x8922, request)  # SIOCSIFMTU
open("/proc/net/dev").read()
"""
    script = """
    global got
    probe generic.fop.llseek {
      if (pid() == target() && isinstr(pathname, "/data"))
        println(name, " ", offset, " ", whence_str, " ", maxbyte > 0)
    }
    probe generic.fop.write_iter, generic.fop.read_iter {
      if (pid() == target() && isinstr(pathname, "/data")) println(name, " ", pos, " ", count)
    }
    probe generic.fop.read_iter.return {
      if (pid() == target() && isinstr(pathname, "/data"))
        println(name, ".return ", retstr, " ", bytes_read)
    }
    probe generic.fop.mmap { if (pid() == target()) got["mmap"] += isinstr(pathname, "/data") }
    probe generic.fop.splice_read, generic.fop.splice_read.return {
      if (pid() == target()) got["splice " . sprint(size)]++
    }
    probe tty.open { if (pid() == target() && file_name != "") got["open"]++ }
    probe tty.resize {
      if (pid() == target())
        printf("%s %d %d %d\\n", substr(name, 0, 3), old_row, new_row, new_col)
    }
    probe tty.write {
      if (pid() == target()) printf("%s %d %s\\n", driver_name, nr, kernel_string_n(buffer, nr))
    }
    probe tty.read { if (pid() == target()) got["read"]++ }
    probe tty.ioctl { if (pid() == target() && cmd == 0x5414) got["ioctl"]++ }
    probe netdev.change_mtu {
      if (pid() == target()) println(dev_name, " ", old_mtu > 60000, " ", new_mtu)
    }
    probe netdev.ioctl { if (pid() == target() && cmd == 0x8922) got["netdev"]++ }
    probe netdev.get_stats { if (pid() == target() && dev_name == "lo") got["stats"]++ }
    probe end { foreach (k+ in got) println(k, " ", got[k] > 0) }
    """
    done = run(tmp_path, program, "-e", script)
    wanted = [
        "generic.fop.write_iter 0 5000",
        "generic.fop.llseek 100 SEEK_SET 1",
        "generic.fop.read_iter 100 200",
        "generic.fop.read_iter.return 200 200",
        "pts 0 31 97",
        "pty_slave 5 hello",
        "lo 1 1400",
        *("ioctl 1", "mmap 1", "netdev 1", "open 1", "read 1", "splice 1000 1", "stats 1"),
    ]
    # kernels differ in what a splice and an echo are made of
    assert [line for line in done.out.splitlines() if line in wanted] == wanted


def test_signals_scheduling_and_allocation(tmp_path: Path) -> None:
    program = """
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
os.kill(os.getpid(), signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGUSR2)
signal.sigpending()
for _ in range(3):
    os.sched_yield()
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
"""
    script = """
    global got, names
    probe signal.check_ignored { if (pid() == target() && sig >= 10) got["check " . sig_name]++ }
    probe signal.check_ignored.return { if (pid() == target()) got["ignored " . retstr]++ }
    probe signal.send.return { if (pid() == target() && sig == 10) got["sent " . retstr]++ }
    probe signal.handle.return { if (pid() == target()) got["handled " . retstr]++ }
    probe signal.pending { if (pid() == target() && sigset_add) got["pending"]++ }
    probe scheduler.cpu_on {
      if (pid() == target() && task_prev != task_current()) got["on"]++
      if (idle && task_tid(task_prev)) got["bad"]++
    }
    probe vm.kmalloc, vm.kmem_cache_alloc {
      if (pid() == target()) names[gfp_flag_name]++
    }
    probe end {
      foreach (k+ in got) println(k)
      foreach (n in names) {
        if (!isinstr(n, "GFP_")) println("no name: ", n)
        if (n == "GFP_KERNEL" || n == "GFP_KERNEL_ACCOUNT") println("kernel")
      }
    }
    """
    done = run(tmp_path, program, "-e", script)
    assert done.err == ""
    lines = done.out.splitlines()
    assert lines[-1] == "kernel"
    assert lines[: lines.index("kernel")] == [
        *("check SIGCHLD", "check SIGUSR1", "check SIGUSR2"),
        *("handled 0", "ignored 0", "ignored 1", "on", "pending", "sent 0"),
    ]


def test_disks(tmp_path: Path) -> None:
    subprocess.run(["modprobe", "-a", "sd_mod", "scsi_debug"], check=True)
    names = "import glob, os; print(*[os.path.basename(p) for p in glob.glob('/sys/bus/pseudo/"
    names += "drivers/scsi_debug/adapter0/host*/target*/*/block/*')])"
    program = f"""
import os, subprocess, sys, time
deadline = time.monotonic() + 60
while True:
    name = subprocess.run([sys.executable, "-IS", "-c", {names!r}], capture_output=True, text=True)
    if name.stdout.strip() or time.monotonic() > deadline:
        break
    time.sleep(0.1)
f = os.open("/dev/" + name.stdout.strip(), os.O_RDONLY)
assert len(os.pread(f, 8192, 0)) == 8192
"""
    script = """
    global got
    probe module("scsi_mod").tracepoint("scsi_dispatch_cmd_start"),
          module("scsi*").tracepoint("*cmd_done") {
      got["module " . $$name, $arg1->device->lun]++
    }
    probe kernel.tracepoint("block_rq_issue") { if ($arg1->q) got["kernel " . $$name, 0]++ }
    probe scsi.ioentry { if (q && req_addr) got["entry", disk_major]++ }
    probe scsi.iodispatching {
      if (data_direction_str == "FROM_DEVICE" && request_bufflen && device_state_str == "RUNNING")
        got["dispatching", lun]++
    }
    probe scsi.iodone { if (host_no >= 0 && req_addr) got["done", lun]++ }
    probe scsi.iocompleted { if (goodbytes) got["completed", lun]++ }
    probe ioscheduler_trace.elv_issue_request {
      if (disk_major == 8 && rq && elevator_name != "") got["issue", disk_major]++
    }
    probe ioscheduler_trace.elv_completed_request {
      if (disk_major == 8) got["elevator", disk_major]++
    }
    probe end { foreach ([k+, n] in got) println(k, " ", n) }
    """
    done = run(tmp_path, program, "-e", script)
    assert done.out.splitlines() == [
        *("completed 0", "dispatching 0", "done 0", "elevator 8", "entry 8", "issue 8"),
        *("kernel block_rq_issue 0", "module scsi_dispatch_cmd_done 0"),
        "module scsi_dispatch_cmd_start 0",
    ]
    subprocess.run(["modprobe", "-r", "scsi_debug"], check=False)


def test_a_module_that_is_loaded_later(tmp_path: Path) -> None:
    subprocess.run(["modprobe", "-r", "dummy"], check=False, capture_output=True)
    program = """
import subprocess
def call(*words):
    subprocess.run(words, check=True)
call("modprobe", "dummy", "numdummies=0")
call("ip", "link", "add", "first", "type", "dummy")
call("modprobe", "-r", "dummy")
call("modprobe", "dummy", "numdummies=0")
call("ip", "link", "add", "second", "type", "dummy")
call("modprobe", "-r", "dummy")
"""
    script = """
    global reads
    probe module("dummy").function("dummy_setup") {
      printf("%s %d %s\\n", pp(), $dev != 0, execname())
    }
    probe module("dummy").function("dummy_validate").return { println("valid ", $return) }
    probe kernel.function("vfs_read").return.maxactive(3) {
      if (pid() == target() && register("rsp")) reads++
    }
    probe end { println(reads > 0) }
    """
    done = run(tmp_path, program, "-v", "-e", script)
    assert "module dummy is not loaded yet" in done.err
    assert done.out.splitlines() == [
        *("valid 0", 'module("dummy").function("dummy_setup") 1 ip') * 2,
        "1",
    ]
    assert Path("/sys/kernel/tracing/kprobe_events").read_text() == ""


def test_named_probes_do_not_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = """
    probe begin { println("ready") }
    probe kernel.function("vfs_read").return.maxactive(3) { if (register("rsp") == 1) exit() }
    """
    events = Path("/sys/kernel/tracing/kprobe_events")
    with out.open("wb") as file, subprocess.Popen([STAP, "-e", script], stdout=file) as process:
        wait_for(lambda: "ready" in out.read_text(), 200)
        assert f"r3:pystap_{process.pid}_" in events.read_text()
        process.kill()
    wait_for(lambda: not events.read_text(), 60)


def test_remote_procedures(tmp_path: Path) -> None:
    program = """
import ctypes, os, subprocess
subprocess.run(["modprobe", "nfs"], check=True)
place = __file__ + ".dir"
os.mkdir(place)
options = "vers=3,nolock,addr=127.0.0.1,proto=tcp,port=1,mountport=1,mountproto=tcp,"
options += "mountaddr=127.0.0.1,mountvers=3,soft,retrans=0,timeo=1,retry=0"
libc = ctypes.CDLL(None)
assert libc.mount(b"127.0.0.1:/x", place.encode(), b"nfs", 0, options.encode()) < 0  # nobody there
"""
    script = """
    global got
    probe sunrpc.clnt.create_client {
      if (pid() == target()) println(progname, " ", prog, " ", vers, " ", prot)
    }
    probe sunrpc.clnt.create_client.return { if (pid() == target()) got["created"]++ }
    probe sunrpc.sched.new_task { if (pid() == target() && prog == 100005) got["task"]++ }
    probe sunrpc.sched.execute { if (prog == 100005 && argstr != "") got["executed"]++ }
    probe end { foreach (k+ in got) println(k) }
    """
    done = run(tmp_path, program, "-e", script)
    lines = done.out.splitlines()
    assert lines[0] == "mount 100005 3 6"
    assert lines[-3:] == ["created", "executed", "task"]
