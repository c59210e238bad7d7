"""How probes on user-space instructions are attached, and what happens to those that cannot be."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import inprocess
from pystap.kernel.features import Features
from stap import Done, wait_for
from userland.programs import build

# "halt" begins with an instruction that the kernel does not let be probed.
SOURCE = """
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
#define KEEP __attribute__((noinline, noclone))
KEEP void first(void) { __asm__ volatile("" ::: "memory"); }
KEEP void second(void) { __asm__ volatile("" ::: "memory"); }
KEEP void third(void) { __asm__ volatile("" ::: "memory"); }
__asm__(".globl halt\\n.type halt, @function\\nhalt: hlt\\nret\\n.size halt, .-halt");

static void *round_of_calls(void *unused)
{
    first();
    second(); second();
    third(); third(); third();
    return unused;
}

int main(void)
{
    char byte;

    setbuf(stdout, NULL);
    puts("up");
    while (read(0, &byte, 1) == 1) {
        pthread_t other;

        pthread_create(&other, NULL, round_of_calls, NULL);
        pthread_join(other, NULL);
        puts("done");
    }
    return 0;
}
"""


class Program:
    """The program, which calls its functions in a thread of its own when told to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.hear()

    def hear(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline()

    def call(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b".")
        self.process.stdin.flush()
        self.hear()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(build(SOURCE, tmp_path / "built", "-O1 -pthread -fcf-protection=none"))
    yield made
    made.process.communicate(timeout=30)
    assert made.process.returncode == 0


def mechanism(process_only: bool = False) -> str:
    """What this kernel should serve probes by."""
    features = Features()
    multi = features.has("uprobe_multi") and (not process_only or features.has("uprobe_multi_pid"))
    return "uprobe.multi, " if multi else "uprobe, "


REPORT = """global told
probe timer.ms(1) { if (!told++) println("ready") }
probe end { foreach (f+ in c) println(f, c[f]) }
"""


def counts(run: inprocess.Run, *programs: Program) -> Done:
    """The result of a session during which each program called its functions in one thread."""
    wait_for(lambda: "ready" in run.output())
    for program in programs:
        program.call()
    os.kill(run.pid, signal.SIGINT)
    return run.end(60)


def test_each_place_of_one_link_is_told_apart(program: Program) -> None:
    script = f'global c probe process("{program.path}").function("*d") {{ c[ppfunc()]++ }}'
    done = counts(inprocess.Run("-v", "-e", script + REPORT), program)
    assert done.out.split() == ["ready", "second2", "third3"]
    assert f'function("second") and 1 more: {mechanism()}' in done.err.replace("third", "second")


def test_returns_too(program: Program) -> None:
    script = f'global c probe process("{program.path}").function("*d").return {{ c[ppfunc()]++ }}'
    done = counts(inprocess.Run("-e", script + REPORT), program)
    assert done.out.split() == ["ready", "second2", "third3"]


@pytest.mark.parametrize("also", ["", "seen[pp()]++"])
def test_functions_with_variables(tmp_path: Path, also: str) -> None:
    """Each has a handler of its own; those that come out the same are one program, the others
    are detached side by side."""
    functions = "".join(
        f"__attribute__((noinline, noclone)) int f{n}(int n) {{ return n + {n}; }}\n"
        for n in range(40)
    )
    calls = " + ".join(f"f{n}({n})" for n in range(40))
    program = build(f"{functions}int main(void) {{ return ({calls}) == 1; }}", tmp_path, "-g -O1")
    script = f"""global sum, hits, seen
    probe process("{program}").function("f*").call {{ sum += $n; hits++; {also} }}
    probe end {{ foreach (p in seen) n++; println(hits, " ", sum, " ", n) delete seen }}"""
    done = inprocess.Run("-c", str(program), "-e", script).end(60)
    assert done.out == f"40 {sum(range(40))} {40 if also else 0}\n"
    assert done.status == 0


def test_every_thread_of_a_process_but_no_other_process(program: Program) -> None:
    other = Program(program.path)
    pid = program.process.pid
    script = f'global c probe process({pid}).function("*d") {{ c[ppfunc()]++ }}'
    done = counts(inprocess.Run("-v", "-e", script + REPORT), other, program)
    other.process.communicate(timeout=30)
    assert done.out.split() == ["ready", "second2", "third3"]
    assert f" and 1 more: {mechanism(process_only=True)}" in done.err


def test_a_refused_place_is_left_out_and_named(program: Program) -> None:
    script = f"""global c
    probe process("{program.path}").function("first"),
          process("{program.path}").function("halt"),
          process("{program.path}").function("third") {{ c[ppfunc()]++ }}"""
    done = counts(inprocess.Run("-e", script + REPORT), program)
    assert done.out.split() == ["ready", "first1", "third3"]
    assert done.err.startswith(
        f'WARNING: probe process("{program.path}").function("halt") registration error'
        " [man warning::pass5] (rc -"
    )
    assert done.err.count("WARNING") == 1


def test_a_program_that_is_gone(program: Program, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(program.path.read_bytes())
    script = f'probe process("{copy}").function("first") {{ exit() }}'
    inprocess.Run("-p4", "-e", script).end(60)
    copy.unlink()
    done = inprocess.Run("-e", script).end(60)
    assert done.status == 1
    assert "copy" in done.err
