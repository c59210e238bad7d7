"""Which runtime a script gets, and what is said of it; nothing is built."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inprocess import stap

C = "function f:long () %{ STAP_RETVALUE = 1; %} probe begin { println(f()) exit() }"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What looks like the tree of another kernel, but builds nothing."""
    (tmp_path / "include/generated").mkdir(parents=True)
    (tmp_path / "include/generated/utsrelease.h").write_text('#define UTS_RELEASE "9.9.9"\n')
    (tmp_path / "Makefile").write_text("all modules:\n\t@echo nothing is built; exit 1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("script", "what"),
    [
        (C, "embedded C: embedded-code at <input>:1:20"),
        ("%{ int x; %} probe begin { exit() }", "embedded C, at <input>:1:3"),
        ("probe begin { println(%{ 1 %}) }", "embedded C: embedded-code at <input>:1:23"),
        ('probe begin { println(@const("E2BIG")) }', "embedded C: operator '@const' at <input>"),
        ("probe begin { set_kernel_int(1, 2) }", "embedded C: embedded-code at "),
        ("probe begin { @kderef(4, 8) = 1 }", "writes to the kernel's memory: operator '@kderef'"),
        ("probe syscall.close { $fd = 1 }", "writes to registers: identifier '$fd' at <input>"),
    ],
)
def test_what_others_refuse(script: str, what: str) -> None:
    for runtime in ("bpf", "reference"):
        done = stap("-g", f"--runtime={runtime}", "-e", script)
        assert done.err.startswith(f"semantic error: only the kernel runtime has {what}")
        assert "        hint: use it: --runtime=kernel\n" in done.err
        assert done.err.endswith("Pass 3: translation failed.  [man error::pass3]\n")
        assert (done.out, done.status) == ("", 1)


def test_chosen_without_being_asked() -> None:
    done = stap("-g", "-p3", "-e", C)
    assert "STAP_RETVALUE = 1;" in done.out
    assert (done.err, done.status) == ("", 0)
    done = stap("-g", "-p3", "--vp", "001", "-e", C)
    reason = "embedded C: embedded-code at <input>:1:20"
    assert f"Pass 3: changing to the kernel runtime, only it has {reason}\n" in done.err


def test_why_it_was_chosen_where_it_cannot_serve() -> None:
    done = stap("-g", "-r", "9.9.9", "-e", C)
    lines = done.err.splitlines()
    reason = "embedded C: embedded-code at <input>:1:20"
    assert lines[0] == f"ERROR: only the kernel runtime has {reason}"
    assert lines[1].startswith("ERROR: the kernel headers of 9.9.9 are not installed (looked at: ")
    assert done.status == 1


def test_another_kernel_s_module_is_not_run(tree: Path) -> None:
    done = stap("--runtime=kernel", "-r", str(tree), "-e", "probe begin { exit() }")
    text = "WARNING: kernel release/architecture mismatch with host forces last-pass 4."
    assert done.err.splitlines()[0] == text
    assert "nothing is built" in done.err
    assert (done.out, done.status) == ("", 1)
    done = stap("--runtime=kernel", "-w", "-r", str(tree), "-e", "probe begin { exit() }")
    assert text not in done.err


@pytest.mark.parametrize("words", [("-F",), ("-b",), ("-S", "1", "-o", "file")])
def test_modes_of_output(words: tuple[str, ...]) -> None:
    done = stap(*words, "-p3", "-e", "probe begin { exit() }")
    assert "STAP_MODULE" in done.out
    assert done.status == 0
    done = stap(*words, "--runtime=bpf", "-e", "probe begin { exit() }")
    assert done.err.startswith(f"stap: {words[0]} needs the kernel runtime: --runtime=kernel.\n")
    assert done.status == 1


@pytest.mark.parametrize("value", ["0", "", "1,", "1,0", "x", "1,2,3", "-1"])
def test_sizes_of_files(value: str) -> None:
    done = stap("-S", value, "-o", "file", "-e", "probe begin { exit() }")
    assert done.err.startswith(f"stap: Invalid argument '{value}' for -S ")
    assert done.status == 1


def test_files_need_a_name() -> None:
    done = stap("-S", "1", "-e", "probe begin { exit() }")
    assert done.err.startswith("stap: -S needs an output file: -o FILE.\n")
    assert not os.path.exists("file.0")


@pytest.mark.parametrize("words", [("-c", "true"), ("-T", "3")])
def test_what_runs_alone_has_no_end_of_ours(words: tuple[str, ...]) -> None:
    done = stap("-F", *words, "-e", "probe begin { exit() }")
    message = f"stap: -F does not go with {words[0]}, unless -o FILE is given.\n"
    assert done.err.startswith(message)
    assert done.status == 1
