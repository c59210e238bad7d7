"""Bad input gets an error that says what and where, a non-zero status, and never a traceback."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stap import STAP, Done, stap


def refused(done: Done, *words: str) -> None:
    """The run failed with all these words in its message."""
    assert done.status != 0, done.out
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err, done.err


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.stp"
    path.touch()
    refused(stap(path), f"Input file '{path}' is empty.")


def test_missing_file() -> None:
    refused(stap("/no/such/file.stp"), "Input file '/no/such/file.stp' is missing.")


def test_directory(tmp_path: Path) -> None:
    refused(stap(tmp_path), f"Input file '{tmp_path}' can't be opened for reading.")


def test_nothing_but_a_comment(tmp_path: Path) -> None:
    path = tmp_path / "comment.stp"
    path.write_text("# nothing here\n")
    refused(stap(path))


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "bytes.stp"
    path.write_bytes(b'probe begin { println("\xff\xfe") \xe9 exit() }')
    refused(stap(path), "parse error", f"{path}:1:")


def test_bytes_in_strings_pass_through(tmp_path: Path) -> None:
    path = tmp_path / "bytes.stp"
    path.write_bytes(b'probe begin { println("\xff\xfe\xc3\xa9") exit() }')
    done = subprocess.run([STAP, path], capture_output=True)
    assert (done.stdout, done.stderr) == (b"\xff\xfe\xc3\xa9\n", b"")


def test_line_of_ten_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "long.stp"
    path.write_bytes(b"probe begin { x = 1" + b" + 1" * 2_500_000 + b" }")
    refused(stap(path, timeout=120))


@pytest.mark.parametrize(
    "script",
    [
        'probe begin { println("abc }',
        "probe begin { /* abc }",
        "probe begin { println(1)",
        "probe begin { println((1) }",
        "%{ int x;",
        "probe begin { @ }",
        "probe",
        "probe begin { if }",
        "probe begin { return 1 }",
        "\0",
    ],
)
def test_unfinished_text(script: str) -> None:
    refused(stap("-", script=script), "parse error")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("probe begin { no_such_function() }", ["semantic error", "no_such_function"]),
        ("probe begin { prinln(1) }", ["semantic error", "prinln"]),
        ("probe begni { }", ["semantic error", "begni", "begin"]),
        ("probe kernel.trace(\"sched_swich\") { println(1) }", ["semantic error", "sched_switch"]),
        ("probe syscall.opne { println(1) }", ["semantic error", "open"]),
        ("probe kernel.trace(\"sched_switch\") { println($nxt) }", ["semantic error", "next"]),
        ("probe begin { println($x) }", ["semantic error", "x"]),
        ("probe begin { a = 1; a = \"s\"; println(a) }", ["type mismatch"]),
        ("global a probe begin { a[1] = 1; a[\"s\"] = 2 } ", ["type mismatch"]),
        ("probe begin { break }", ["semantic error", "break"]),
        ("function f(a) { return a } probe begin { f(1, 2) }", ["semantic error", "f"]),
        ("probe begin { printf(\"%d\\n\") }", ["semantic error"]),
        ("probe begin { printf(\"%s\\n\", 1) }", ["semantic error"]),
        ("probe timer.s(\"x\") { println(1) }", ["semantic error"]),
        ("probe timer.foo(1) { println(1) }", ["semantic error", "foo"]),
        ("probe process(\"/no/such\").function(\"f\") { println(1) }", ["/no/such"]),
    ],
)  # fmt: skip
def test_semantic_errors(script: str, words: list[str]) -> None:
    refused(stap("-e", script), *words, "Pass 2: analysis failed.")


def in_namespace(setup: str, *words: str) -> Done:
    """Run ``stap`` after ``setup`` in a mount namespace of its own."""
    shell = ["unshare", "-m", "sh", "-c", f'{setup} && exec "$@"', "sh", str(STAP), *words]
    done = subprocess.run(shell, capture_output=True, timeout=60)
    return Done(done.stdout, done.stderr, done.returncode)


@pytest.mark.parametrize(
    "script",
    [
        'probe kernel.trace("sched_switch") { println($next->pid) }',
        "probe syscall.getppid { println(pid()) }",
        "probe begin { println(task_pid(task_current())) exit() }",
    ],
)
def test_kernel_without_btf(tmp_path: Path, script: str) -> None:
    hide = f"mount --bind {tmp_path} /sys/kernel/btf"
    done = in_namespace(hide, "--disable-cache", "-e", script)
    refused(done, "semantic error", "BTF", "CONFIG_DEBUG_INFO_BTF")


def test_no_btf_is_needed_where_nothing_asks_for_it(tmp_path: Path) -> None:
    hide = f"mount --bind {tmp_path} /sys/kernel/btf"
    script = 'probe begin { println("hello") exit() }'
    done = in_namespace(hide, "--disable-cache", "-e", script)
    assert (done.out, done.err, done.status) == ("hello\n", "", 0)


def test_tracefs_not_mounted() -> None:
    hide = "{ umount /sys/kernel/tracing /sys/kernel/debug/tracing 2>/dev/null || true; }"
    script = 'probe kernel.trace("sched:sched_switch") { println($$name) exit() }'
    done = in_namespace(hide, "--disable-cache", "-e", script)
    assert (done.out, done.status) == ("sched_switch\n", 0)


@pytest.mark.parametrize(
    "words",
    [
        ["-p", "9"],
        ["--no-such-option"],
        [],
        ["-x", "0", "-e", "x"],
        ["-Q"],
        ["-G", "=", "-e", "x"],
    ],
)
def test_command_line(words: list[str]) -> None:
    done = stap(*words)
    refused(done, "stap: ")
    assert done.status == 1
