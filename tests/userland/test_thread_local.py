"""Variables that each thread has its own of, in programs and in libraries of every kind."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

import inprocess

LIBRARY = """
static __thread long quiet = 3;
static __thread struct { char pad[40]; short parts[3]; } own = { .parts = { 1, 2, 3 } };
__attribute__((noinline)) long f(int by)
{
    return by + quiet + own.parts[1];
}
long step(int by)
{
    quiet += by;
    own.parts[1] -= by;
    return f(by);
}
void look(long *out) { out[0] = quiet; out[1] = own.parts[1]; }
"""
MAIN = """
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <dlfcn.h>
static long (*take_step)(int);
static void (*take_look)(long *);
__thread int padding[7] = { 1 };
static void *run(void *by)
{
    for (int i = 0; i < 3; i++) {
        long now[2];
        take_step((long)by);
        take_look(now);
        fprintf(stderr, "%ld %ld\\n", now[0], now[1]);
    }
    return by;
}
#ifndef OPENED
extern long step(int);
extern void look(long *);
#endif
int main(int argc, char **argv)
{
    pthread_t thread;
#ifdef OPENED
    void *library = dlopen(OPENED, RTLD_NOW);
    if (!library) return 3;
    take_step = (long (*)(int))dlsym(library, "step");
    take_look = (void (*)(long *))dlsym(library, "look");
#else
    take_step = step;
    take_look = look;
#endif
    run((void *)1l);
    pthread_create(&thread, NULL, run, (void *)20l);
    pthread_join(thread, NULL);
    run((void *)-2l);
    return padding[0] != 1;
}
"""
SCRIPT = """
probe process("{file}").function("f") {{
  printf("%d %d\\n", $quiet, $own->parts[1])
}}
"""


def compile_with(folder: Path, *commands: str) -> None:
    (folder / "library.c").write_text(LIBRARY)
    (folder / "main.c").write_text(MAIN)
    for command in commands:
        done = subprocess.run(
            ["gcc", *shlex.split(command)], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def check(program: Path, file: Path) -> None:
    done = inprocess.Run("-c", str(program), "-e", SCRIPT.format(file=file)).end(60)
    assert done.err.count("\n") == 9
    assert done.out == done.err
    assert done.status == 0


@pytest.mark.parametrize(
    "flags",
    ["-O2 -gdwarf-4 -pie -fPIE", "-O1 -gdwarf-5 -no-pie", "-O2 -g -static", "-O0 -g -static-pie"],
)
def test_in_a_program(tmp_path: Path, flags: str) -> None:
    compile_with(tmp_path, f"{flags} -o program main.c library.c -lpthread")
    check(tmp_path / "program", tmp_path / "program")


@pytest.mark.parametrize("flags", ["", "-ftls-model=initial-exec", "-ftls-model=local-dynamic"])
def test_in_a_library(tmp_path: Path, flags: str) -> None:
    compile_with(
        tmp_path,
        f"-O2 -g -fPIC -shared {flags} -o libtls.so library.c",
        f"-O1 -g -o program main.c -L. -ltls -Wl,-rpath,{tmp_path}",
    )
    check(tmp_path / "program", tmp_path / "libtls.so")


def test_in_a_library_opened_later(tmp_path: Path) -> None:
    library = tmp_path / "libtls.so"
    compile_with(
        tmp_path,
        "-O2 -g -fPIC -shared -o libtls.so library.c",
        f'-O1 -g -o program main.c -DOPENED=\\"{library}\\"',
    )
    check(tmp_path / "program", library)
