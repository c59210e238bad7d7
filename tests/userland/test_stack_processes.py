"""Stacks of processes that were there before, whose files are elsewhere, or come later."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import inprocess
from userland.programs import build

SOURCE = """
#include <unistd.h>
#include <stdio.h>
volatile int sink;
__attribute__((noinline)) int leaf(int n) { getppid(); return sink + n; }
__attribute__((noinline)) int middle(int n) { return leaf(n) + sink; }
int main(void)
{
    puts("ready");
    fflush(stdout);
    for (;;) {
        middle(sink);
        usleep(10000);
    }
}
"""
FLAGS = "-O2 -fno-optimize-sibling-calls"
SCRIPT = """
    probe syscall.getppid {
      if (pid() == target()) { print_ubacktrace(); exit() }
    }"""
SEEN = ("getppid", "leaf", "middle", "main")


@contextmanager
def running(*command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has said that it is ready."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


def names(output: str) -> list[str]:
    """The names in lines of print_ubacktrace(), up to main."""
    found = [line.split(" : ")[1].split("+")[0] for line in output.splitlines() if " : " in line]
    return found[: found.index("main") + 1] if "main" in found else found


def test_process_that_runs_already(tmp_path: Path) -> None:
    with running(build(SOURCE, tmp_path, FLAGS)) as process:
        done = inprocess.stap("-x", str(process.pid), "-e", SCRIPT)
    assert names(done.out) == list(SEEN)
    assert (done.err, done.status) == ("", 0)


def test_program_that_was_deleted(tmp_path: Path) -> None:
    program = build(SOURCE, tmp_path, FLAGS)
    with running(program) as process:
        program.unlink()
        done = inprocess.stap("-x", str(process.pid), "-e", SCRIPT)
    assert names(done.out) == list(SEEN)
    assert f"[{program}]" in done.out


def test_program_of_another_mount_namespace(tmp_path: Path) -> None:
    """A file that has no path here."""
    program = build(SOURCE, tmp_path, FLAGS)
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    command = f"mount -t tmpfs none {hidden} && cp {program} {hidden}/other && exec {hidden}/other"
    with running("unshare", "--mount", "sh", "-c", command) as process:
        assert not (hidden / "other").exists()
        done = inprocess.stap("-x", str(process.pid), "-e", SCRIPT)
    assert names(done.out) == list(SEEN)
    assert f"[{hidden}/other]" in done.out


def test_program_on_an_overlay(tmp_path: Path) -> None:
    """Where a file has another inode for stat(2) than its mappings have."""
    lower, upper, work, top = (tmp_path / name for name in ("lower", "upper", "work", "top"))
    for folder in (lower, upper, work, top):
        folder.mkdir()
    program = build(SOURCE, tmp_path, FLAGS)
    shutil.copy(program, lower / "program")
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "none", "-o", options, top], check=True)
    try:
        script = f"""
            probe process("{top}/program").function("leaf") {{ print_ubacktrace(); exit() }}"""
        done = inprocess.stap("-c", f"{top}/program", "-e", script)
    finally:
        subprocess.run(["umount", top], check=True)
    assert names(done.out.replace("ready\n", "")) == list(SEEN[1:])
    assert f"[{top}/program]" in done.out


def test_any_process_is_looked_at_when_it_is_met(tmp_path: Path) -> None:
    """Neither probed nor target: its table is made while the session runs."""
    script = """
        probe syscall.getppid {
          if (pid() == $1 && usymname(ustack(1)) == "leaf") { print_ubacktrace(); exit() }
        }"""
    with running(build(SOURCE, tmp_path, FLAGS)) as process:
        done = inprocess.stap("-e", script, str(process.pid))
    assert names(done.out) == list(SEEN)


def test_library_that_is_loaded_later(tmp_path: Path) -> None:
    library = tmp_path / "plugin.so"
    code = "int sink; int call(int (*back)(int)) { return back(3) + sink; }"
    subprocess.run(
        ["gcc", "-xc", "-", "-O2", "-shared", "-fPIC", "-o", str(library)],
        input=code.encode(), check=True,
    )  # fmt: skip
    program = build(
        f"""
        #include <dlfcn.h>
        #include <unistd.h>
        volatile int sink;
        __attribute__((noinline)) int leaf(int n) {{ getppid(); return sink + n; }}
        int main(void)
        {{
            int (*call)(int (*)(int)) = dlsym(dlopen("{library}", RTLD_NOW), "call");
            for (;;) {{
                sink += call(leaf);
                usleep(1000);
            }}
        }}""",
        tmp_path,
        FLAGS,
    )
    script = f"""
        probe process("{program}").function("leaf") {{
          if (usymname(ustack(2)) == "main") {{ print_ubacktrace(); exit() }}
        }}"""
    done = inprocess.stap("-c", str(program), "-e", script)
    assert names(done.out) == ["leaf", "call", "main"]
    done = inprocess.stap(
        "-d", str(library), "-c", str(program), "-e", script.replace("if", "//\n")
    )
    assert names(done.out)[:3] == ["leaf", "call", "main"]


def test_code_without_any_data_is_told_of(tmp_path: Path) -> None:
    """A file with machine code that is no program: a frame pointer would lead through it."""
    blob = tmp_path / "code"
    # push %rbp; mov %rsp,%rbp; sub $16,%rsp; call *%rdi; leave; ret
    blob.write_bytes(bytes.fromhex("554889e54883ec10ffd7c9c3").ljust(4096, b"\xcc"))
    program = build(
        f"""
        #include <fcntl.h>
        #include <sys/mman.h>
        volatile int sink;
        __attribute__((noinline)) int leaf(void) {{ return sink; }}
        int main(void)
        {{
            int fd = open("{blob}", O_RDONLY);
            int (*code)(int (*)(void)) = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
            return code(leaf) + sink;
        }}""",
        tmp_path,
        FLAGS,
    )
    script = f'probe process("{program}").function("leaf") {{ print_ubacktrace() }}'
    done = inprocess.stap("-c", str(program), "-e", script)
    first, second, third, *_ = done.out.splitlines()
    assert " : leaf+0x0/" in first
    assert second.endswith(" [code+0xa]")
    assert " : main+" in third
    missing = "WARNING: Missing unwind data for a module, rerun with 'stap -d "
    assert done.err.startswith(missing)
    assert done.err.count("\n") == 1
    assert done.err.endswith("code'\n")
    done = inprocess.stap("-w", "-c", str(program), "-e", script)
    assert done.err == ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [("/nonexistent/program", "No such file or directory"), ("/etc/passwd", "not an ELF file")],
)
def test_objects_that_cannot_be_used_are_told_of(name: str, reason: str) -> None:
    done = inprocess.stap("-d", name, "-e", "probe begin { println(ubacktrace()) exit() }")
    assert done.err.startswith(f"WARNING: no symbols or unwind data of '{name}': ")
    assert done.err.rstrip().endswith(reason)
    assert (done.out, done.status) == ("\n", 0)


def test_names_of_kernel_modules_are_let_pass() -> None:
    done = inprocess.stap("-d", "kernel", "-e", "probe begin { println(ubacktrace()) exit() }")
    assert (done.out, done.err, done.status) == ("\n", "", 0)


def test_exiting_process_still_has_its_stack(tmp_path: Path) -> None:
    """What is printed when the process has gone long since."""
    program = build(
        """
        #include <unistd.h>
        volatile int sink;
        __attribute__((noinline)) void leaf(int n) { _exit(n); }
        int main(void) { leaf(sink); return 1; }""",
        tmp_path,
        FLAGS,
    )
    script = """
        global stack
        probe syscall.exit_group { if (pid() == target()) stack = sprint_ubacktrace() }
        probe end { print(stack) }"""
    done = inprocess.stap("-c", str(program), "-e", script)
    assert [line.split("+")[0] for line in done.out.splitlines()][1:3] == ["leaf", "main"]
