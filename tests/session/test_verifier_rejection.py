"""Programs and maps the kernel refuses: whose fault it is, where it is, and nothing stays."""

from __future__ import annotations

import contextlib
import os
import re
import struct
from pathlib import Path

import pytest

from inprocess import stap
from pystap.backend.bpf.artifact import Artifact
from pystap.cli import run as cli_run
from pystap.options import Options
from pystap.session.cache import Entry

BAD_READ = struct.pack("<BBhi", 0x79, 0xA0, 256, 0)  # r0 = *(u64 *)(r10 + 256)
LEFT_BEHIND = 99  # exit status of a run that keeps kernel objects
SCRIPT = """global n
probe begin { println("ran") }
probe kernel.trace("sched_wakeup") { n++ }
probe kernel.trace("sched_switch") { n++ }
"""


def corrupted(artifact: Artifact, point: str) -> Artifact:
    """The artifact with a read no program may make near the beginning of one probe's program."""
    programs = list(artifact.programs)
    [index] = [i for i, p in enumerate(programs) if point in artifact.probes[p.probes[0]].point]
    spec = programs[index]
    double = {at + i for at, _ in spec.fixups for i in (0, 1)}
    at = 8 * next(i for i in range(len(spec.insns)) if i not in double)
    programs[index] = spec._replace(insns=spec.insns[:at] + BAD_READ + spec.insns[at + 8 :])
    return artifact._replace(programs=tuple(programs))


def held_objects() -> list[str]:
    """The BPF objects this process has descriptors of."""
    links = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # of the listing itself
            links.append(os.readlink(f"/proc/self/fd/{number}"))
    return [link for link in links if "bpf" in link]


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every run has the program of one probe spoilt; where the verifier's logs are kept."""
    directory = tmp_path / "logs"
    directory.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    original = cli_run.run_artifact

    def run_artifact(options: Options, entry: Entry, report: object) -> int:
        entry = Entry(corrupted(entry.artifact, "sched_switch"), [], entry.counts, entry.files)
        status = original(options, entry, report)  # type: ignore[arg-type]
        return LEFT_BEHIND if held_objects() else status

    monkeypatch.setattr(cli_run, "run_artifact", run_artifact)
    return directory


def test_refused_program(logs: Path) -> None:
    done = stap("--disable-cache", "-e", SCRIPT)
    assert done.status == 1, done.err
    assert done.out == ""  # no handler ran: everything is loaded before anything happens
    pattern = (
        r"ERROR: the kernel's verifier refused a program that pystap generated\.\n"
        r' +probe kernel\.trace\("(sched:)?sched_switch"\) at <input>:4:1\n'
        r" +verifier: (.*)\n"
        r" +This is a fault of pystap, not of the script\. Please report it with\n"
        r" +the script and the verifier's log in (\S+)\n"
        r"Pass 5: run failed\..*\n"
    )
    match = re.fullmatch(pattern, done.err)
    assert match, done.err
    assert "invalid read from stack" in match[2]
    log = Path(match[3])
    assert log.parent == logs
    assert log.stat().st_mode & 0o077 == 0
    assert match[2] in log.read_text("latin-1")


def test_refused_while_a_command_waits(logs: Path) -> None:
    """The command never runs."""
    witness = logs / "witness"
    done = stap("--disable-cache", "-c", f"touch {witness}", "-e", SCRIPT)
    assert done.status == 1
    assert not witness.exists()


@pytest.mark.parametrize("options", [[], ["-DMAXMAPENTRIES=2147483647"]])
def test_arrays_too_large_for_the_kernel(options: list[str]) -> None:
    size = "" if options else "[2147483647]"
    done = stap("--disable-cache", *options, "-e", f"global a{size} probe oneshot {{ a[1] = 1 }}")
    assert done.status == 1
    assert re.fullmatch(
        r"ERROR: the script needs \d+ GB of kernel memory, more than half of the \d+ GB "
        r"available\.\n"
        r" +a: 2147483647 elements, \d+ GB\n"
        r" +output, handlers and all else: \d+ GB\n"
        r" +Give arrays a smaller size \(global a\[SIZE\]\) or lower -D MAXMAPENTRIES\.\n"
        r"Pass 5: run failed\..*\n",
        done.err,
    ), done.err


def test_a_large_array_works() -> None:
    script = "global a[1000000] probe oneshot { a[7] = 8; println(a[7]); delete a }"
    done = stap("--disable-cache", "-e", script)
    assert (done.out, done.err, done.status) == ("8\n", "", 0)


def test_more_arrays_than_a_program_may_use() -> None:
    names = [f"a{i}" for i in range(70)]
    body = " ".join(f'{name}["k"] = {i};' for i, name in enumerate(names))
    used = " + ".join(f'{name}["k"]' for name in names)
    script = f"global {', '.join(names)}\nprobe oneshot {{ {body} println({used}) }}"
    done = stap("--disable-cache", "-e", script)
    assert done.status == 1
    assert "semantic error: probe begin at <input>:2:1 uses 7" in done.err
    assert "maps (one for each array, and more), BPF allows 64\n" in done.err
    assert "hint: use fewer arrays there" in done.err
    assert "fault of pystap" not in done.err


def test_log_files_are_not_predictable(logs: Path) -> None:
    for _ in range(2):
        stap("--disable-cache", "-e", SCRIPT)
    assert len(os.listdir(logs)) == 2
