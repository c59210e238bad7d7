"""Begin and end of processes and threads, and probes that count in the target only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from stap import STAP, BpfObjects, repeated, stap, started, wait_for

ACTOR_SOURCE = Path(__file__).parent / "data" / "actor.c"
# Timers run when everything else does: what happens after this line is seen.
READY = 'global told probe timer.ms(5) { if (!told++) println("ready") } '
EDGES = ("begin", "thread.begin", "thread.end", "end")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("actor") / "actor"
    command = ["gcc", "-O1", "-pthread", "-o", str(path), str(ACTOR_SOURCE)]
    subprocess.run(command, check=True)
    return path


@pytest.fixture
def actor(built: Path, tmp_path: Path) -> Path:
    """A program of this test's own: nobody else runs this file."""
    return copy(built, tmp_path / "pystap-actor")


def copy(program: Path, to: Path) -> Path:
    """Another file with the same content, put in place at once."""
    fresh = to.with_suffix(".new")
    shutil.copy(program, fresh)
    os.replace(fresh, to)
    return to


def run(*words: str | Path) -> int:
    """The process id of a program that ran to its end, well."""
    process = subprocess.Popen([*map(str, words)], stdin=subprocess.DEVNULL)
    assert process.wait(60) == 0
    return process.pid


class Running:
    """A session; ``lines`` is its output so far, but for the line that says it runs."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path) -> None:
        self.process = process
        self.out = out

    def lines(self) -> list[str]:
        return output(self.out)

    def end(self) -> list[str]:
        """All output; nothing may have been complained about."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=60)
        assert (self.process.returncode, err) == (0, b"")
        return self.lines()


def output(out: Path) -> list[str]:
    return [line for line in out.read_text("latin-1").splitlines() if line != "ready"]


@contextmanager
def session(tmp_path: Path, script: str, *words: str | Path) -> Iterator[Running]:
    out = tmp_path / "out"
    with started(*words, "-e", READY + script, out=out) as process:
        yield Running(process, out)


def telling(program: Path | str, edges: tuple[str, ...] = EDGES) -> str:
    """Probes of all edges that print what happens to which process."""
    root = f'process("{program}")' if program else "process"
    values = "pid(), tid(), ppid(), execname()"
    return "".join(
        f'probe {root}.{edge} {{ printf("{edge} %d %d %d %s\\n", {values}) }} ' for edge in edges
    )


def events(lines: list[str]) -> list[tuple[str, int, int]]:
    """(edge, pid, tid) of each line."""
    found = []
    for line in lines:
        edge, pid, tid, *_ = line.split(" ")
        found.append((edge, int(pid), int(tid)))
    return found


# ---------------------------------------------------------------- programs by path


def test_many_short_processes(actor: Path, tmp_path: Path) -> None:
    pids = []
    with session(tmp_path, telling(actor)) as s:
        for _ in range(25):
            batch = [subprocess.Popen([actor]) for _ in range(8)]
            pids += [process.pid for process in batch]
            assert all(process.wait(60) == 0 for process in batch)
        seen = events(s.end())
    for edge in ("begin", "end"):
        assert Counter(pid for e, pid, _ in seen if e == edge) == Counter(pids)
    for pid in pids:
        assert [e for e, p, _ in seen if p == pid] == ["begin", "end"]


def test_numbers_and_name_are_those_of_the_process(actor: Path, tmp_path: Path) -> None:
    with session(tmp_path, telling(actor)) as s:
        pid = run(actor)
        lines = s.end()
    assert lines == [f"{edge} {pid} {pid} {os.getpid()} pystap-actor" for edge in ("begin", "end")]


def test_exec_begins_and_only_death_ends(built: Path, tmp_path: Path) -> None:
    programs = [copy(built, tmp_path / name) for name in ("first", "second", "third")]
    script = "".join(telling(program, ("begin", "end")) for program in programs)
    first, second, third = programs
    with session(tmp_path, script) as s:
        pid = run(first, "exec", second, "exec", third)
        lines = s.end()
    begun = [f"begin {pid} {pid} {os.getpid()} {p.name}" for p in programs]
    assert lines == [*begun, f"end {pid} {pid} {os.getpid()} third"]


def test_exec_of_itself_begins_again(actor: Path, tmp_path: Path) -> None:
    with session(tmp_path, telling(actor)) as s:
        pid = run(actor, "exec", actor, "exec", actor)
        assert [e[:2] for e in events(s.end())] == [("begin", pid)] * 3 + [("end", pid)]


@pytest.mark.parametrize("how", ["fork", "vfork"])
def test_forked_children_begin(actor: Path, tmp_path: Path, how: str) -> None:
    with session(tmp_path, telling(actor)) as s:
        pid = run(actor, f"{how}:20")
        lines = s.end()
    seen = events(lines)
    children = [p for edge, p, _ in seen if edge == "begin" and p != pid]
    assert len(set(children)) == len(children) == 20
    expected = [("begin", pid, pid)]
    for child in children:
        expected += [("begin", child, child), ("end", child, child)]
    assert seen == [*expected, ("end", pid, pid)]
    parents = Counter(line.split(" ")[3] for line in lines)
    assert parents == {str(pid): 40, str(os.getpid()): 2}


def test_threads_that_end_first(actor: Path, tmp_path: Path) -> None:
    with session(tmp_path, telling(actor)) as s:
        pid = run(actor, "threads:8")
        seen = events(s.end())
    assert (seen[0], seen[-1]) == (("begin", pid, pid), ("end", pid, seen[-1][2]))
    for edge in ("thread.begin", "thread.end"):
        threads = [tid for e, p, tid in seen if e == edge and p == pid]
        assert len(set(threads) - {pid}) == len(threads) == 8


def test_threads_that_end_with_the_process(actor: Path, tmp_path: Path) -> None:
    with session(tmp_path, telling(actor)) as s:
        pids = [run(actor, "leave:6") for _ in range(30)]
        seen = events(s.end())
    counts = Counter((edge, pid) for edge, pid, _ in seen)
    for pid in pids:
        assert [counts[edge, pid] for edge in EDGES] == [1, 6, 6, 1]


def test_exec_by_a_thread(actor: Path, tmp_path: Path) -> None:
    with session(tmp_path, telling(actor)) as s:
        pid = run(actor, "last-exec", actor)
        seen = events(s.end())
    assert [e for e, p, _ in seen] == ["begin", "thread.begin", "begin", "end"]
    assert {p for _, p, _ in seen} == {pid}


def test_one_handler_of_many_programs(built: Path, tmp_path: Path) -> None:
    programs = [copy(built, tmp_path / f"many{i}") for i in range(12)]
    script = f'probe process("{tmp_path}/many*").begin {{ printf("%s %d\\n", pn(), pid()) }}'
    with session(tmp_path, script) as s:
        pids = [run(program) for program in programs]
        lines = s.end()
    assert lines == [f'process("{program}").begin {pid}' for program, pid in zip(programs, pids)]


def test_two_probes_of_one_program_both_run(actor: Path, tmp_path: Path) -> None:
    point = f'process("{actor}").begin'
    script = f'probe {point}, {point} {{ println("both") }} probe {point} {{ println("third") }}'
    with session(tmp_path, script) as s:
        run(actor)
        assert s.end() == ["both", "both", "third"]


def test_links_and_names_lead_to_the_file(actor: Path, tmp_path: Path) -> None:
    link, hard = tmp_path / "link", tmp_path / "hard"
    link.symlink_to(actor)
    os.link(actor, hard)
    with session(tmp_path, telling(link, ("begin",))) as s:
        pids = [run(path) for path in (actor, link, hard)]
        assert [pid for _, pid, _ in events(s.end())] == pids


def test_condition_is_looked_at(actor: Path, tmp_path: Path) -> None:
    script = (
        f'global on probe process("{actor}").begin if (on) {{ println("on") }} '
        f'probe process("{actor}").end {{ on = !on }}'
    )
    with session(tmp_path, script) as s:
        for _ in range(4):
            run(actor)
        assert s.end() == ["on", "on"]


def test_replaced_program_is_found_again(built: Path, actor: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with session(tmp_path, telling(actor)) as s:
            pid = run(actor)
            assert [e[:2] for e in events(s.end())] == [("begin", pid), ("end", pid)]
        copy(built, actor)


# ---------------------------------------------------------------- what runs already


@contextmanager
def waiting(actor: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """The actor, held before it does what it is told."""
    process = subprocess.Popen([actor, *words], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        let_go(process)


def let_go(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 0


def test_running_process_begins_when_it_runs_next(actor: Path, tmp_path: Path) -> None:
    with waiting(actor, "wait", "fork:2") as one, waiting(actor, "wait") as other:
        wait_for(lambda: all(asleep(p.pid) for p in (one, other)))
        with session(tmp_path, telling(actor)) as s:
            let_go(one)
            let_go(other)
            seen = events(s.end())
    counts = Counter((edge, pid) for edge, pid, _ in seen)
    assert counts["begin", one.pid] == counts["begin", other.pid] == 1
    assert counts["end", one.pid] == counts["end", other.pid] == 1
    assert len(seen) == 8


def test_running_process_by_number(actor: Path, tmp_path: Path) -> None:
    with waiting(actor, "wait", "fork:3", "exec", str(actor)) as process:
        script = telling(actor).replace(f'process("{actor}")', f"process({process.pid})")
        with session(tmp_path, script) as s:
            let_go(process)
            seen = [e[:2] for e in events(s.end())]
    pid = process.pid
    assert seen == [("begin", pid), ("begin", pid), ("end", pid)]


def test_running_threads(actor: Path, tmp_path: Path) -> None:
    with waiting(actor, "leave:5", "wait") as process:
        wait_for(lambda: len(os.listdir(f"/proc/{process.pid}/task")) == 6)
        with session(tmp_path, telling(actor)) as s:
            let_go(process)
            seen = events(s.end())
    counts = Counter(edge for edge, pid, _ in seen if pid == process.pid)
    assert counts == {"begin": 1, "thread.begin": 5, "thread.end": 5, "end": 1}


def asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


# ---------------------------------------------------------------- all processes, the target


def test_every_process(actor: Path, tmp_path: Path) -> None:
    with session(tmp_path, telling("")) as s:
        pid = run(actor, "fork:1", "threads:2")
        seen = events(s.end())
    [child] = {p for e, p, _ in seen if e == "begin"} & children_of(seen, s, pid)
    mine = [e for e in seen if e[1] in (pid, child)]
    assert [e for e, p, _ in mine if p == child] == ["begin", "end"]
    # forked by this process, executed, its threads
    assert Counter(e for e, p, _ in mine if p == pid) == {
        "begin": 2, "thread.begin": 2, "thread.end": 2, "end": 1,
    }  # fmt: skip


def children_of(seen: list[tuple[str, int, int]], s: Running, pid: int) -> set[int]:
    rows = [line.split(" ") for line in s.lines()]
    return {int(row[1]) for row in rows if row[3] == str(pid)}


def bystanders(actor: Path) -> AbstractContextManager[None]:
    """The same program, started again and again by somebody else."""
    return repeated(f'"{actor}" work:1 fork:1')


def test_events_of_the_command_and_its_descendants(actor: Path) -> None:
    with bystanders(actor):
        done = stap("-e", telling(""), "-c", f"{actor} fork:2 threads:3 orphan")
    assert done.status == 0
    seen = events(done.out.splitlines())
    counts = Counter(edge for edge, _, _ in seen)
    # the command, two children, one that is left by its parent, and that one's child
    assert counts == {"begin": 5, "end": 5, "thread.begin": 3, "thread.end": 3}
    begun = [pid for edge, pid, _ in seen if edge == "begin"]
    assert sorted(begun) == sorted(pid for edge, pid, _ in seen if edge == "end")


def test_functions_of_the_command_and_its_descendants(actor: Path) -> None:
    script = 'global n probe process.function("work") { n++ } probe end { println(n) }'
    with bystanders(actor):
        done = stap("-e", script, "-c", f"{actor} work:5 fork:4 vfork:3 orphan work:2")
    assert (done.out, done.err, done.status) == ("15\n", "", 0)


def test_functions_of_a_running_target(actor: Path, tmp_path: Path) -> None:
    script = (
        'global n probe process.function("work") { n++ } probe process.end { ends++ } global ends '
        'probe end { println(n, " ", ends) }'
    )
    with waiting(actor, "wait", "work:5", "fork:4", "orphan") as process, bystanders(actor):
        out = tmp_path / "out"
        with started("-x", process.pid, "-e", READY + script, out=out) as tracer:
            let_go(process)
            assert tracer.wait(60) == 0
    assert output(out) == ["10 7"]


def test_children_of_before_belong_to_a_running_target(actor: Path, tmp_path: Path) -> None:
    command = f'"{actor}" wait work:3; read line; exit 0'
    shell = subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE)
    assert shell.stdin is not None
    wait_for(lambda: bool(offspring(shell.pid)))
    script = f'probe process("{actor}").end {{ printf("%d\\n", pid()) }}'
    target = 'probe process.end { printf("target %d\\n", pid()) }'
    child = offspring(shell.pid)[0]
    out = tmp_path / "out"
    words = ["-x", str(shell.pid), "-e", READY + script + target]
    with bystanders(Path("/bin/true")), started(*words, out=out) as tracer:
        shell.stdin.close()
        assert tracer.wait(60) == 0
    shell.wait()
    assert set(output(out)) == {
        str(child), f"target {child}", f"target {shell.pid}",
    }  # fmt: skip


def offspring(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("how", ["fork", "vfork"])
def test_functions_of_a_process_by_number(actor: Path, tmp_path: Path, how: str) -> None:
    with waiting(actor, "wait", "work:4", f"{how}:3") as process:
        script = f'global n probe process({process.pid}).function("work") {{ n++ }} '
        with session(tmp_path, script + "probe end { println(n) }") as s:
            let_go(process)
            assert s.end() == ["4"]


# ---------------------------------------------------------------- what must not happen


def test_number_that_is_used_again_is_looked_at_again(actor: Path, built: Path) -> None:
    """A translation for one process says nothing about another that gets its number."""
    script = "probe process(%d).begin { exit() } probe timer.ms(200) { exit() }"
    with waiting(actor, "wait") as process:
        assert stap("-e", script % process.pid).status == 0
    done = stap("-e", script % process.pid)
    assert done.status == 1
    assert f"no process {process.pid}" in done.err


def test_nothing_is_left(actor: Path, tmp_path: Path) -> None:
    with session(tmp_path, telling(actor) + telling("")) as s:
        run(actor, "fork:2")
        objects = BpfObjects(s.process.pid)
        assert objects.alive()
        s.process.kill()
        s.process.wait()
    wait_for(lambda: not objects.alive())


@pytest.mark.parametrize("upper", ["", "mount -t tmpfs upper upper"], ids=["one", "two"])
def test_program_on_stacked_file_systems(built: Path, tmp_path: Path, upper: str) -> None:
    """Both layers on one file system, or on two: overlayfs then numbers files otherwise."""
    (tmp_path / "lower").mkdir()
    copy(built, tmp_path / "lower" / "pystap-actor")
    script = "probe process(@1).%s { println(pp()) }"
    both = " ".join(script % edge for edge in ("begin", "end"))
    commands = f"""
        cd {tmp_path} && mkdir upper merged && {upper or ":"} && mkdir upper/files upper/work &&
        mount -t overlay -o lowerdir=lower,upperdir=upper/files,workdir=upper/work m merged &&
        {STAP} -e '{both}' -c '{tmp_path}/merged/pystap-actor' {tmp_path}/merged/pystap-actor
    """
    done = subprocess.run(["unshare", "-m", "sh", "-c", commands], capture_output=True, text=True)
    point = f'process("{tmp_path}/merged/pystap-actor")'
    assert (done.stdout, done.stderr) == (f"{point}.begin\n{point}.end\n", "")
