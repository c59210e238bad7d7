"""Probes in programs: what a hit costs, attaching to thousands, reading much debug information."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from bench.rows import Row
from bench.tools import ROOT, STAP, interleaved, tracer

_CALLS = 2_000
_FUNCTIONS = 5_000
_UNITS, _STRUCTS, _MEMBERS, _WORKERS = 70, 4_000, 24, 100  # together some 100 MB


def user_rows(work: Path) -> list[Row]:
    """All of them."""
    return [*per_call(work), *attaching(work), *first_variable(work)]


def per_call(work: Path, sessions: int = 7, rounds: int = 100) -> list[Row]:
    """What a count at a function of a program adds to a call; the least of interleaved rounds."""
    program = work / "caller"
    subprocess.run(["gcc", "-O2", "-o", program, ROOT / "bench/caller.c"], check=True)
    ours = (
        f'global c probe begin {{ println("ready") }} probe process("{program}")'
        '.function("target") { c++ } probe end { printf("count %d\\n", c) }'
    )
    peer = f'BEGIN {{ printf("ready\\n"); }} uprobe:{program}:target {{ @c = count(); }}'
    commands = {"ours": [STAP, "-e", ours], "peer": ["bpftrace", "-e", peer]}
    times: dict[str, list[float]] = {name: [] for name in ("none", *commands)}
    for _ in range(sessions):
        times["none"].append(_calling(program, rounds))
        for name, command in commands.items():
            out = work / "caller.txt"
            with tracer(command, "ready", out, patience=240):
                times[name].append(_calling(program, rounds))
            counted = int(re.findall(r"(\d+)\s*$", out.read_text(), re.M)[-1])
            if counted != _CALLS * rounds:
                raise RuntimeError(f"{name}: counted {counted} of {_CALLS * rounds}")
    base = min(times["none"])
    mine, theirs = min(times["ours"]) - base, min(times["peer"]) - base
    return [Row("added by process.function { c++ }", f"{mine:.0f} ns", f"{theirs:.0f} ns",
                mine / theirs, 1.0)]  # fmt: skip


def _calling(program: Path, rounds: int) -> float:
    command = [str(program), str(_CALLS), str(rounds)]
    return float(subprocess.run(command, check=True, capture_output=True).stdout)


# --- many functions -----------------------------------------------------------------------------


def attaching(work: Path) -> list[Row]:
    """What attaching to and detaching from all functions of a program adds to a session.

    The peer, which takes each function by itself, gets a fiftieth of them.
    """
    program = work / "many"
    lines = ["#define KEEP __attribute__((noinline, noclone))"]
    for number in range(_FUNCTIONS):
        lines.append(f"KEEP int function_{number}(int n) {{ return n + {number}; }}")
    lines.append("int main(void) { return 0; }")
    source = work / "many.c"
    source.write_text("\n".join(lines))
    subprocess.run(["gcc", "-O1", "-o", program, source], check=True)
    end = "probe timer.ms(1) { exit() }"
    script = f'global c probe process("{program}").function("function_*") {{ c++ }} {end}'
    point = f"uprobe:{program}:function_10* {{ @c = count(); }}"
    found = sum(str(number).startswith("10") for number in range(_FUNCTIONS))
    peer_end = "interval:ms:1 { exit(); }"
    commands = {
        "dense": [STAP, "-e", script],
        "plain": [STAP, "-e", f"global c {end}"],
        "peer dense": ["bpftrace", "-e", f"{point} {peer_end}"],
        "peer plain": ["bpftrace", "-e", peer_end],
    }
    for name in ("dense", "plain"):
        subprocess.run(commands[name], check=True, stdout=subprocess.DEVNULL)
    ms = interleaved(commands, 3)
    mine = ms["dense"] - ms["plain"]
    theirs = ms["peer dense"] - ms["peer plain"]
    return [
        Row(f"attach + detach {_FUNCTIONS} user functions", f"{mine:.0f} ms", "-",
            mine / 1000, 2.0),
        Row(f"the same, the peer {found} of them", f"{mine:.0f} ms", f"{theirs:.0f} ms",
            mine / theirs, 1.0),
    ]  # fmt: skip


# --- much debug information ---------------------------------------------------------------------


def first_variable(work: Path) -> list[Row]:
    """A variable of a large program: nothing known before, and from what was kept."""
    program = large_program(work / "large")
    home = work / "home"
    environment = {**os.environ, "XDG_CACHE_HOME": str(home), "SYSTEMTAP_DIR": str(home)}
    script = f'probe process("{program}").function("work_31_20") {{ println($kept_20) }}'
    commands = {
        "plain": [STAP, "-p2", "-e", "probe begin { println(1) }"],
        "variable": [STAP, "-p2", "-e", script],
    }
    cold, warm = [], []
    for _ in range(5):
        shutil.rmtree(home, ignore_errors=True)
        plain = min(_seconds(commands["plain"], environment) for _ in range(3))
        cold.append(_seconds(commands["variable"], environment) - plain)
        warm.append(_seconds(commands["variable"], environment) - plain)
    size = program.stat().st_size / 1e6
    return [
        Row(f"first variable of {size:.0f} MB, cold", f"{min(cold) * 1e3:.0f} ms", "-",
            min(cold), 1.0),
        Row(f"first variable of {size:.0f} MB, again", f"{min(warm) * 1e3:.0f} ms", "-",
            min(warm), 0.1),
    ]  # fmt: skip


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - start


def large_program(folder: Path) -> Path:
    """A program with much debug information, built from many files that share a header."""
    folder.mkdir()
    header = "".join(_structure(number) for number in range(_STRUCTS))
    (folder / "types.h").write_text(header)
    for unit in range(_UNITS):
        (folder / f"unit{unit}.c").write_text(_unit(unit))
    (folder / "main.c").write_text("int main(void) { return 0; }\n")
    flags = "-g -O0 -fno-eliminate-unused-debug-types -c"
    build = f"printf '%s\\n' *.c | xargs -P {os.cpu_count()} -n 1 gcc {flags}"
    subprocess.run(f"{build} && gcc -o large *.o", shell=True, check=True, cwd=folder)
    return folder / "large"


def _structure(number: int) -> str:
    kinds = ("int", "unsigned long", "char", "short")
    members = []
    for at in range(_MEMBERS):
        kind = f"struct type_{number * 7 % (number + 1)} *" if at % 3 else kinds[number % 4]
        members.append(f"\t{kind} member_{number}_{at};\n")
    return f"struct type_{number} {{\n{''.join(members)}}};\n"


def _unit(unit: int) -> str:
    functions = []
    for number in range(_WORKERS):
        kind = f"struct type_{(unit + number) % _STRUCTS}"
        functions.append(
            f"long work_{unit}_{number}({kind} *first, long second)\n{{\n"
            f"\tlong kept_{number} = second;\n\n"
            f"\tfor (int at = 0; at < 3; at++) {{\n\t\tlong inner = at * kept_{number};\n"
            f"\t\tkept_{number} += inner + (long)first;\n\t}}\n\treturn kept_{number};\n}}\n"
        )
    return f'#include "types.h"\n{"".join(functions)}struct type_{unit} global_{unit};\n'
