"""Programs of the distribution, without debug information: symbol tables and marks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import inprocess
from stap import Done
from userland.programs import build

PYTHON = os.path.realpath("/usr/bin/python3")
LIBC = "libc.so.6"


@pytest.fixture(autouse=True)
def _no_debug_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", "/nonexistent")
    monkeypatch.delenv("DEBUGINFOD_URLS", raising=False)


def run(command: str, script: str) -> Done:
    done = inprocess.Run("-c", command, "-e", script).end(60)
    assert done.err == ""
    assert done.status == 0
    return done


def test_marks_of_python(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("def f(n):\n    return n and f(n - 1)\n\nf(3)\n")
    script = f"""
      probe process("{PYTHON}").mark("function__return") {{
        if (user_string($arg1) == "{program}")
          printf("%s %d\\n", user_string($arg2), $arg3)
      }}
    """
    done = run(f"{PYTHON} -S -E {program}", script)
    assert done.out.splitlines() == [*["f 2"] * 4, "<module> 4"]


def test_exceptions_of_the_cplusplus_library(tmp_path: Path) -> None:
    source = "int main() { for (int i = 0; i < 3; i++) try { throw i; } catch (int) {} }"
    program = build(source, tmp_path, "-O1", "cxx")
    library = f'process("{program}").library("libstdc++.so.*")'
    script = f"""
      global thrown
      probe {library}.mark("throw") {{ thrown[$arg1] = 1 }}
      probe {library}.provider("libstdcxx").mark("catch") {{
        println($$name, " ", thrown[$arg1])
      }}
    """
    assert run(str(program), script).out == "catch 1\n" * 3


def test_functions_of_the_c_library(tmp_path: Path) -> None:
    source = """
      #include <stdlib.h>
      int main(void) { free(malloc(123457)); return 0; }
    """
    program = build(source, tmp_path, "-O0 -fno-builtin")
    library = f'process("{program}").library("{LIBC}")'
    script = f"""
      probe {library}.function("malloc") {{ if (ulong_arg(1) == 123457) println(ppfunc()) }}
      probe {library}.function("malloc").return {{
        if (@entry(ulong_arg(1)) == 123457) println(returnval() != 0)
      }}
    """
    assert run(str(program), script).out == "malloc\n1\n"


def test_library_of_another_program(tmp_path: Path) -> None:
    source = "#include <unistd.h>\nint main(void) { return getppid() == 0; }"
    one, two = build(source, tmp_path / "one"), build(source, tmp_path / "two")
    script = f"""
      probe process("{one}").library("{LIBC}").function("getppid") {{ println("one") }}
      probe process("{two}").library("{LIBC}").function("getppid") {{ println("two") }}
    """
    assert run(f"sh -c '{one}; {two}; {two}'", script).out == "one\ntwo\ntwo\n"


def test_libraries_are_those_it_needs() -> None:
    script = 'probe process("/bin/sh").library("libz.so.99").function("x") {}'
    done = inprocess.Run("-p2", "-e", script).end(60)
    assert "no library 'libz.so.99' of " in done.err
    assert LIBC in done.err
