"""Every example, run under a load that makes it show something."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from stap import ROOT, repeated, stap

EXAMPLES = ROOT / "examples"
LIBC = "/lib/x86_64-linux-gnu/libc.so.6"


def load(*command: str) -> AbstractContextManager[None]:
    """A command that runs over and over until it is ended here."""
    return repeated(" ".join(command) + "; sleep 0.01")


def run(name: str, *words: str) -> str:
    done = stap(*words, EXAMPLES / name)
    assert done.status == 0, done.err
    # a loaded machine may make a handler give up on a lock: said, and no failure
    assert re.fullmatch(r"(WARNING: Number of errors: 0, skipped probes: \d+\n)?", done.err)
    return done.out


def is_falling(numbers: list[int]) -> bool:
    # what else the machine does may push the load out of a list of the first twenty
    return numbers == sorted(numbers, reverse=True)


@pytest.mark.parametrize(
    ("name", "size"), [("off_cpu.stp", "left[32768]"), ("syscall_latency.stp", "entered[65536]")]
)
def test_threads_that_end_leave_nothing(name: str, size: str, tmp_path: Path) -> None:
    array = size.partition("[")[0]
    text = (EXAMPLES / name).read_text()
    assert size in text
    script = tmp_path / name
    still = f'probe end {{ foreach (thread in {array}) println("still ", thread) }}'
    script.write_text(text + still)
    program = tmp_path / "program.py"
    program.write_text(
        "import threading\n"
        "def say():\n"
        "    print('was', threading.get_native_id(), flush=True)\n"
        "for _ in range(20):\n"
        "    thread = threading.Thread(target=say)\n"
        "    thread.start()\n"
        "    thread.join()\n"
    )
    done = stap(script, "-c", f"{sys.executable} -IS {program}")
    assert done.status == 0, done.err
    was, still_there = (
        set(re.findall(rf"^{word} (\d+)$", done.out, re.M)) for word in ("was", "still")
    )
    assert len(was) == 20
    # a number may have been given to another thread, and the last one may be ending
    assert len(was & still_there) < 10


def test_all_examples_are_tested_and_described() -> None:
    tests = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.stp"):
        assert f'"{path.name}"' in tests, path
        lines = path.read_text().splitlines()
        assert lines[0] == "#!/usr/bin/env stap"
        assert lines[1].startswith("# ")
        assert any(line.startswith("# Usage:") for line in lines)
    assert len(list(EXAMPLES.glob("*.stp"))) >= 8


def test_syscalls_by_process() -> None:
    with load("ls /usr/bin >/dev/null"):
        out = run("syscalls_by_process.stp", "-T", "1.5")
    assert re.search(r"^COMMAND +PID SYSCALL +CALLS/S$", out, re.M)
    assert re.search(r"^\S.* +\d+ \w+ +\d+$", out, re.M)


def test_opens(tmp_path: Path) -> None:
    missing = tmp_path / "missing-file"
    done = stap("-c", f"cat {missing} /dev/null", EXAMPLES / "opens.stp")
    assert "Child process exited with status 1" in done.err
    assert re.search(rf'^cat +\d+ -2 \(ENOENT\) +"{missing}"$', done.out, re.M), done.out
    assert re.search(r'^cat +\d+ 3 +"/dev/null"$', done.out, re.M), done.out


def test_run_queue_latency() -> None:
    with load("true"):
        out = run("run_queue_latency.stp", "-T", "1")
    assert re.match(r"run-queue latency, us: \d+ switches, avg \d+, max \d+\n\s*value \|-", out)


def test_off_cpu() -> None:
    with load("sleep 0.05"):
        out = run("off_cpu.stp", "-T", "1")
    rows = re.findall(r"^\S.* +(\d+) +(\d+) +\d+$", out, re.M)
    assert rows, out
    assert int(rows[0][0]) > 0
    assert int(rows[0][1]) > 0
    assert is_falling([int(row[0]) for row in rows])


def test_block_latency(tmp_path: Path) -> None:
    path = Path("/var/tmp") / f"pystap-block-{time.monotonic_ns()}"
    try:
        with load(f"dd if=/dev/zero of={path} bs=64k count=4 conv=fsync 2>/dev/null"):
            out = run("block_latency.stp", "-T", "1.5")
    finally:
        path.unlink(missing_ok=True)
    assert re.match(r"block I/O latency, us: \d+ requests, avg \d+, max \d+\n\s*value \|-", out), (
        out
    )


def test_page_faults() -> None:
    with load("ls /usr/bin >/dev/null"):
        out = run("page_faults.stp", "-T", "1")
    faults = [int(count) for count in re.findall(r"^\S.* +\d+ +(\d+)$", out, re.M)]
    assert faults, out
    assert is_falling(faults)


def test_tcp_states() -> None:
    def connect() -> None:
        time.sleep(1)
        for _ in range(5):
            with socket.create_server(("127.0.0.1", 0)) as server:
                client = socket.create_connection(server.getsockname())
                accepted, _ = server.accept()
                client.close()
                accepted.close()
            time.sleep(0.1)

    thread = threading.Thread(target=connect)
    thread.start()
    out = run("tcp_states.stp", "-T", "2.5")
    thread.join()
    assert re.search(r"\d+ +\d+  CLOSE +-> SYN_SENT$", out, re.M), out
    assert re.search(r"\d+ +\d+  \w+ +-> ESTABLISHED$", out, re.M), out


def test_function_latency() -> None:
    function = "malloc"
    done = stap("-c", "ls -l /usr/bin", EXAMPLES / "function_latency.stp", LIBC, function)
    assert (done.err, done.status) == ("", 0)
    assert re.search(rf"^{function}: \d+ calls, ns: min \d+ avg \d+ max \d+$", done.out, re.M)
    assert "value |-" in done.out


def test_syscall_latency() -> None:
    with load("ls /usr/bin >/dev/null"):
        out = run("syscall_latency.stp", "-T", "1.5")
    assert re.search(r"^SYSTEM CALL +CALLS/S +AVG ns +MAX ns$", out, re.M)
    assert re.search(r"^\w+ +\d+ +\d+ +\d+$", out, re.M)
    assert re.search(r"^duration of all system calls, ns:\n *value \|-", out, re.M)
