"""Starting tracers and loads, and reading their costs; every process started is ended here."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
STAP = str(ROOT / ".venv" / "bin" / "stap")
TICK = os.sysconf("SC_CLK_TCK")


def mount_tracefs() -> None:
    """The peer finds tracepoints through tracefs."""
    if not os.path.isdir("/sys/kernel/tracing/events"):
        subprocess.run(["mount", "-t", "tracefs", "nodev", "/sys/kernel/tracing"], check=True)


def build_load(directory: Path) -> str:
    """Compile the load program; its path."""
    path = directory / "load"
    source = ROOT / "bench" / "load.c"
    subprocess.run(["gcc", "-O2", "-o", str(path), str(source)], check=True)
    return str(path)


def wall_ms(command: Sequence[str], repeat: int) -> list[float]:
    """Wall times in ms of ``repeat`` runs; raises when one fails."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def interleaved(commands: Mapping[str, Sequence[str]], repeat: int) -> dict[str, float]:
    """Median wall time in ms of each command, run in turn so that noise hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeat):
        for name, command in commands.items():
            times[name] += wall_ms(command, 1)
    return {name: median(values) for name, values in times.items()}


@contextmanager
def tracer(
    command: Sequence[str], ready: str, out: Path, patience: float = 20
) -> Iterator[subprocess.Popen[bytes]]:
    """A running tracer, ready when its output file holds the word ``ready``, which may take
    ``patience`` seconds; ended by SIGINT."""
    with out.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + patience
        while ready.encode() not in out.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                assert process.stderr is not None
                raise RuntimeError(f"{command[0]} did not start: {process.stderr.read()!r}")
            time.sleep(0.02)
        time.sleep(0.3)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(max(60, patience))
        finally:
            process.kill()  # no harm when it has ended


def first_output_ms(command: Sequence[str], word: str, repeat: int) -> float:
    """Median ms from the start of a command to its first line, which has to hold ``word``."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            times.append((time.perf_counter() - start) * 1e3)
            process.send_signal(signal.SIGINT)
            process.stdout.read()
        if word not in line:
            raise RuntimeError(f"{command[0]} said {line!r}")
    return median(times)


def cpu_seconds(pid: int) -> float:
    """User and system CPU time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def wait_idle(pid: int) -> None:
    """Until a process has used no CPU for a third of a second."""
    last = -1.0
    while (used := cpu_seconds(pid)) != last:
        last = used
        time.sleep(0.34)


_PEAK = """
import os, sys
out = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=out)
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(1 if status else 0)
"""


def peak_kb(command: Sequence[str]) -> int:
    """Largest resident set in kB of one run.

    Measured from a small process of its own: a child inherits the high-water mark of the process
    that starts it.
    """
    helper = ["python3", "-IS", "-c", _PEAK, *command]
    return int(subprocess.run(helper, check=True, capture_output=True).stdout)


def raise_file_limit() -> None:
    """As many descriptors as allowed, for tracers with many probes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
