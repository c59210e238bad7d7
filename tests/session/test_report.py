"""The report of ``-t``, and sessions that end or do not begin because they would take too much."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

import pytest

import inprocess
from pystap.backend.bpf.artifact import Artifact, GlobalInfo, MapSpec
from pystap.output.hits import Times, hit_report, merge, times_of
from pystap.session import memory
from pystap.session.memory import TooMuchMemoryError, check_memory
from stap import STAP

TO_STDOUT = "-DSTP_FORCE_STDOUT_TTY"
TIMES = r"(\d+)min/(\d+)avg/(\d+)max, variance: \d+"
SCRIPT = (
    "global n probe start = begin { n = 1 } probe start { n++ } "
    "probe timer.ms(10) { if (++n == 7) exit() } probe end { println(n) }"
)


def report_of(out: str) -> list[str]:
    assert "----- probe hit report: \n" in out
    return out.split("----- probe hit report: \n")[1].splitlines()


@pytest.mark.parametrize("unit", ["cycles", "nsecs"])
def test_lines_of_the_report(unit: str) -> None:
    switch = ["-DSTP_TIMING_NSECS"] if unit == "nsecs" else []
    done = inprocess.stap("-t", TO_STDOUT, *switch, "-e", SCRIPT)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("7\n")
    lines = report_of(done.out)
    begin = re.fullmatch(
        rf"begin, \(<input>:1:40\), hits: 1, {unit}: {TIMES}, from: begin from: start, index: 0",
        lines[0],
    )
    timer = re.fullmatch(
        rf"timer.ms\(10\), \(<input>:1:60\), hits: 5, {unit}: {TIMES}, "
        r"from: timer.ms\(10\), index: 1",
        lines[1],
    )
    assert begin, lines
    assert timer, lines
    assert begin[1] == begin[2] == begin[3]
    assert int(timer[1]) <= int(timer[2]) <= int(timer[3])
    assert lines[2].startswith("end, (<input>:1:104), hits: 1, ")
    assert lines[3:5] == ["----- refresh report:", "----- module init report:"]
    assert re.fullmatch(rf"hits: 1, {unit}: {TIMES}", lines[5])
    assert len(lines) == 6


def test_output_that_is_no_terminal_holds_no_report() -> None:
    done = inprocess.stap("-t", "-e", 'probe oneshot { println("out") }')
    assert done.out == "out\n"
    assert done.err.startswith("----- probe hit report: \nbegin, (<input>:1:1), hits: 1, ")


def test_a_full_disk_is_told() -> None:
    words = [STAP, "-t", TO_STDOUT, "-e", "probe oneshot { x = 1 }"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert b"ERROR: cannot write to standard output: No space left on device\n" in done.stderr
    assert b"Traceback" not in done.stderr


def test_only_hits_are_counted() -> None:
    script = 'probe begin { println("not here") } probe timer.ms(20) { println("nor here") }'
    done = inprocess.stap("-DSTP_ALIBI", TO_STDOUT, "-T", "0.5", "-e", script)
    lines = report_of(done.out)
    assert lines[0] == "begin, (<input>:1:1), hits: 1, from: begin, index: 0"
    assert re.fullmatch(
        r"timer.ms\(20\), \(<input>:1:37\), hits: \d+, from: timer.ms\(20\), index: 1", lines[1]
    )
    assert done.out.startswith("-----")


def test_skipped_and_disarmed_hits_are_none() -> None:
    script = (
        "global off = 0, n probe begin if (off) { n++ } "
        "probe begin { off = 0; exit() } probe end { println(n) }"
    )
    lines = report_of(inprocess.stap("-t", TO_STDOUT, "-e", script).out)
    assert [line.split(",")[0] for line in lines[:2]] == ["begin", "end"]
    assert "index: 1" in lines[0]


def test_the_reference_reports_too() -> None:
    done = inprocess.stap(
        "--runtime=reference", "-t", TO_STDOUT, "-e", "probe oneshot { x = 1; println(x) }"
    )
    lines = report_of(done.out)
    assert re.fullmatch(
        rf"begin, \(<input>:1:1\), hits: 1, nsecs: {TIMES}, from: begin from: oneshot, index: 0",
        lines[0],
    )


def test_who_waits_for_a_lock_is_told() -> None:
    probes: Sequence[str] = ()
    text = hit_report(probes, [], "cycles", None, [("a", 3), ("b", 0)])  # type: ignore[arg-type]
    assert text.endswith("'a' lock contention occurred 3 times\n")
    assert "'b'" not in text


def test_what_cpus_saw_is_put_together() -> None:
    one, two = times_of([1, 5, 9]), times_of([2, 40])
    both = merge([one, Times(0, 0, 0, 0, 0, 0), two])
    assert both[:4] == (5, 57, 1, 40)
    assert both.text("nsecs") == "hits: 5, nsecs: 1min/11avg/40max, variance: 265"
    assert merge([]) == times_of([])
    assert (
        one.scaled(2500, 1000).text("cycles") == "hits: 3, cycles: 2min/12avg/22max, variance: 100"
    )


# ---- overload

# A threshold far below what any handler takes, an interval that a second has a thousand of.
LOW = ("-DSTP_OVERLOAD_THRESHOLD=100", "-DSTP_OVERLOAD_INTERVAL=1000000")
BUSY = (
    "global n probe timer.ms(10) { for (i = 0; i < 20; i++) n += i } "
    'probe end { println("end") } probe error { println("error") }'
)
OVERLOAD = (
    r"ERROR: probe overhead \((\d+) cycles\) exceeded threshold \(100 cycles\) "
    r"in last (\d+) cycles\n"
)


@pytest.mark.parametrize("switch", ["-v", "--suppress-handler-errors"])
def test_overload_ends_the_session(switch: str) -> None:
    done = inprocess.stap(*LOW, "-T", "20", switch, "-e", BUSY)
    assert done.status == 1
    assert done.out == "error\n"
    found = re.search(OVERLOAD, done.err)
    assert found, done.err
    assert int(found[1]) > 100
    assert int(found[2]) > 1_000_000
    assert "WARNING: Number of errors: 1, skipped probes: 0\n" in done.err


def test_handlers_without_loops_are_watched_too() -> None:
    script = (
        'global t probe timer.profile { t = t == "a" ? "b" : "a"; t .= "x" } '
        "probe timer.s(20) { exit() }"
    )
    done = inprocess.stap(*LOW, "-T", "20", "--no-global-var-display", "-e", script)
    assert re.search(OVERLOAD, done.err), done.err


@pytest.mark.parametrize("switch", [["-DSTP_NO_OVERLOAD"], ["-g", "--suppress-time-limits"]])
def test_nothing_watches_for_overload(switch: list[str]) -> None:
    done = inprocess.stap(*LOW, *switch, "-T", "0.2", "--no-global-var-display", "-e", BUSY)
    assert (done.status, done.out, done.err) == (0, "end\n", "")


def test_begin_and_end_are_no_overload() -> None:
    script = (
        "global n probe begin, end { for (i = 0; i < 2000; i++) n += i } "
        'probe timer.ms(50) { println("fine"); exit() }'
    )
    done = inprocess.stap(*LOW, "--no-global-var-display", "-e", script)
    assert (done.status, done.out) == (0, "fine\n"), done.err


# ---- memory


def artifact(*maps: MapSpec, maxmemory: int = 0) -> Artifact:
    described = tuple(
        GlobalInfo(m.role[7:], "array", "long", ("long",), i, 0, 8)
        for i, m in enumerate(maps)
        if m.role.startswith("global:")
    )
    return Artifact(maps, (), (), (), (), (), described, 0, 100, False, maxmemory=maxmemory)


def test_more_elements_than_the_machine_has_memory_for() -> None:
    script = "global vast[2000000000], small probe begin { vast[1] = small[2]; exit() }"
    done = inprocess.stap("-w", "-e", script)
    assert (done.status, done.out) == (1, "")
    lines = done.err.splitlines()
    assert re.fullmatch(
        r"ERROR: the script needs \d+ GB of kernel memory, more than half of the \d+ [GM]B "
        r"available\.",
        lines[0],
    )
    assert re.fullmatch(r"        vast: 2000000000 elements, \d+ GB", lines[1])
    assert re.fullmatch(r"        small: 2048 elements, \d+ kB", lines[2])
    assert "global vast[SIZE]" in lines[4]


def test_limit_of_the_command_line() -> None:
    script = "global a[5000] probe begin { a[1] = 1; println(a[1]); exit() }"
    refused = inprocess.stap("-DSTP_MAXMEMORY=1000", "-e", script)
    assert refused.status == 1
    assert "more than the 1000 kB of STP_MAXMEMORY.\n        a: 5000 elements" in refused.err
    allowed = inprocess.stap("-DSTP_MAXMEMORY=100000", "-e", script)
    assert (allowed.status, allowed.err) == (0, "")


def test_all_of_an_array_counts() -> None:
    array = MapSpec("global:a", "global:a", 1, 8, 16, 1000)
    copy = MapSpec("snapshot:a", "snapshot:a", 2, 4, 16, 4000)
    check_memory(artifact(array, copy, maxmemory=149), 2, 6, 0)
    with pytest.raises(TooMuchMemoryError) as refused:
        check_memory(artifact(array, copy, maxmemory=148), 2, 6, 0)
    assert refused.value.lines[1] == "        a: 1000 elements, 152 kB"


def test_the_limit_of_the_control_group_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    8000000 kB\n",
        "/proc/self/cgroup": "4:memory:/old\n0::/a/b\n",
        "/sys/fs/cgroup/a/b/memory.max": "max\n",
        "/sys/fs/cgroup/a/b/memory.current": "5000\n",
        "/sys/fs/cgroup/a/memory.max": "200000000\n",
        "/sys/fs/cgroup/a/memory.current": "50000000\n",
    }
    monkeypatch.setattr(memory, "_read", lambda path: files.get(path, ""))
    large = MapSpec("global:a", "global:a", 2, 4, 8, 10_000_000)
    with pytest.raises(memory.TooMuchMemoryError) as refused:
        memory.check_memory(artifact(large), 2, 6, 0)
    assert refused.value.lines[0].endswith("more than half of the 150 MB available.")
    files["/sys/fs/cgroup/a/memory.max"] = "max\n"
    memory.check_memory(artifact(large), 2, 6, 0)


def test_nothing_is_refused_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_read", lambda _path: "")
    memory.check_memory(artifact(MapSpec("a", "global:a", 2, 4, 8, 1 << 31)), 2, 6, 0)
