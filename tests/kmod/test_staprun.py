"""What staprun can do beside running a module to its end, in the machines of the lab."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import inprocess
from lab.modules import Module, Modules, staprun, started
from pystap.cli.kernel import run_module
from pystap.cli.parse import parse
from pystap.cli.report import PassReport
from pystap.staprun import merge
from pystap.staprun.control import RUNNING, Control, loaded_modules
from pystap.staprun.records import BULK_MAGIC
from stap import PYTHON, Done, wait_for

from .conftest import left

pytestmark = pytest.mark.lab

SOURCES = Path(__file__).parents[2] / "src"
TICKS = """
    global n
    probe begin { println("begin") }
    probe timer.ms(20) { printf("tick %d\\n", ++n) }
    probe end { println("end ", n) }
"""
TICK = Module("-m", "stap_tick", "-e", TICKS)
BULK = Module("-m", "stap_bulk", "-b", "-e", TICKS)
SETTINGS = Module(
    "-m",
    "stap_settings",
    "-e",
    """
    global x = 1, s = "short", current = 2, wide, never
    probe oneshot {
      println(x, " ", s, " ", strlen(s), " ", current, " ", wide, " ", pid() > 0 && never)
      x++ wide++ never++
    }
    """,
)
# Four megabytes, more than a small buffer holds while nobody reads.  A hit makes three records.
LINES, HIT = 8000, 40
FLOOD = Module(
    "-m",
    "stap_flood",
    "-e",
    """
    global n
    probe timer.ms(1) {
      for (i = 0; i < 40; i++) printf("%7d %492s\\n", n++, "x")
      if (n == 8000) exit()
    }
    probe end { println("end ", n) }
    """,
)
# While the end handlers run, nobody reads.
LOSSY = Module(
    "-m",
    "stap_lossy",
    "-DMAXACTION=100000",
    "-e",
    """
    probe begin { exit() }
    probe end { for (i = 0; i < 4000; i++) printf("%7d %492s\\n", i, "x") }
    """,
)
OVER = Module("-m", "stap_over", "-e", 'probe begin { println("over") exit() }')
FAULTS = Module(
    "-m",
    "stap_faults",
    "-e",
    'probe timer.ms(20) { warn("look") } probe timer.ms(200) { error("x") }',
)


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """Whatever a test that fails leaves is ended, so that the others have a chance."""
    yield
    for name in loaded_modules():
        pid = attached(name)
        if pid:
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(map(attached, loaded_modules())))
    staprun("-d", "*")


def attached(name: str) -> int:
    """The process attached to a module; 0 when there is none, or no module."""
    try:
        control = Control(name)
    except FileNotFoundError:
        return 0
    pid = control.status().attached
    control.close()
    return pid


def running(name: str) -> bool:
    """Whether a session runs."""
    if name not in loaded_modules():
        return False
    try:
        control = Control(name)
    except FileNotFoundError:
        return False
    status = control.status()
    control.close()
    return status.phase == RUNNING


def ticks(done: Done) -> list[str]:
    """The lines of a session of ticks, after they were found to be complete."""
    lines = done.out.splitlines()
    count = len(lines) - 2
    assert lines == ["begin", *(f"tick {i}" for i in range(1, count + 1)), f"end {count}"]
    return lines


# --- detached ------------------------------------------------------------------------------------


def test_left_alone_and_taken_over(modules: Modules) -> None:
    done = modules.run(TICK, "-L")
    before = done.out
    assert done.status == 0
    assert done.err == (
        'Disconnecting from systemtap module.\nTo reconnect, type "staprun -A stap_tick"\n'
    )
    assert running("stap_tick")
    run = started("-A", "stap_tick")
    wait_for(lambda: "tick 30\n" in run.output())
    os.kill(run.pid, signal.SIGINT)
    done = run.end()
    assert (done.err, done.status) == ("", 0)
    ticks(Done((before + done.out).encode(), b"", 0))
    assert left() == []


def test_detached_by_a_signal_and_again(modules: Modules) -> None:
    parts = []
    run = started(str(modules.build(TICK)))
    for _ in range(3):
        wait_for(lambda run=run: run.output().count("tick") >= 3)  # type: ignore[misc]
        os.kill(run.pid, signal.SIGQUIT)
        done = run.end()
        assert done.status == 0
        assert "staprun -A stap_tick" in done.err
        assert running("stap_tick")
        parts.append(done.out)
        run = started("-A", "stap_tick")
    wait_for(lambda: "tick" in run.output())
    os.kill(run.pid, signal.SIGTERM)
    done = run.end()
    ticks(Done("".join([*parts, done.out]).encode(), b"", 0))


def test_what_is_running_is_not_taken_over(modules: Modules) -> None:
    run = started(str(modules.build(TICK)))
    wait_for(lambda: "tick" in run.output())
    done = staprun("-A", "stap_tick")
    assert (
        done.err == f"ERROR: module 'stap_tick' is in use: process {run.pid} is attached to it\n"
    )
    done = staprun("-d", "stap_tick")
    assert (
        done.err == f"ERROR: module 'stap_tick' is in use: process {run.pid} is attached to it\n"
    )
    done = staprun("-d", "*")
    assert (done.err, done.status) == ("", 0)
    done = modules.run(TICK)
    assert "File exists: a module of this name is loaded already; staprun -A attaches" in done.err
    assert done.status == 1
    os.kill(run.pid, signal.SIGINT)
    ticks(run.end())


def test_deleted(modules: Modules) -> None:
    assert modules.run(TICK, "-L").status == 0
    done = staprun("-d", "stap_tick")
    assert (done.out, done.err, done.status) == ("", "", 0)
    assert left() == []
    done = staprun("-d", "stap_tick")
    assert done.err == "ERROR: no module 'stap_tick' made by stap is loaded\n"
    assert done.status == 1
    assert modules.run(TICK, "-L").status == modules.run(OVER, "-L").status == 0
    done = staprun("-A", "nosuch")
    names = "stap_over, stap_tick"
    assert done.err == f"ERROR: no module 'nosuch' made by stap is loaded; there are: {names}\n"
    done = staprun("-d", "*")
    assert done.err == "Removed module 'stap_over'.\nRemoved module 'stap_tick'.\n"
    assert left() == []


def test_what_ended_alone_is_told_later(modules: Modules) -> None:
    assert modules.run(OVER, "-L").status == 0
    done = staprun("-A", "stap_over")
    assert (done.err, done.status) == ("", 0)
    assert left() == []


def numbered(text: str) -> list[int]:
    """The numbers of the lines of the flood up to its end."""
    *lines, last = text.splitlines()
    assert last == f"end {LINES}"
    return [int(line.split()[0]) for line in lines]


def test_the_oldest_gives_way_while_nobody_reads(modules: Modules) -> None:
    done = modules.run(FLOOD, "-L", "-b", "1")
    assert done.status == 0
    before = [int(line.split()[0]) for line in done.out.splitlines()]
    wait_for(lambda: not running("stap_flood"), 60)
    done = staprun("-A", "stap_flood")
    kept = [*before, *numbered(done.out)]
    hits = sorted({number // HIT for number in kept})
    assert kept == [number for hit in hits for number in range(HIT * hit, HIT * (hit + 1))]
    assert len(hits) < LINES // HIT
    assert done.err == (
        f"WARNING: {3 * (LINES // HIT - len(hits))} records were overwritten by newer ones while "
        "nobody was attached.\n"
    )


def test_what_found_no_room_is_told(modules: Modules) -> None:
    done = modules.run(LOSSY, "-b", "1")
    whole = "".join(f"{n:7} {'x':>492}\n" for n in range(4000))
    record = 8192
    assert whole.startswith(done.out)
    assert len(done.out) % record == 0
    lost = -(-(len(whole) - len(done.out)) // record)
    assert lost > 0
    assert done.err == (
        f"WARNING: There were {lost} transport failures. "
        "Try stap -s to increase the buffer size from 1.\n"
    )


# --- files ---------------------------------------------------------------------------------------


def test_next_file_at_a_signal(modules: Modules, tmp_path: Path) -> None:
    file = tmp_path / "out"
    run = started("-o", str(file), str(modules.build(TICK)))
    for number in (1, 2):
        wait_for(lambda: running("stap_tick"))
        os.kill(run.pid, signal.SIGUSR2)
        wait_for((tmp_path / f"out.{number}").exists)
    os.kill(run.pid, signal.SIGINT)
    done = run.end()
    assert (done.out, done.err, done.status) == ("", "", 0)
    texts = [(tmp_path / name).read_bytes() for name in ("out", "out.1", "out.2")]
    ticks(Done(b"".join(texts), b"", 0))
    assert sorted(os.listdir(tmp_path)) == ["out", "out.1", "out.2"]


def test_files_of_a_size_of_which_some_are_kept(modules: Modules, tmp_path: Path) -> None:
    done = modules.run(FLOOD, "-S", "1,2", "-o", str(tmp_path / "out"))
    assert (done.out, done.err, done.status) == ("", "", 0)
    kept = sorted(tmp_path.iterdir())
    assert [path.name for path in kept] == ["out.2", "out.3"]
    assert (1 << 20) - HIT * 501 < kept[0].stat().st_size <= 1 << 20
    numbers = numbered("".join(path.read_text() for path in kept))
    assert numbers == list(range(numbers[0], LINES))
    assert numbers[0] % HIT == 0  # a hit's output is not divided


def test_in_the_background(modules: Modules, tmp_path: Path) -> None:
    file = tmp_path / "out.%Y"
    done = modules.run(FAULTS, "-D", "-o", str(file))
    assert (done.err, done.status) == ("", 0)
    pid = int(done.out)
    assert os.readlink(f"/proc/{pid}/fd/1") == os.readlink(f"/proc/{pid}/fd/2") == "/dev/null"
    wait_for(lambda: gone(pid), 60)
    (written,) = tmp_path.iterdir()
    assert written.name.startswith("out.20")
    lines = written.read_text().splitlines()
    assert lines[0] == "WARNING: look"
    assert "ERROR: x near identifier 'error' at <input>:1:" in "\n".join(lines)
    assert lines[-1] == "WARNING: Number of errors: 1, skipped probes: 0"


def gone(pid: int) -> bool:
    """Whether a process has ended, though nobody may have asked for its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_the_background_is_not_reached(modules: Modules, tmp_path: Path) -> None:
    done = modules.run(TICK, "-D", "-o", str(tmp_path / "no" / "out"))
    assert done.out == ""
    assert done.err.startswith("ERROR: cannot open output file")
    assert done.status == 1
    assert left() == []


def test_a_target_s_end_ends_it(modules: Modules) -> None:
    with subprocess.Popen(["sleep", "1000"]) as target:
        run = started("-x", str(target.pid), str(modules.build(TICK)))
        wait_for(lambda: "tick" in run.output())
        target.kill()
        target.wait()
        ticks(run.end())


# --- bulk mode -----------------------------------------------------------------------------------


def merged(*words: str) -> Done:
    """A run of stap-merge."""
    return inprocess.Run(*words, command=_merge).end()


def _merge(words: list[str]) -> int:
    status = merge.main(list(words))
    sys.stdout.flush()
    return status


def test_files_of_each_cpu_and_their_merging(modules: Modules, tmp_path: Path) -> None:
    run = started("-o", str(tmp_path / "out"), str(modules.build(BULK)))
    wait_for(lambda: sum(path.stat().st_size for path in tmp_path.iterdir()) > 1000)
    os.kill(run.pid, signal.SIGINT)
    done = run.end()
    assert (done.out, done.err, done.status) == ("", "", 0)
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == [f"out_{n}" for n in range(os.cpu_count() or 1)]
    assert all(path.read_bytes().startswith(BULK_MAGIC) for path in files)
    names = [str(path) for path in files]
    done = merged(*names)
    lines = ticks(done)
    done = merged("-v", "-o", str(tmp_path / "merged"), *reversed(names))
    assert (done.out, done.err, done.status) == ("", "", 0)
    shown = (tmp_path / "merged").read_text().splitlines()
    assert shown[1::2] == lines
    heads = [[int(word) for word in head[1:-1].split(",")] for head in shown[::2]]
    assert [serial for _, serial, _ in heads] == list(range(1, len(lines) + 1))
    assert [size for _, _, size in heads] == [len(line) + 1 for line in lines]


def test_what_cannot_be_merged(modules: Modules, tmp_path: Path) -> None:
    done = inprocess.Run(
        *("--time-limit", "1", str(modules.build(BULK))),
        directory=tmp_path,
        command=_staprun(),
    ).end(120)
    assert done.status == 0, done.err
    names = sorted(os.listdir(tmp_path))
    assert names == [f"stpd_cpu{n}" for n in range(os.cpu_count() or 1)]
    whole = [str(tmp_path / name) for name in names]
    lines = ticks(merged(*whole))
    cut = max(tmp_path.iterdir(), key=lambda path: path.stat().st_size)
    cut.write_bytes(cut.read_bytes()[:-1])
    done = merged(*whole)
    assert "ends within a record" in done.err
    assert len(done.out.splitlines()) == len(lines) - 1
    other = tmp_path / "other"
    other.write_text("tick 1\n")
    assert merged(str(other)).err == f"ERROR: '{other}' was not written by stap -b\n"
    assert merged(str(tmp_path / "no")).err.endswith("No such file or directory\n")


def _staprun() -> Callable[[list[str]], int]:
    from pystap.staprun.main import main

    return main


# --- by stap -------------------------------------------------------------------------------------


def passed_on(path: Path, *words: str, directory: Path | None = None) -> Done:
    """Pass 5 of stap with these words, for a finished module."""
    _staprun()

    def command(given: list[str]) -> int:
        options = parse(["--runtime=kernel", "-e", TICKS, *given])
        return run_module(options, path, PassReport(options.verbose), _start)

    return inprocess.Run(*words, directory=directory, command=command).end(120)


def _start(words: list[str]) -> int:
    """staprun in a process of its own."""
    pid = os.fork()
    if pid == 0:
        os._exit(_staprun()(words))
    return pid


def test_left_alone_by_stap(modules: Modules) -> None:
    done = passed_on(modules.build(TICK), "-F", "-w")
    (name,) = loaded_modules()
    assert name.startswith("stap_tick_")
    assert done.err.endswith(f'To reconnect, type "staprun -A {name}"\n')
    assert done.status == 0
    assert done.out.startswith("begin\n")
    assert staprun("-d", name).status == 0


def test_files_in_the_background_by_stap(modules: Modules, tmp_path: Path) -> None:
    words = ("-F", "-o", "out", "-S", "1,2", "-s", "8", "-T", "0.3")
    done = passed_on(modules.build(TICK), *words, directory=tmp_path)
    assert (done.err, done.status) == ("", 0)
    wait_for(lambda: gone(int(done.out)))
    ticks(Done((tmp_path / "out.0").read_bytes(), b"", 0))


# --- what is set at the start --------------------------------------------------------------------


def test_variables(modules: Modules) -> None:
    assert modules.run(SETTINGS).out == "1 short 5 2 0 0\n"
    path = str(modules.build(SETTINGS))
    words = ["x=-0x10", "s=" + "long" * 50, "current=010", "wide=18446744073709551615", "never=1"]
    done = staprun(path, *words)
    assert done.out == f"-16 {'long' * 50} 200 8 -1 1\n", done.err
    done = staprun(path, "y=1")
    those = "current, never, s, wide, x"
    assert (
        done.err
        == f"ERROR: '{path}' has no global variable 'y'; those that can be set are: {those}\n"
    )
    done = staprun(path, "x=much")
    assert "Invalid argument: it does not take the values given: x=much" in done.err
    assert done.status == 1
    assert "VARIABLE=VALUE" in staprun(path, "x").err
    assert "cannot hold blanks" in staprun(path, "s=a b").err


def test_a_name_of_its_own(modules: Modules) -> None:
    path = str(modules.build(TICK))
    runs = [started("-R", path) for _ in range(3)]
    for run in runs:
        wait_for(lambda run=run: "tick" in run.output())  # type: ignore[misc]
    names = [name for name in loaded_modules() if name.startswith("stap_tick")]
    assert sorted(names) == sorted(f"stap_tick_{run.pid}" for run in runs)
    for run in runs:
        os.kill(run.pid, signal.SIGINT)
        ticks(run.end())


# --- refusals ------------------------------------------------------------------------------------


def test_without_privileges(modules: Modules) -> None:
    path = Path("/tmp/stap_over.ko")  # where everybody can read it
    path.write_bytes(modules.build(OVER).read_bytes())
    words = [PYTHON, "-m", "pystap.staprun", str(path)]
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", "--clear-groups", "--bounding-set", "-all", *words],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == (
        "ERROR: loading a kernel module needs root (the capability CAP_SYS_MODULE); "
        "this is user 65534 without it\n"
    )
    assert done.returncode == 1


def test_other_kernels_and_other_files(modules: Modules, tmp_path: Path) -> None:
    path = modules.build(OVER)
    here = os.uname().release
    other = tmp_path / "stap_other.ko"
    other.write_bytes(
        path.read_bytes().replace(f"vermagic={here}".encode(), b"vermagic=9" + here[1:].encode())
    )
    done = staprun(str(other))
    there = f"9{here[1:]}"
    assert done.err == (
        f"ERROR: '{other}' was built for kernel {there}, this is {here}; "
        f"build it with stap -r {here} -p4 -m stap_over\n"
    )
    # What the kernel itself finds wrong.
    other.write_bytes(path.read_bytes().replace(b"mod_unload", b"mod_UNLOAD"))
    done = staprun(str(other))
    assert done.err.startswith(f"ERROR: couldn't insert module '{other}': Exec format error: ")
    assert done.status == 1
    other.write_bytes(path.read_bytes().replace(b"pystap=1", b"nobody=1"))
    assert staprun(str(other)).err.endswith("is a kernel module, but was not made by stap\n")
    assert staprun("/etc/passwd").err == "ERROR: '/etc/passwd' is no kernel module\n"
    assert (
        staprun("/nosuch.ko").err == "ERROR: cannot read '/nosuch.ko': No such file or directory\n"
    )
    nowhere = f"neither here nor in /lib/modules/{here}/systemtap"
    assert staprun("nosuch").err == f"ERROR: there is no module 'nosuch', {nowhere}\n"
    assert left() == []
