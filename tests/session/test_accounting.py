"""No event is lost in silence: counts are exact, skipped and lost ones are counted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from stap import ROOT, started, wait_for

CALLS = 200_000
NAME = f"load-{os.getpid()}"  # its own for each process that runs tests side by side


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that calls getppid(2) as often as its argument says."""
    path = tmp_path_factory.mktemp("load") / NAME
    source = ROOT / "bench" / "load.c"
    subprocess.run(["gcc", "-O2", "-o", str(path), str(source)], check=True)
    return str(path)


def run_loads(load: str, calls: int, copies: int = 2) -> None:
    command = [load, str(calls)]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(copies)]
    for process in running:
        assert process.wait(120) == 0


def session(script: str, load: str, out: Path, calls: int = CALLS) -> tuple[str, str]:
    """Output and complaints of a session under two loads at once."""
    words = ("-DSTP_NO_OVERLOAD", "-e", 'probe begin { println("ready") } ' + script)
    with started(*words, out=out) as process:
        run_loads(load, calls)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    return out.read_text("latin-1"), err.decode("latin-1")


def skipped(complaints: str) -> int:
    found = re.search(r"skipped probes: (\d+)", complaints)
    return int(found[1]) if found else 0


ONLY_LOAD = f'if (execname() == "{NAME}")'


@pytest.mark.parametrize(
    ("declared", "handler", "total"),
    [
        ("n", "n++", "n"),
        ("n", "n += 1", "n"),
        ("n, a", "a[cpu() * 0]++", "a[0]"),
        ("a", "a[execname()]++", 'a["NAME"]'),
        ("s", "s <<< 1", "@count(s)"),
        ("s", "s[execname(), 1] <<< 1", '@sum(s["NAME", 1])'),
        ("n, m", "n = n + 1; m = n", "m"),
        ("t, n", 't = t == "odd" ? "even" : "odd"; n = n + strlen("x")', "n"),
    ],
)
def test_two_cpus_lose_no_update(
    declared: str, handler: str, total: str, load: str, tmp_path: Path
) -> None:
    script = (
        f"global {declared} probe syscall.getppid {{ {ONLY_LOAD} {{ {handler} }} }} "
        f'probe end {{ printf("total %d\\n", {total}) }}'
    )
    out, err = session(script.replace("NAME", NAME), load, tmp_path / "out")
    counted = int(re.findall(r"total (\d+)", out)[-1])
    assert counted + skipped(err) == 2 * CALLS


def test_readers_and_writers_exclude_each_other(load: str, tmp_path: Path) -> None:
    script = (
        f"global a, b, torn, looked probe syscall.getppid {{ {ONLY_LOAD} {{ a++; b = a }} }} "
        "probe syscall.getppid.return { if (a != b) torn++; looked++ } "
        'probe end { printf("total %d torn %d looked %d\\n", a, torn, looked) }'
    )
    out, err = session(script, load, tmp_path / "out")
    found = re.findall(r"total (\d+) torn (\d+) looked (\d+)", out)[-1]
    total, torn, looked = map(int, found)
    assert torn == 0
    assert looked > 0
    assert total + skipped(err) >= 2 * CALLS


def test_a_timer_sees_whole_counts(load: str, tmp_path: Path) -> None:
    script = (
        f"global a, sum probe syscall.getppid {{ {ONLY_LOAD} a[cpu()]++ }} "
        "probe timer.ms(20) { foreach (c in a) sum += a[c]; delete a } "
        'probe end { foreach (c in a) sum += a[c]; printf("total %d\\n", sum) }'
    )
    out, err = session(script, load, tmp_path / "out")
    total = int(re.findall(r"total (\d+)", out)[-1])
    assert total + skipped(err) == 2 * CALLS


def test_every_line_is_written_or_counted_as_lost(load: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = (
        'probe begin { println("ready") } probe syscall.getppid '
        f'{{ {ONLY_LOAD} printf("line %d %s\\n", pid(), execname()) }}'
    )
    with started("-e", script, out=out) as process:
        process.send_signal(signal.SIGSTOP)  # nobody empties the buffer now
        run_loads(load, CALLS)
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: "line" in out.read_text("latin-1"))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    lines = out.read_text("latin-1").count("line ")
    lost = re.search(rb"There were (\d+) transport failures", err)
    assert lost, err
    assert lines + int(lost[1]) + skipped(err.decode()) == 2 * CALLS


def test_lines_of_two_cpus_never_mix(load: str, tmp_path: Path) -> None:
    script = (
        f"probe syscall.getppid {{ {ONLY_LOAD} "
        '{ printf("<%d ", pid()); printf("%s", execname()); println(">") } }'
    )
    out, err = session(script, load, tmp_path / "out", calls=20_000)
    lines = out.splitlines()[1:]
    assert all(re.fullmatch(rf"<\d+ {NAME}>", line) for line in lines)
    assert len(lines) + skipped(err) == 2 * 20_000
