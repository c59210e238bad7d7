"""How sessions end: by themselves, by signals, by closed pipes and full disks."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from stap import STAP, BpfObjects, stap, started, wait_for

TICKING = (
    'probe begin { println("ready") } probe timer.ms(50) { println("tick") } '
    'probe end { println("the end") }'
)


def text(path: Path) -> str:
    return path.read_text("latin-1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_runs_end_probes_once(tmp_path: Path, number: int) -> None:
    out = tmp_path / "out"
    with started("-e", TICKING, out=out) as process:
        wait_for(lambda: "tick" in text(out))
        process.send_signal(number)
        assert process.wait(10) == 0
    assert text(out).splitlines()[-1] == "the end"
    assert text(out).count("the end") == 1


def test_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = 'probe begin { println("ready") } probe end { for (i = 0; i < 1000000000; i++) n++ }'
    words = ["-g", "--suppress-time-limits", "-e", script]
    with started(*words, out=out) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        status = process.wait(30)
    assert status != 0 or time.monotonic() - begin < 10


def test_nothing_stays_after_sigkill(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = (
        TICKING + " global n probe syscall.getppid { n++ } probe timer.profile { n++ } "
        'probe kernel.trace("sched_switch") { n++ } '
        'probe process("/lib/x86_64-linux-gnu/libc.so.6").function("malloc") { n++ }'
    )
    with started("-e", script, out=out) as process:
        objects = BpfObjects(process.pid)
        kinds = [kind for kind, _ in objects.ids]
        assert kinds.count("prog_id") >= 5
        assert kinds.count("map_id") >= 3
        assert kinds.count("link_id") >= 4
        assert objects.alive() == objects.ids
        process.kill()
        process.wait()
    wait_for(lambda: not objects.alive())


def test_timeout() -> None:
    begin = time.monotonic()
    done = stap("-T", "0.5", "-e", TICKING)
    assert 0.4 < time.monotonic() - begin < 5
    assert done.status == 0
    assert done.out.startswith("ready\ntick\n")
    assert done.out.endswith("tick\nthe end\n")


def test_closed_pipe_ends_the_session_quietly() -> None:
    process = subprocess.Popen(
        [STAP, "-e", TICKING], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    process.wait(10)
    assert b"Traceback" not in process.stderr.read()


def test_full_disk() -> None:
    done = stap("-o", "/dev/full", "-T", "1", "-e", TICKING)
    assert done.status == 1
    assert "ERROR: cannot write to '/dev/full': No space left on device" in done.err
    assert "Traceback" not in done.err


def test_output_file(tmp_path: Path) -> None:
    done = stap("-o", tmp_path / "log-%Y", "-e", 'probe begin { println("x") exit() }')
    assert (done.status, done.out) == (0, "")
    assert text(tmp_path / time.strftime("log-%Y")) == "x\n"


def test_output_file_that_cannot_be_made() -> None:
    done = stap("-o", "/no/such/dir/file", "-e", "probe begin { exit() }")
    assert done.status == 1
    assert "cannot open output file '/no/such/dir/file': No such file or directory" in done.err


def test_command_ends_the_session() -> None:
    script = (
        "global n probe syscall.getppid { if (pid() == target()) n++ } "
        'probe end { printf("%d\\n", n) }'
    )
    command = "/usr/bin/python3 -c 'import os; [os.getppid() for _ in range(100)]'"
    done = stap("-c", command, "-e", script)
    assert (done.status, done.err, done.out) == (0, "", "100\n")


def test_failing_command_is_reported() -> None:
    done = stap("-c", "sh -c 'exit 7'", "-e", "probe end { println(1) }")
    assert done.out == "1\n"
    assert done.err == "WARNING: Child process exited with status 7\n"


def test_command_not_found() -> None:
    done = stap("-c", "no-such-command", "-e", "probe end { println(1) }")
    assert done.status == 1
    assert "ERROR: command not found: no-such-command" in done.err


def test_target_process_ends_the_session(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "100"])
    out = tmp_path / "out"
    script = 'probe begin { printf("ready %d\\n", target()) }'
    with started("-x", str(child.pid), "-e", script, out=out) as process:
        child.terminate()
        child.wait()
        assert process.wait(10) == 0
    assert text(out) == f"ready {child.pid}\n"


def test_target_that_does_not_exist() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    done = stap("-x", str(child.pid), "-e", "probe begin { exit() }")
    assert done.status == 1
    assert f"there is no process {child.pid}" in done.err


def test_exit_stops_other_probes() -> None:
    script = (
        "global n probe timer.ms(10) { if (++n > 3) exit() else println(n) } "
        'probe end { println("end") }'
    )
    assert stap("-e", script).out == "1\n2\n3\nend\n"


def test_begin_probes_run_in_order() -> None:
    script = (
        'probe begin(5) { println("five") } probe begin { println("zero") } '
        'probe begin(-3) { println("minus three") } probe end(2) { println("e2") } '
        'probe end(1) { println("e1") } probe timer.ms(20) { exit() }'
    )
    assert stap("-e", script).out == "minus three\nzero\nfive\ne1\ne2\n"


def test_missing_capabilities_are_named() -> None:
    dropped = ["setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin"]
    script = ["--disable-cache", "-e", "probe begin { exit() }"]
    done = subprocess.run([*dropped, STAP, *script], capture_output=True)
    assert done.returncode == 1
    assert b"tracing needs the capabilities CAP_BPF and CAP_PERFMON" in done.stderr
    assert b"Traceback" not in done.stderr
