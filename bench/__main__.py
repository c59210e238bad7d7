"""Runs all benchmarks and prints one table: ``python -m bench``."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.kernel import in_kernel, verified
from bench.large import compile_time
from bench.rows import Row, print_table
from bench.tools import (
    STAP,
    build_load,
    cpu_seconds,
    interleaved,
    mount_tracefs,
    peak_kb,
    raise_file_limit,
    tracer,
    wait_idle,
    wall_ms,
)
from bench.user import user_rows

HELLO = 'probe begin { println("hello") exit() }'
HELLO_PEER = 'BEGIN { printf("hello\\n"); exit(); }'
PEER_POINT = "tracepoint:syscalls:sys_enter_getppid"


def start_up() -> list[Row]:
    """Hello world, cold and warm."""
    peer = ["bpftrace", "-e", HELLO_PEER]
    subprocess.run([STAP, "-e", HELLO], check=True, stdout=subprocess.DEVNULL)
    times = interleaved(
        {
            "peer": peer,
            "cold": [STAP, "--disable-cache", "-e", HELLO],
            "warm": [STAP, "-e", HELLO],
        },
        11,
    )
    base = times["peer"]
    return [
        Row("hello, cache disabled", f"{times['cold']:.0f} ms", f"{base:.0f} ms",
            times["cold"] / base, 0.5),
        Row("hello, warm", f"{times['warm']:.0f} ms", f"{base:.0f} ms", times["warm"] / base, 0.3),
    ]  # fmt: skip


def per_event(load: str, work: Path) -> list[Row]:
    """Added cost of a probe on getppid(2)."""
    cases = {
        "c++": ("c++", "@c = count()", "c = 0", "printf(\"count %d\\n\", c)"),
        "a[pid()]++": (
            "a[pid()]++", "@a[pid] = count()", "a", "foreach (k in a) n += a[k] "
            "printf(\"count %d\\n\", n)",
        ),
        "h[pid()] <<< 1": (
            "h[pid()] <<< 1", "@h[pid] = hist(1)", "h",
            "foreach (k in h) { n += @count(h[k]) print(@hist_log(h[k])) } "
            "printf(\"count %d\\n\", n)",
        ),
    }  # fmt: skip
    rows = []
    calls, rounds = 200_000, 5
    for name, (ours, peer, declared, report) in cases.items():
        script = (
            f'global {declared} probe begin {{ println("ready") }} '
            f"probe syscall.getppid {{ {ours} }} probe end {{ {report} }}"
        )
        peer_script = f'BEGIN {{ printf("ready\\n"); }} {PEER_POINT} {{ {peer}; }}'
        added: dict[str, list[float]] = {"ours": [], "peer": []}
        for _ in range(3):
            base = run_load(load, calls, rounds)
            out = work / "ours.txt"
            with tracer([STAP, "-e", script], "ready", out):
                added["ours"].append(run_load(load, calls, rounds) - base)
            counted = int(re.findall(r"count (\d+)", out.read_text())[-1])
            if counted < calls * rounds or counted > calls * rounds + 50:
                raise RuntimeError(f"{name}: counted {counted} of {calls * rounds}")
            with tracer(["bpftrace", "-e", peer_script], "ready", work / "peer.txt"):
                added["peer"].append(run_load(load, calls, rounds) - base)
        mine, theirs = median(added["ours"]), median(added["peer"])
        rows.append(
            Row(f"added by {name}", f"{mine:.0f} ns", f"{theirs:.0f} ns", mine / theirs, 0.7)
        )
    return rows


def run_load(load: str, calls: int, rounds: int, rate: int = 0) -> float:
    """ns per getppid(2) call."""
    command = [load, str(calls), str(rounds), *([str(rate)] if rate else [])]
    return float(subprocess.run(command, check=True, capture_output=True).stdout)


def output(load: str, work: Path) -> list[Row]:
    """printf on every event: consumer cost, and losses at a steady rate."""
    script = (
        'probe syscall.getppid { printf("%d %s %d\\n", pid(), execname(), gettimeofday_ns()) }'
    )
    peer = f'{PEER_POINT} {{ printf("%d %s %d\\n", pid, comm, nsecs) }}'
    events = 1_000_000
    mine_out = work / "lines.txt"
    command = [STAP, "-o", str(mine_out), "-e", script]
    mine_out.write_bytes(b"")
    mine, mine_lines, complaint = consumer_cost(command, mine_out, load, events, 200_000)
    peer_out = work / "peer-lines.txt"
    theirs, _, _ = consumer_cost(
        ["bpftrace", "-o", str(peer_out), "-e", peer], peer_out, load, events // 4, 0
    )
    lost = events - mine_lines
    print(f"  (1 M events at 200 k/s: {mine_lines} lines, stderr {complaint!r})")
    return [
        Row("printf, consumer ns a line", f"{mine:.0f} ns", f"{theirs:.0f} ns",
            mine / theirs, 0.1),
        Row("lines lost of 1 M at 200 k/s", str(max(0, lost)), "-", float(max(0, lost)), 0.0),
    ]  # fmt: skip


def consumer_cost(
    command: list[str], out: Path, load: str, events: int, rate: int
) -> tuple[float, int, str]:
    """CPU ns of the tracer per line it wrote, the lines, and its complaints."""
    out.write_bytes(b"")
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        # The peer keeps back what it writes to a file, so a word in it cannot tell its readiness.
        time.sleep(1)
        wait_idle(process.pid)
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended early")
        before = cpu_seconds(process.pid)
        run_load(load, events, 1, rate)
        wait_idle(process.pid)
        used = cpu_seconds(process.pid) - before
    finally:
        process.send_signal(2)
        complaint = process.communicate(timeout=30)[1].decode()
    lines = out.read_bytes().count(b"load")
    return used * 1e9 / max(1, lines), lines, complaint


def listing() -> list[Row]:
    """-l of every tracepoint, and of every function of the kernel."""
    rows = []
    for point, bar in (('kernel.trace("*")', 0.5), ('kernel.function("*")', 1.5)):
        took = median(wall_ms([STAP, "-l", point], 5))
        rows.append(Row(f"-l {point}", f"{took:.0f} ms", "-", took / 1000, bar))
    return rows


def dense_attach() -> list[Row]:
    """Attach and detach every system call: what it adds to a warm start."""
    script = "global c probe syscall.* { c++ } probe end { exit() }"
    dense = [STAP, "-T", "0.001", "-e", script]
    plain = [STAP, "-T", "0.001", "-e", "probe end { exit() }"]
    for command in (dense, plain):
        wall_ms(command, 1)
    times = interleaved({"dense": dense, "plain": plain}, 7)
    took = times["dense"] - times["plain"]
    return [Row("attach + detach syscall.*", f"{took:.0f} ms", "-", took / 1000, 0.5)]


def memory() -> list[Row]:
    """Peak resident set of a warm hello."""
    kb = peak_kb([STAP, "-e", HELLO])
    return [Row("peak memory, hello, warm", f"{kb / 1024:.0f} MB", "-", kb / 1024, 60.0)]


def main() -> int:
    """Run everything; 0 when every bar is met."""
    raise_file_limit()
    mount_tracefs()
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        load = build_load(work)
        rows = [
            *start_up(),
            *compile_time(work),
            *in_kernel(work),
            *verified(work),
            *per_event(load, work),
            *output(load, work),
            *listing(),
            *dense_attach(),
            *memory(),
            *user_rows(work),
        ]
    print_table(rows)
    return 0 if all(row.met() for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
