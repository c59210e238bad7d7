"""Probes on kernel functions, and kernel modules, beside their peers, on the kernels of the lab.

``python -m bench.lab [KERNEL...]`` (default: 6.1 and 6.12) starts each kernel in an emulated
machine for each part of the benchmark and runs this module again there, with ``--inside PART
DIRECTORY``.  The machine's clock goes by instructions, one a nanosecond: the figures are the same
however busy the host is, and their ratios are what counts.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

from bench import modules
from bench.rows import Row, print_table
from bench.tools import ROOT, STAP, interleaved, tracer
from bench.user import per_call

_KERNELS = ("6.1", "6.12")
_SECONDS = 1500
_CALLS, _ROUNDS = 5_000, 5
_FILTER = "/sys/kernel/tracing/available_filter_functions"
_BLACKLIST = "/sys/kernel/debug/kprobes/blacklist"

_OURS = (
    'global c probe begin {{ println("ready") }} '
    "probe {point} {{ c++ }} probe end {{ println(c) }}"
)
_PEER = 'BEGIN {{ printf("ready\\n"); }} {point} {{ @c = count(); }}'


def in_every(kernels: list[str]) -> int:
    """Run the benchmark on each kernel; 0 when every bar is met on all."""
    met = [run_part(kernel, part) for kernel in kernels for part in PARTS]
    return 0 if all(met) else 1


def run_part(kernel: str, part: str) -> bool:
    """Run one part in a machine of its own, with what it wants from outside; whether its bars
    are met.

    The machine has one CPU: a second one that waits would count as well.
    """
    with tempfile.TemporaryDirectory() as directory:
        command = ["gcc", "-O2", "-o", f"{directory}/reader", str(ROOT / "bench/reader.c")]
        subprocess.run(command, check=True)
        rows = modules.prepare(kernel, Path(directory)) if part == "modules" else []
        if rows:
            print_table(rows)
        machine = [sys.executable, "-m", "tests.lab", "--kernel", kernel]
        machine += ["--counting", "--cpus", "1", "--seconds", str(_SECONDS), "--rw", directory]
        inner = [sys.executable, "-m", "bench.lab", "--inside", part, directory]
        done = subprocess.run([*machine, "--", *inner], cwd=ROOT)
    return done.returncode == 0 and all(row.met() for row in rows)


def inside(part: str, work: Path) -> int:
    """The rows of one part for the kernel that runs here."""
    os.environ["XDG_CACHE_HOME"] = str(work)
    print(f"kernel {os.uname().release}: {part}")
    rows = PARTS[part](work)
    print_table(rows)
    return 0 if all(row.met() for row in rows) else 1


# --- a probe's cost -----------------------------------------------------------------------------


def per_hit(work: Path) -> list[Row]:
    """What a count on vfs_read adds to a read: the best kind of probe that each tracer has."""
    ours = {
        "kernel.function": _OURS.format(point='kernel.function("vfs_read")'),
        "with registers": _OURS.format(point='kprobe.function("vfs_read")'),
    }
    theirs = {name: _PEER.format(point=f"{name}:vfs_read") for name in ("kfunc", "kprobe")}
    commands = {name: [STAP, "-e", script] for name, script in ours.items()}
    commands.update({name: ["bpftrace", "-e", script] for name, script in theirs.items()})
    reader = str(work / "reader")
    times = {"none": _reading(reader)}
    for name, command in commands.items():
        out = work / "out.txt"
        with tracer(command, "ready", out, patience=240):
            times[name] = _reading(reader)
        counted = max(int(n) for n in re.findall(r"(\d+)\s*$", out.read_text(), re.M))
        if counted < _CALLS * _ROUNDS:
            raise RuntimeError(f"{name}: counted {counted} of {_CALLS * _ROUNDS}")
    base = median(times.pop("none"))
    added = {name: median(values) - base for name, values in times.items()}
    print(f"  (a read takes {base:.0f} ns; added: {', '.join(_told(added))})")
    best = min(added["kfunc"], added["kprobe"])
    return [
        Row("added by kernel.function { c++ }", f"{added['kernel.function']:.0f} ns",
            f"{best:.0f} ns", added["kernel.function"] / best, 1.0),
        Row("added by kprobe.function { c++ }", f"{added['with registers']:.0f} ns",
            f"{added['kprobe']:.0f} ns", added["with registers"] / added["kprobe"], 1.0),
    ]  # fmt: skip


def _told(added: dict[str, float]) -> list[str]:
    return [f"{name} {value:.0f}" for name, value in added.items()]


def _reading(reader: str) -> list[float]:
    """ns per read of each round."""
    command = [reader, str(_CALLS), str(_ROUNDS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(line) for line in done.stdout.split()]


# --- attaching ----------------------------------------------------------------------------------


def attaching(_work: Path) -> list[Row]:
    """What attaching to and detaching from many functions adds to a session."""
    script = 'global c probe kernel.function("{}") {{ c++ }} probe timer.ms(1) {{ exit() }}'
    rows = []
    for pattern in ("vfs_r*", "vfs_*", "tcp_*"):
        commands = {
            "dense": [STAP, "-e", script.format(pattern)],
            "plain": [STAP, "-e", "global c probe timer.ms(1) { c++ exit() }"],
            "peer dense": [
                "bpftrace", "-e", f"kprobe:{pattern} {{ @c = count(); }} {_PEER_END}",
            ],
            "peer plain": ["bpftrace", "-e", _PEER_END],
        }  # fmt: skip
        for name in ("dense", "plain"):
            subprocess.run(commands[name], check=True, stdout=subprocess.DEVNULL)
        ms = interleaved(commands, 3)
        mine, theirs = ms["dense"] - ms["plain"], ms["peer dense"] - ms["peer plain"]
        count = len(names(f'kernel.function("{pattern}")'))
        rows.append(
            Row(f'attach + detach "{pattern}" ({count})', f"{mine:.0f} ms", f"{theirs:.0f} ms",
                mine / theirs, 1.0)
        )  # fmt: skip
    return rows


_PEER_END = "interval:ms:1 { exit(); }"


# --- listing ------------------------------------------------------------------------------------


def listing(_work: Path) -> list[Row]:
    """-l of all functions: how long, and whether any is missing that could be probed.

    The peer lists a file of the kernel's as it is.
    """
    times = []
    for _ in range(3):
        start = time.perf_counter()
        listed = names('kernel.function("*")')
        times.append((time.perf_counter() - start) * 1e3)
    peer = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(["bpftrace", "-l", "kprobe:*"], check=True, stdout=subprocess.DEVNULL)
        peer.append((time.perf_counter() - start) * 1e3)
    expected = probeable()
    missing, extra = expected - set(listed), set(listed) - expected
    for what, found in (("missing", missing), ("extra", extra)):
        if found:
            print(f"  ({what}: {' '.join(sorted(found)[:20])})")
    wrong = len(missing) + len(extra)
    mine, theirs = median(times), median(peer)
    return [
        Row('-l kernel.function("*")', f"{mine:.0f} ms", f"{theirs:.0f} ms", mine / theirs, 3.0),
        Row(f"wrong of {len(expected)} functions listed", str(wrong), "-", float(wrong), 0.0),
    ]


def names(point: str) -> list[str]:
    """The functions that -l lists."""
    done = subprocess.run([STAP, "-l", point], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"-l {point}: {done.stderr}")
    return re.findall(r'function\("([^"]+)"\)', done.stdout)


def probeable() -> set[str]:
    """Functions of the kernel that ftrace can hook and kprobes do not refuse."""
    hooks = {line for line in Path(_FILTER).read_text().splitlines() if "[" not in line}
    refused = {line.split("\t")[1] for line in Path(_BLACKLIST).read_text().splitlines()}
    symbols = set()
    for line in Path("/proc/kallsyms").read_text().splitlines():
        _, kind, name, *module = line.split()
        if kind in "tTwW" and not module:
            symbols.add(name)
    return (hooks & symbols) - refused


PARTS: Final[dict[str, Callable[[Path], list[Row]]]] = {
    "modules": modules.inside,
    "hits": per_hit,
    "calls": lambda work: per_call(work, sessions=1, rounds=2),
    "attaching": attaching,
    "listing": listing,
}


def main(words: list[str]) -> int:
    """The exit status: 0 when every bar is met."""
    if words[:1] == ["--inside"]:
        return inside(words[1], Path(words[2]))
    subprocess.run(["sh", str(ROOT / "tools/install_peers.sh"), "systemtap"], check=True)
    return in_every(words or list(_KERNELS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
