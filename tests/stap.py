"""Running the command as a user would."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAP = ROOT / ".venv" / "bin" / "stap"


class Done:
    """A finished run: ``out`` and ``err`` as text, ``status`` as a shell would give it."""

    def __init__(self, out: bytes, err: bytes, status: int) -> None:
        self.out = out.decode("latin-1")
        self.err = err.decode("latin-1")
        self.status = status


def stap(*words: str | Path, script: str | None = None, timeout: float = 60) -> Done:
    """Run ``stap`` with these words to its end."""
    done = subprocess.run(
        [STAP, *map(str, words)],
        input=None if script is None else script.encode("latin-1"),
        stdin=subprocess.DEVNULL if script is None else None,
        capture_output=True,
        timeout=timeout,
    )
    return Done(done.stdout, done.stderr, done.returncode)


@contextmanager
def started(
    *words: str | Path, out: Path, ready: str = "ready"
) -> Iterator[subprocess.Popen[bytes]]:
    """A running ``stap`` whose output goes to ``out``, from the line ``ready`` on; killed in the
    end if it has not ended by itself."""
    with out.open("wb") as file:
        process = subprocess.Popen([STAP, *map(str, words)], stdout=file, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: ready in out.read_text("latin-1") or process.poll() is not None)
        if process.poll() is not None:
            assert process.stderr is not None
            raise AssertionError(f"ended early: {process.stderr.read()!r}")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def bpf_objects() -> tuple[int, int]:
    """How many BPF programs and maps other than the system's own exist now, by pystap's names.

    Counted through /proc/*/fdinfo: an object lives as long as a descriptor (or a pin, of which
    pystap makes none) holds it.
    """
    programs = maps = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for fd in os.scandir(f"/proc/{pid}/fd"):
                target = os.readlink(fd.path)
                programs += target.endswith("bpf-prog")
                maps += target.endswith("bpf-map")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return programs, maps
