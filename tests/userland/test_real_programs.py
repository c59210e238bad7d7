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


def test_imports_of_python() -> None:
    """Modules as they are imported, and whether each was found."""
    script = f"""
      probe process("{PYTHON}").mark("import__find__load__start") {{
        printf("%s\\n", user_string($arg1))
      }}
      probe process("{PYTHON}").mark("import__find__load__done") {{
        if (!$arg2) printf("not found: %s\\n", user_string($arg1))
      }}
    """
    code = "import json.decoder\ntry: import no_such_thing\nexcept ImportError: pass"
    program = f"{PYTHON} -S -E -c '{code}'"
    lines = run(program, script).out.splitlines()
    imported = [line for line in lines if not line.startswith("not")]
    assert imported[-1] == "no_such_thing"
    assert {"json", "json.decoder"} <= set(imported)
    assert "not found: no_such_thing" in lines
    assert "not found: json" not in lines


def test_builtins_of_bash() -> None:
    """What a script has printf print: bash exports its functions, its structures are known."""
    script = """
      function word:string (list:long) { return user_string(user_ulong(user_ulong(list + 8))) }
      probe process("/bin/bash").function("printf_builtin") {
        for (list = pointer_arg(1); list; list = user_ulong(list))
          printf("[%s]", word(list))
        println()
      }
      probe process("/bin/bash").function("printf_builtin").return {
        printf("%d of %d\\n", returnval(), pid() == target())
      }
    """
    code = 'for i in a b; do printf "%s;" $i "$((i + 1))"; done >&2; (printf -- -x >&2)'
    done = inprocess.Run("-c", f"/bin/bash --norc -c '{code}'", "-e", script).end(60)
    assert done.err == "a;1;b;1;-x"
    assert done.out == "[%s;][a][1]\n0 of 1\n[%s;][b][1]\n0 of 1\n[--][-x]\n0 of 0\n"


def test_what_bash_calls() -> None:
    """Forks of a pipeline, by the linkage table."""
    script = """
      global forks
      probe process("/bin/bash").plt("fork").return { if (returnval() > 0) forks++ }
      probe process("/bin/bash").plt("{pipe,waitpid}*") ? { println("never") }
      probe process("/bin/bash").library("libc.so.6").function("execve") {
        println(user_string(pointer_arg(1)))
      }
      probe end { println(forks) }
    """
    done = run("/bin/bash --norc -c '/bin/true | /bin/true; :'", script).out
    assert done == "/bin/true\n/bin/true\n2\n"


def test_environment_that_is_asked_for() -> None:
    """Names that a program looks up in the C library, and how long names are that it makes."""
    script = f"""
      global asked, sizes
      probe process("/bin/date").library("{LIBC}").function("getenv") {{
        asked[user_string(pointer_arg(1))]++
      }}
      probe process("/bin/date").library("{LIBC}").function("malloc") {{
        sizes <<< ulong_arg(1)
      }}
      probe end {{
        printf("%d %d\\n", "TZ" in asked, @count(sizes) > 0 && @max(sizes) >= @avg(sizes))
      }}
    """
    done = inprocess.Run("-c", "/bin/date -d @0 +%s", "-e", script).end(60)
    assert done.err == ""
    assert done.out == "0\n1 1\n"


def test_symbols_of_each_kind() -> None:
    """The C library's: aliases of one address are one place, indirect functions none."""
    point = f'process("/bin/sh").library("{LIBC}").function("{{}}")'
    done = inprocess.Run("-l", point.replace("{}", "*getpid*")).end(60)
    assert done.out.count('function("getpid")') == 1
    assert "__getpid" not in done.out
    done = inprocess.Run("-p2", "-e", f"probe {point.replace('{}', 'strlen')} {{ println(1) }}")
    assert "is an indirect function (IFUNC)" in done.end(60).err
