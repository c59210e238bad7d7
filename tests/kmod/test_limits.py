"""Limits of time, skipped hits and output, and the reports about them, of modules in the lab."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from lab.modules import Module, Modules, started
from stap import wait_for

from .conftest import load_on_all_cpus

pytestmark = pytest.mark.lab


OVERLOAD = Module(
    "-DSTP_OVERLOAD_INTERVAL=1000000",
    "-DSTP_OVERLOAD_THRESHOLD=1000",
    "-e",
    """
    global n
    probe timer.ms(1) { for (i = 0; i < 900; i++) n++ }
    probe error { println("the end") }
    """,
    "--no-global-var-display",
)
SUPPRESSED = Module(
    "-g",
    "--suppress-time-limits",
    "-DSTP_OVERLOAD_THRESHOLD=0",
    "-e",
    "probe oneshot { for (i = 0; i < 200000; i++) n++; println(n) }",
)
TIMED = """
global n
probe timer.ms(2) { if (++n == 20) exit() }
probe end { println(n) }
"""
REPORT = Module("-t", "-e", TIMED, "--no-global-var-display")
FORCED = Module("-t", "-DSTP_FORCE_STDOUT_TTY", "-DSTP_TIMING_NSECS", "-e", TIMED,
                "--no-global-var-display")  # fmt: skip
ALIBI = Module("-DSTP_ALIBI", "-e", 'probe timer.ms(2) { error("x") }')
CONTENDED = Module(
    "-t",
    "-DMAXTRYLOCK=0",
    "-DMAXSKIPPED=0",
    "-DSTP_NO_OVERLOAD",
    "-e",
    """
    global n
    probe kernel.trace("sched_switch"), timer.profile {
      for (i = 0; i < 900; i++) n = n * 3 + i
    }
    probe timer.s(60) { exit() }
    """,
    "--no-global-var-display",
)
MUCH = Module(
    "-e",
    """
    global n
    probe timer.ms(1) { printf("%d %4000d\\n", ++n, 1) }
    probe end { println("made ", n) }
    """,
    "--no-global-var-display",
)
OFF = Module(
    "-e",
    """
    global on, off, seen
    probe kernel.trace("sched_switch") if (on) { seen++ }
    probe kernel.trace("sched_switch") if (off && on < 5) { println("never") }
    probe timer.ms(20) { on++; if (seen > 3) exit() }
    probe end { println(seen > 3) }
    """,
    "--no-global-var-display",
)


def test_overload(modules: Modules) -> None:
    done = modules.run(OVERLOAD)
    assert re.match(
        r"ERROR: probe overhead \(\d+ cycles\) exceeded threshold \(1000 cycles\) in last \d+ "
        r"cycles\nWARNING: Number of errors: 1, skipped probes: \d+\n",
        done.err,
    )
    assert (done.out, done.status) == ("the end\n", 1)


def test_no_time_limits(modules: Modules) -> None:
    done = modules.run(SUPPRESSED)
    assert (done.out, done.err, done.status) == ("200000\n", "", 0)


def test_report(modules: Modules) -> None:
    done = modules.run(REPORT)
    assert done.out == "20\n"
    lines = done.err.splitlines()
    cycles = r"cycles: \d+min/\d+avg/\d+max, variance: \d+"
    wanted = [
        "----- probe hit report: ",
        rf"timer\.ms\(2\), \(<input>:3:1\), hits: 20, {cycles}, from: timer\.ms\(2\), index: 0",
        rf"end, \(<input>:4:1\), hits: 1, {cycles}, from: end, index: 1",
        "----- refresh report:",
        "----- module init report:",
        rf"hits: 1, {cycles}",
    ]
    assert len(lines) >= len(wanted), done.err
    for line, pattern in zip(lines, wanted):
        assert re.fullmatch(pattern, line), done.err
    done = modules.run(FORCED)
    assert re.search(r"timer\.ms\(2\), .* hits: 20, nsecs: \d+min/", done.out), done.out


def test_hits_alone(modules: Modules) -> None:
    run = started(str(modules.build(ALIBI)))
    wait_for(
        lambda: any(
            "\nhits 0 " in path.read_text() for path in Path("/proc").glob("pystap_*/hits")
        ),
        60,
    )
    os.kill(run.pid, signal.SIGTERM)
    done = run.end(60)
    assert re.fullmatch(
        r"----- probe hit report: \ntimer\.ms\(2\), \(<input>:1:1\), hits: \d+, "
        r"from: timer\.ms\(2\), index: 0\n",
        done.err,
    )
    assert done.status == 0


def test_locks_that_cannot_be_had(modules: Modules) -> None:
    with load_on_all_cpus():
        done = modules.run(CONTENDED)
    assert "ERROR: Skipped too many probes, check MAXSKIPPED or try again with stap -t" in done.err
    assert "WARNING: Skipped due to global 'n' lock timeout: " in done.err
    assert "'n' lock contention occurred " in done.err
    assert done.status == 1


def test_lost_output_is_counted(modules: Modules) -> None:
    run = started("-b", "1", str(modules.build(MUCH)))
    wait_for(lambda: len(run.output()) > 0, 60)
    os.kill(run.pid, signal.SIGSTOP)
    with load_on_all_cpus():
        pass  # which takes some milliseconds of the timer
    wait_for(lambda: _lost() > 5, 60)
    os.kill(run.pid, signal.SIGCONT)
    os.kill(run.pid, signal.SIGTERM)
    done = run.end(120)
    *lines, end = done.out.splitlines()
    numbers = [int(line.split()[0]) for line in lines]
    found = re.search(r"There were (\d+) transport failures\. Try stap -s to increase", done.err)
    assert found, done.err
    assert end == f"made {len(numbers) + int(found[1])}"
    assert numbers == sorted(numbers)
    assert done.status == 0


def _lost() -> int:
    from pystap.staprun.control import Control, loaded_modules

    (name,) = loaded_modules()
    control = Control(name)
    try:
        return control.status().lost
    finally:
        control.close()


def test_conditions_of_probes(modules: Modules) -> None:
    done = modules.run(OFF)
    assert (done.out, done.err, done.status) == ("1\n", "", 0)
