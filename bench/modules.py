"""Kernel modules: how long making them takes, what a hit costs beside the peer's, how fast output
leaves them.

The peer is SystemTap of Debian 12: its command makes its modules, its ``staprun`` runs them.  It
calls a function of the kernel by a name that newer releases of 6.1 have given to another one, so
it gets a copy of its runtime in which that name is replaced.  Modules are made outside of the
machine, for the kernel that runs in it.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from bench.rows import Row
from bench.tools import ROOT, STAP, tracer
from pystap.staprun.control import Control
from pystap.staprun.loading import load, unload
from pystap.staprun.modulefile import ModuleFile
from pystap.staprun.records import unpack

_PEER_KERNELS = ("6.1",)  # those that the peer can make modules for
_PEER_RUNTIME = Path("/usr/share/systemtap/runtime")
_PEER = "/usr/bin/stap"
_OURS = [STAP, "--runtime=kernel"]
_RENAMED = "s/\\btask_work_cancel\\b/task_work_cancel_func/g"
_CALLS, _ROUNDS = 5_000, 5

_POINT = 'kernel.function("vfs_read")'
_READY = 'probe begin { println("ready") }'
_HITS = {
    "c++": f"global c {_READY} probe {_POINT} {{ c++ }} probe end {{ println(c) }}",
    "a[pid()] <<< $count": (
        f"global a {_READY} probe {_POINT} {{ a[pid()] <<< $count }} "
        "probe end { foreach (p in a) n += @count(a[p]) println(n) }"
    ),
    "c++ at the return": (
        f"global c {_READY} probe {_POINT}.return {{ c++ }} probe end {{ println(c) }}"
    ),
}

_LINES = 'probe syscall.read { println("a line of some 32 characters...") }'
_LINES_WANTED = 100_000
_RELAY = Path("/sys/kernel/debug/bench_relay0")
_AT_ONCE = 128 * 1024  # bytes that cat reads

_HELLO = 'probe begin { printf("Hello, World!\\n"); exit() }'
_FUNCTIONS = ("vfs_read", "vfs_write", "vfs_open", "vfs_fsync", "do_exit", "vfs_statx")
_CALLED = (
    "read", "write", "openat", "close", "mmap", "munmap", "brk", "ioctl", "futex", "poll", "dup",
    "execve", "kill",
)  # fmt: skip
_THIRTY = "\n".join([
    "global hits, sizes",
    *(f'probe kprobe.function("{f}") {{ hits[ppfunc(), pid()]++ }}' for f in _FUNCTIONS),
    *(f'probe kprobe.function("{f}").return {{ sizes[execname()] <<< returnval() }}'
      for f in _FUNCTIONS),
    *(f'probe syscall.{c} {{ printf("%s(%s) by %s\\n", name, argstr, execname()) }}'
      for c in _CALLED),
    "probe timer.ms(100) { foreach ([f, p] in hits- limit 5) println(f, p, hits[f, p]) }",
    "probe timer.profile { hits[symname(addr()), cpu()]++ }",
    'probe procfs("sizes").read { foreach (n in sizes) $value .= sprint(@hist_log(sizes[n])) }',
    "probe end { foreach (n in sizes) println(n, @avg(sizes[n])) }",
])  # fmt: skip


# --- outside of the machine ---------------------------------------------------------------------


def prepare(kernel: str, work: Path) -> list[Row]:
    """Make what :func:`inside` wants, and rows about how long that takes."""
    tree = Path(_told(kernel, "--builddir"))
    relay = work / "relay"
    relay.mkdir()
    shutil.copy(ROOT / "bench/relay.c", relay)
    (relay / "Makefile").write_text("obj-m := relay.o\n")
    words = ["make", "-s", "-C", str(tree), f"M={relay}", "modules"]
    subprocess.run(words, check=True, capture_output=True)
    _made([*_OURS, "-r", str(tree)], "lines", _LINES, work)
    if kernel not in _PEER_KERNELS:
        print(f"  (the peer makes no modules for {kernel})")
        return []
    with_debug = _tree_with_debug(kernel, tree, work)
    _make_both(with_debug, work)
    return making(with_debug, work)


def _told(kernel: str, option: str) -> str:
    words = [sys.executable, "-m", "tests.lab", "--kernel", kernel, option]
    return subprocess.run(
        words, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def _tree_with_debug(kernel: str, tree: Path, work: Path) -> Path:
    """A copy of a build tree with the kernel's debug information, where both look for it."""
    copy = work / "tree"
    shutil.copytree(tree, copy, symlinks=True)
    for link in copy.iterdir():
        if link.is_symlink():
            link.unlink()
            link.symlink_to((tree / link.name).resolve())
    (copy / "vmlinux").symlink_to(_told(kernel, "--vmlinux"))
    return copy


def _make_both(tree: Path, work: Path) -> None:
    """The modules of both for what a hit costs."""
    runtime = work / "runtime"
    shutil.copytree(_PEER_RUNTIME, runtime)
    files = [str(path) for path in runtime.rglob("stp_task_work.c")]
    subprocess.run(["sed", "-i", _RENAMED, *files], check=True)
    peer = [_PEER, "-R", str(runtime)]
    for number, script in enumerate(_HITS.values()):
        _made([*_OURS, "-r", str(tree)], f"ours_{number}", script, work)
        _made([*peer, "-r", str(tree)], f"peer_{number}", script, work)


def _made(command: list[str], name: str, script: str, work: Path) -> str:
    """Make a module; what was said."""
    words = [*command, "-v", "-p4", "-m", name, "-e", script]
    done = subprocess.run(words, cwd=work, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr}")
    return done.stderr


def making(tree: Path, work: Path) -> list[Row]:
    """How long pass 4 takes, with what it found out about the headers kept and not.

    Wall time on a machine that does nothing else is meant: on one that does, the CPU time of the
    command with all that it runs is what it would be at most.
    """
    rows = []
    for name, script, bar in (("hello", _HELLO, 3.0), ("30 probes", _THIRTY, 6.0)):
        for known in (False, True):
            times = [_pass_4(tree, work, script, known=known) for _ in range(3)]
            took, used = min(wall for wall, _ in times), min(cpu for _, cpu in times)
            headers = "known" if known else "new"
            rows.append(
                Row(f"module of {name}, headers {headers}", f"{took:.1f} s",
                    f"{used:.1f} s of CPU", min(took, used), bar)
            )  # fmt: skip
    return rows


def _pass_4(tree: Path, work: Path, script: str, *, known: bool) -> tuple[float, float]:
    """Seconds that pass 4 of a module takes that was never made before; of CPU time of it all."""
    home = work / "systemtap"
    if not known:
        shutil.rmtree(home, ignore_errors=True)
    os.environ["SYSTEMTAP_DIR"] = str(home)
    name = f"made_{time.time_ns()}"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = _made([*_OURS, "-r", str(tree)], name, script, work)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    (work / f"{name}.ko").unlink()
    found = re.search(r"^Pass 4: .*/(\d+)real ms", said, re.MULTILINE)
    if found is None or "cached" in found[0]:
        raise RuntimeError(f"no time of pass 4 in: {said}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return int(found[1]) / 1000, cpu


# --- in the machine -----------------------------------------------------------------------------


def inside(work: Path) -> list[Row]:
    """The rows about modules that run."""
    return [*hits(work), *leaving(work)]


def hits(work: Path) -> list[Row]:
    """What a hit adds to a read."""
    reader = str(work / "reader")
    base, rows = reading(reader), []
    for number, what in enumerate(_HITS):
        if not (work / f"peer_{number}.ko").exists():
            continue
        added = []
        for name, staprun in (("ours", str(Path(STAP).with_name("staprun"))),
                              ("peer", "/usr/bin/staprun")):  # fmt: skip
            out = work / "out.txt"
            command = [staprun, str(work / f"{name}_{number}.ko")]
            with tracer(command, "ready", out, patience=240):
                added.append(reading(reader) - base)
            counted = int(out.read_text().split()[-1])
            if counted < _CALLS * _ROUNDS:
                raise RuntimeError(f"{name} {what}: {counted} of {_CALLS * _ROUNDS}")
        mine, theirs = added
        rows.append(
            Row(f"added by a module's {what}", f"{mine:.0f} ns", f"{theirs:.0f} ns",
                mine / theirs, 1.0)
        )  # fmt: skip
    return rows


def reading(reader: str) -> float:
    """ns a read."""
    command = [reader, str(_CALLS), str(_ROUNDS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return median(float(line) for line in done.stdout.split())


def leaving(work: Path) -> list[Row]:
    """How fast short lines leave a module, beside a file of the kernel's relay interface that is
    read as cat does."""
    mine, whole = _lines_drained(ModuleFile(str(work / "lines.ko")), str(work / "reader"))
    relay = str(work / "relay/relay.ko")
    subprocess.run(["insmod", relay, f"kilobytes={int(whole) >> 10}"], check=True)
    pieces, took = _drained(_RELAY, _AT_ONCE)
    theirs = sum(map(len, pieces)) / took
    subprocess.run(["rmmod", "relay"], check=True)
    return [
        Row("short lines out of a module", f"{mine * 1e3:.0f} MB/s", f"{theirs * 1e3:.0f} MB/s",
            theirs / mine, 2.0)
    ]  # fmt: skip


def _lines_drained(module: ModuleFile, reader: str) -> tuple[float, float]:
    """The rate in bytes of text a ns, and all bytes of text."""
    load(module, module.name, ["stap_megabytes=16"])
    control = Control(module.name)
    try:
        control.tell("attach")
        control.tell("start")
        subprocess.run([reader, str(_LINES_WANTED), "1"], check=True, stdout=subprocess.DEVNULL)
        control.tell("stop")
        pieces, took = [], 0.0
        for path in Path(f"/proc/pystap_{module.name}").glob("trace*"):
            more, time_of_more = _drained(path, 2 * _AT_ONCE)
            pieces += more
            took += time_of_more
        lost = control.status().lost
    finally:
        control.close()
        unload(module.name)
    records = [record for piece in pieces for record in unpack(bytearray(piece))]
    lines = b"".join(record.text for record in records).count(b"\n")
    if lines + lost < _LINES_WANTED:
        raise RuntimeError(f"{lines} lines and {lost} lost are not {_LINES_WANTED}")
    text = sum(len(record.text) for record in records)
    print(f"  ({lines} lines in {len(records)} records, {lost} lost)")
    return text / took, text


def _drained(path: Path, size: int) -> tuple[list[bytes], float]:
    """All that a file gives, and the ns that took."""
    file = os.open(path, os.O_RDONLY)
    buffer = memoryview(bytearray(size))
    pieces = []
    took = 0
    while True:
        start = time.perf_counter_ns()
        count = os.readv(file, [buffer])
        took += time.perf_counter_ns() - start
        if not count:
            break
        pieces.append(bytes(buffer[:count]))
    os.close(file)
    return pieces, took
