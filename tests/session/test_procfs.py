"""Files whose reads and writes run handlers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from stap import STAP, stap, started, wait_for

BASE = Path("/run/pystap")
READY = 'probe begin { println("ready") } '


def directory(process: subprocess.Popen[bytes]) -> Path:
    return BASE / f"stap_{process.pid}"


def is_there(files: Path) -> bool:
    """Whether a session's directory is there, if only as a place that answers no more."""
    return BASE.exists() and files.name in os.listdir(BASE)


def test_reads_and_writes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = (
        READY
        + """
    global n, got
    probe procfs("count").read { n++; $value = sprintf("%d\\n", n) }
    probe procfs("count").write { got .= "[" . $value . "]" }
    probe procfs("deep/er/long").read.maxsize(2000) {
      $value = "thrown away"
      $value = "head\\n"
      for (i = 0; i < 30; i++) $value .= sprintf("%049d\\n", i)
    }
    probe procfs("short").read.maxsize(7) { $value = "0123456789" }
    probe procfs("default").read { for (i = 0; i < 30; i++) $value .= sprintf("%049d\\n", i) }
    probe procfs.write { printf("%d %s\\n", strlen($value), substr($value, 0, 4)) }
    probe procfs("stop").write { if ($value == "now") exit() }
    probe end { println(got) }
    """
    )
    with started("-e", script, out=out) as process:
        files = directory(process)
        count = files / "count"
        assert [count.read_text() for _ in range(3)] == ["1\n", "2\n", "3\n"]
        count.write_text("hello\n")
        with count.open("ab") as file:  # as a shell's >> does
            file.write(b"x\0y")
        expected = "head\n" + "".join(f"{i:049}\n" for i in range(30))
        assert (files / "deep/er/long").read_text() == expected
        assert (files / "short").read_text() == "0123456"
        assert len((files / "default").read_text()) == 511
        (files / "command").write_text("abcdefg\n")
        (files / "command").write_bytes(b"z" * 1200)
        with pytest.raises(OSError, match="Permission denied"):
            (files / "command").read_text()
        assert sorted(os.listdir(files)) == [
            "command",
            "count",
            "deep",
            "default",
            "short",
            "stop",
        ]
        (files / "stop").write_text("later")
        (files / "stop").write_text("now")
        assert process.wait(20) == 0
        assert not is_there(files)
    lines = out.read_text().splitlines()
    assert lines[1:] == ["8 abcd", "511 zzzz", "511 zzzz", "178 zzzz", "[hello", "][x]"]


def test_a_reader_in_pieces_sees_one_text(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = (
        READY
        + """
    global n
    probe procfs("x").read { n++; $value = sprintf("%d%d%d", n, n, n) }
    """
    )
    with started("-e", script, out=out) as process:
        fd = os.open(directory(process) / "x", os.O_RDONLY)
        assert [os.read(fd, 2), os.read(fd, 2), os.read(fd, 2)] == [b"11", b"1", b""]
        assert os.pread(fd, 9, 0) == b"222"  # from the start again: a new text
        os.close(fd)


def test_modes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = (
        READY
        + """
    probe procfs("r").read, procfs("b").read, procfs("u").umask(0400).read { $value = "" }
    probe procfs("w").write, procfs("b").write { println($value) }
    """
    )
    with started("-e", script, out=out) as process:
        modes = {p.name: p.stat().st_mode & 0o7777 for p in directory(process).iterdir()}
        assert modes == {"r": 0o400, "w": 0o200, "b": 0o600, "u": 0}
        for change in ("mkdir", "touch", "unlink"):
            with pytest.raises(PermissionError):
                getattr(directory(process) / ("b" if change == "unlink" else "new"), change)()


def test_nothing_stays_after_sigkill(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with started("-e", READY + 'probe procfs("x").read { $value = "1" }', out=out) as process:
        files = directory(process)
        assert (files / "x").read_text() == "1"
        process.kill()
        process.wait()
        wait_for(lambda: not is_there(files))
    assert str(files) not in Path("/proc/mounts").read_text()


def test_the_directory_is_told() -> None:
    script = """
    probe procfs("x").read { $value = "42\\n" }
    probe begin { system("cat /run/pystap/" . module_name() . "/x") }
    probe timer.s(1) { exit() }
    """
    done = stap("-v", "-e", script)
    assert done.out == "42\n"
    assert "Pass 5: procfs files are in /run/pystap/stap_" in done.err


def test_a_file_has_one_reader_and_one_writer() -> None:
    script = 'probe procfs("x").read { $value = "1" } probe procfs("x").read { $value = "2" }'
    done = stap("-p2", "-e", script)
    assert done.status == 1
    assert "semantic error: a file has one read probe: 'x' has another" in done.err


def test_mistakes() -> None:
    done = stap("-p2", "-e", 'probe procfs("x").write { $value = "1" }')
    assert "this target variable cannot be written" in done.err
    done = stap("-p2", "-e", 'probe procfs("../x").read { $value = "1" }')
    assert "'../x' is no path of a file below the session's directory" in done.err
    done = stap("-p2", "-e", 'probe procfs("x").read.maxsize(0) { $value = "1" }')
    assert "procfs maxsize 0 is out of range" in done.err
    done = stap("-p2", "-e", 'probe procfs("x").read { $value = 3 }')
    assert "type mismatch" in done.err


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_standard_input(tmp_path: Path, kind: str) -> None:
    script = """
    probe input.line { printf("line %s", line); if (line == "quit\\n") exit() }
    probe input.char { if (char == "!") println("bang") }
    """
    text = b"abc\nd!e\nquit\nmore\n"
    path = tmp_path / "input"
    path.write_bytes(text)
    with path.open("rb") as file:
        done = subprocess.run(
            [STAP, "-e", script],
            capture_output=True,
            timeout=60,
            **({"stdin": file} if kind == "file" else {"input": text}),
        )
    assert done.stdout == b"line abc\nbang\nline d!e\nline quit\n"
    assert done.stderr == b""
