"""Aggregates are kept by each CPU and put together when they are read."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

import inprocess
from pystap.backend.reference.stats import PerCpuAggregate
from pystap.ir.types import StatSpec
from stap import ROOT

NAME = f"cpus-{os.getpid()}"
ORDER = [(0, 5), (1, 3), (0, 1), (1, 7)]  # CPU, calls in a row


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that calls getppid(2) as often as its argument says."""
    path = tmp_path_factory.mktemp("load") / NAME
    subprocess.run(["gcc", "-O2", "-o", str(path), ROOT / "bench" / "load.c"], check=True)
    return str(path)


def run(load: str, script: str, directory: Path) -> list[int]:
    """The numbers a script prints after the calls of ORDER; its handler sees ++n."""
    calls = directory / "calls"
    calls.write_text("".join(f"taskset -c {cpu} {load} {n} >/dev/null\n" for cpu, n in ORDER))
    done = inprocess.stap("-e", script.replace("NAME", NAME), "-c", f"sh {calls}")
    assert (done.status, done.err) == (0, "")
    return [int(number) for number in re.findall(r"-?\d+", done.out)]


def expected(shift: int = 0) -> PerCpuAggregate:
    """What the calls of ORDER leave, by the rules of the reference."""
    spec = StatSpec({"variance", "hist_linear"}, shift=shift, linear=(-50, 250, 50))
    made = PerCpuAggregate(spec)
    n = 0
    for cpu, calls in ORDER:
        for _ in range(calls):
            n += 1
            made.add(cpu, n * n * (-1) ** n)
    return made


MINE = 'probe syscall.getppid { if (execname() == "NAME") { n++; '
SAMPLE = MINE + "WHERE <<< n & 1 ? -n * n : n * n } }"
PRINT = (
    'probe end { printf("%d %d %d %d %d %d\\n", @count(WHERE), @sum(WHERE), @min(WHERE), '
    "@max(WHERE), @avg(WHERE), @variance(WHERE, SHIFT)) }"
)


@pytest.mark.parametrize("where", ["s", 's["key", 3]'])
@pytest.mark.parametrize("shift", [0, 6])
def test_all_extractors(where: str, shift: int, load: str, tmp_path: Path) -> None:
    script = f"global s, n {SAMPLE} {PRINT}".replace("WHERE", where).replace("SHIFT", str(shift))
    whole = expected(shift).merged()
    operators = ("count", "sum", "min", "max", "avg", "variance")
    assert run(load, script, tmp_path) == [whole.extract(op) for op in operators]


@pytest.mark.parametrize("where", ["s", 's["key", 3]'])
def test_buckets(where: str, load: str, tmp_path: Path) -> None:
    script = (
        f"global s, n {SAMPLE} probe end {{ "
        'foreach (b in LINEAR) printf("%d ", LINEAR[b]); '
        'foreach (b in @hist_log(WHERE)) printf("%d ", @hist_log(WHERE)[b]) }'
    )
    script = script.replace("LINEAR", "@hist_linear(WHERE, -50, 250, 50)").replace("WHERE", where)
    whole = expected().merged()
    assert run(load, script, tmp_path) == [*whole.linear, *whole.log]


def test_elements_are_sorted_by_what_all_cpus_have(load: str, tmp_path: Path) -> None:
    script = (
        f"global s, n {MINE} s[n % 3] <<< n * n }} }} "
        'probe end { foreach (k in s @sum-) printf("%d %d ", k, @sum(s[k])) }'
    )
    sums = {k: sum(n * n for n in range(1, 17) if n % 3 == k) for k in range(3)}
    order = sorted(sums, key=lambda k: -sums[k])
    assert run(load, script, tmp_path) == [number for k in order for number in (k, sums[k])]


def test_emptied_on_all_cpus(load: str, tmp_path: Path) -> None:
    script = (
        f"global s, e, n {MINE} s <<< n; e[1] <<< n }} }} "
        "probe end { delete s; delete e[1]; s <<< 5; e[1] <<< 6; "
        'printf("%d %d %d %d %d\\n", n, @count(s), @max(s), @count(e[1]), @min(e[1])) }'
    )
    assert run(load, script, tmp_path) == [16, 1, 5, 1, 6]
