"""Handlers run as if alone, with two CPUs at work in the same globals."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

import inprocess
from datadriven import Case, load_cases

HERE = Path(__file__).parent
CASES = load_cases(HERE / "data" / "atomicity.test")
CALLS = 60_000  # of each CPU
HITS = 2 * CALLS
NAME = f"hammer-{os.getpid()}"  # its own for each process that runs tests side by side
CALL = "syscall.sched_get_priority_max"
ALIASES = (
    f'probe hit = {CALL} {{ if (execname() != "{NAME}") next }} '
    f'probe back = {CALL}.return {{ if (execname() != "{NAME}") next }} '
    "function slowly() { return strlen(sprint(gettimeofday_ns())) > 0 }"
)
# However often a lock is not free in time: the hit is skipped, and the session goes on.
OPTIONS = ("-DMAXSKIPPED=1000000", "-DSTP_NO_OVERLOAD", "--no-global-var-display")


@pytest.fixture(scope="session")
def hammer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program in which two CPUs make the same system call all the time."""
    path = tmp_path_factory.mktemp("hammer") / NAME
    command = ["gcc", "-O2", "-pthread", "-o", str(path), str(HERE / "hammer.c")]
    subprocess.run(command, check=True)
    return str(path)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_if_alone(case: Case, hammer: str) -> None:
    words = [*OPTIONS, *case.get("options").split(), "-E", ALIASES, "-e", case.input]
    done = inprocess.stap(*words, "-c", f"{hammer} {CALLS}", timeout=120)
    assert done.status == 0, done.err
    found = re.fullmatch(r"ran (-?\d+) wrong (-?\d+)\n", done.out)
    assert found, (done.out, done.err)
    ran, wrong = map(int, found.groups())
    assert wrong == 0
    assert HITS - skipped(done.err) <= ran <= HITS


def skipped(complaints: str) -> int:
    """Skipped hits as the session counted them."""
    found = re.search(r"skipped probes: (\d+)", complaints)
    return int(found[1]) if found else 0


# ---- hits that are skipped

# Hardly any patience with locks, and a handler that keeps them long.
IMPATIENT = ("-DMAXTRYLOCK=1", "-DTRYLOCKDELAY=1", "-DSTP_NO_OVERLOAD")
SLOW = (
    "global n, ran probe hit { for (i = 0; i < 30; i++) n = n + slowly(); ran++ } "
    'probe error { println("error") } probe end { printf("ran %d n %d\\n", ran, n) }'
)


def slow_handlers(hammer: str, *options: str) -> inprocess.Done:
    words = [*IMPATIENT, *options, "-E", ALIASES, "-e", SLOW]
    return inprocess.stap(*words, "-c", f"{hammer} 20000", timeout=60)


def test_too_many_skipped_hits_end_the_session(hammer: str) -> None:
    done = slow_handlers(hammer, "-DMAXSKIPPED=20")
    assert (done.status, done.out) == (1, "error\n"), done.err
    assert (
        "ERROR: Skipped too many probes, check MAXSKIPPED or try again with stap -t for more "
        "details.\n"
    ) in done.err
    assert skipped(done.err) > 20


def test_suppressed_errors_allow_any_number_of_skips(hammer: str) -> None:
    done = slow_handlers(hammer, "-DMAXSKIPPED=20", "--suppress-handler-errors")
    assert done.status == 0, done.err
    found = re.fullmatch(r"ran (\d+) n (\d+)\n", done.out)
    assert found
    assert skipped(done.err) > 20
    assert int(found[2]) == 30 * int(found[1])


def test_the_report_tells_why_hits_were_skipped(hammer: str) -> None:
    done = slow_handlers(hammer, "-DMAXSKIPPED=1000000", "-t")
    found = re.search(r"WARNING: Skipped due to global 'n' lock timeout: (\d+)", done.err)
    assert found, done.err
    missed = int(found[1])
    reentrant = skipped(done.err) - missed
    assert missed > 20
    assert bool(reentrant) == ("Skipped due to reentrancy" in done.err)
    ran = re.search(r"ran (\d+)", done.out)
    assert ran
    assert 40_000 - reentrant <= int(ran[1]) + missed <= 40_000
    contended = re.search(r"'n' lock contention occurred (\d+) times", done.err)
    assert contended
    assert int(contended[1]) >= missed


# ---- handlers do not run when they must not

OFTEN = f'probe {CALL} {{ if (execname() == "{NAME}") calls++ }}'


def test_no_handler_runs_after_exit(hammer: str) -> None:
    script = (
        f"global calls, at {OFTEN} probe timer.ms(10) {{ if (calls) {{ at = calls; exit() }} }} "
        "probe end { println(at > 0 && calls >= at); before = calls; "
        "for (i = 0; i < 500; i++) { } println(calls == before) }"
    )
    done = inprocess.stap("-e", script, "-c", f"{hammer} 100000000")
    assert done.out == "1\n1\n", done.err


def test_no_handler_runs_after_an_error(hammer: str) -> None:
    script = (
        f"global calls, at {OFTEN} "
        'probe timer.ms(10) { if (calls) { at = calls; error("enough") } } '
        'probe end { println("not here") } '
        "probe error { println(at > 0 && calls >= at); before = calls; "
        "for (i = 0; i < 500; i++) { } println(calls == before) }"
    )
    done = inprocess.stap("-e", script, "-c", f"{hammer} 100000000")
    assert (done.status, done.out) == (1, "1\n1\n"), done.err
    assert "ERROR: enough near identifier 'error' at <input>:1:" in done.err


# ---- interrupts within handlers

TICKS = (
    "global n, last probe hit { for (i = 0; i < 300; i++) n += slowly() } "
    'probe kernel.trace("local_timer_entry") { last = sprint(cpu()) . "x" } '
    'probe end { printf("n %d\\n", n) println(last != "") }'
)


def interrupted(hammer: str, *options: str) -> inprocess.Done:
    """A session in which the timer's interrupt comes while a handler is at work."""
    words = ["-DMAXSKIPPED=3", "-DSTP_NO_OVERLOAD", *options, "-E", ALIASES, "-e", TICKS]
    return inprocess.stap(*words, "-c", f"{hammer} 3000", timeout=120)


def test_a_handler_in_a_handler_is_skipped_but_does_not_end_the_session(hammer: str) -> None:
    done = interrupted(hammer, "-t")
    assert (done.status, done.out) == (0, f"n {2 * 3000 * 300}\n1\n"), done.err
    found = re.search(r"WARNING: Skipped due to reentrancy: (\d+)\n", done.err)
    assert found, done.err
    assert int(found[1]) > 3


def test_without_interruptions_it_ends_the_session(hammer: str) -> None:
    done = interrupted(hammer, "-DINTERRUPTIBLE=0", "-DMAXACTION=10000")
    assert done.status == 1
    assert "ERROR: Skipped too many probes, check MAXSKIPPED" in done.err
    assert "lock timeout" not in done.err
