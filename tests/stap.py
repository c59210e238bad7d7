"""Running the command as a user would."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pystap.kernel.bpf import BpfError, bpf, pack

ROOT = Path(__file__).resolve().parents[1]
STAP = ROOT / ".venv" / "bin" / "stap"
#: the interpreter itself: what a venv has in its place starts another program
PYTHON = sys._base_executable  # type: ignore[attr-defined]  # typeshed leaves it out
_BY_ID = {"prog_id": 13, "map_id": 14, "link_id": 30}  # key in fdinfo, BPF_*_GET_FD_BY_ID


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


@contextmanager
def repeated(line: str) -> Iterator[None]:
    """A line of shell run over and over beside a test; ends with the test, however that ends."""
    words = ["setpriv", "--pdeathsig", "KILL", "/bin/sh", "-c", f"while :; do {line}; done"]
    process = subprocess.Popen(words, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


class BpfObjects:
    """The BPF programs, maps and links that a process holds, by the kernel's ids."""

    def __init__(self, pid: int) -> None:
        self.ids: set[tuple[str, int]] = set()
        for info in Path(f"/proc/{pid}/fdinfo").iterdir():
            for line in info.read_text().splitlines():
                key, _, value = line.partition(":")
                if key in _BY_ID:
                    self.ids.add((key, int(value)))

    def alive(self) -> set[tuple[str, int]]:
        """Those that still exist in the kernel."""
        return {one for one in self.ids if self._exists(*one)}

    def _exists(self, kind: str, number: int) -> bool:
        try:
            os.close(bpf(_BY_ID[kind], pack("III", number, 0, 0)))
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True
