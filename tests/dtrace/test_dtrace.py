"""The dtrace command: what it reads, and programs built with what it makes."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

import inprocess
from pystap.dtrace.definitions import DefinitionError, Probe, read_definitions
from pystap.dtrace.main import UsageError, main, parse
from stap import ROOT

INCLUDE = ROOT / "include"
DEFINITIONS = """\
#include "settings.h"
#pragma D attributes Evolving/Evolving/Common provider app provider
/* what the
   program tells */
typedef struct thing { int x; } thing_t;
provider app {
    probe start__up(int, char *, double);   // its first words
    probe done();
#ifdef MORE
    probe more(thing_t *t : thing_info *i);
#endif
    probe twelve(int a, int b, int c, int d, int e, int f, unsigned g, short h, char i[4],
                 void (*j)(int), const char *k, unsigned long l) : (int a);
};
provider other { probe only(void); };
"""
PROGRAM = """\
#include <stdio.h>
#include "app.h"
int main(int argc, char **argv)
{
    volatile double half = 0.5;
    if (APP_START_UP_ENABLED()) {
        fprintf(stderr, "start__up %d %s 0.50\\n", argc, argv[0]);
        APP_START_UP(argc, argv[0], half);
    }
    if (APP_DONE_ENABLED())
        fprintf(stderr, "nobody asked for this\\n");
    APP_TWELVE(1, 2, 3, 4, 5, 6, 7u, -8, "text", 0, argv[0], 12ul);
    fprintf(stderr, "twelve -8 text 12\\n");
    OTHER_ONLY();
    fprintf(stderr, "only\\n");
    APP_DONE();
    return 0;
}
"""
SCRIPT = """
probe process("{program}").mark("start__up") {{
  printf("%s %d %s %s\\n", $$name, $arg1, user_string($arg2), fp_to_string($arg3, 2))
}}
probe process("{program}").mark("twelve") {{
  printf("%s %d %s %d\\n", $$name, $arg8, user_string($arg9), $arg12)
}}
probe process("{program}").provider("other").mark("only") {{ println($$name) }}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "app.d").write_text(DEFINITIONS.replace('#include "settings.h"\n', "\n"))
    monkeypatch.chdir(tmp_path)
    for name in ("CC", "CFLAGS", "CPP"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def compile_program(folder: Path, *words: str) -> Path:
    (folder / "program.c").write_text(PROGRAM)
    command = ["g++", "-x", "c++"] if "c++" in words else ["gcc"]
    flags = [w for w in words if w != "c++"]
    done = subprocess.run(
        [*command, *flags, f"-I{INCLUDE}", "program.c", "-x", "none", "app.o", "-o", "program"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "program"


def test_what_is_read() -> None:
    start, done, more, twelve, only = read_definitions(DEFINITIONS)
    assert more == Probe("app", "more", ("thing_t *",))
    assert start == Probe("app", "start__up", ("int", "char *", "double"))
    assert (start.macro, start.semaphore) == ("APP_START_UP", "app_start__up_semaphore")
    assert done == Probe("app", "done", ())
    assert only == Probe("other", "only", ())
    assert twelve.types[6:] == (
        "unsigned", "short", "const void *", "const void *", "const char *", "unsigned long",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "there is no probe in it"),
        ("struct x;\n", 1, "there is no probe in it"),
        ("provider {\n", 1, "the name of the provider is expected instead of '{'"),
        ("provider app\n{\n  prob x();\n};", 3, "'probe' is expected instead of 'prob'"),
        ("provider app {\n  probe x()\n};", 3, "';' is expected instead of '}'"),
        ("provider app {\n  probe x(int,);\n};", 2, "a type is missing"),
        ("provider app {\n  probe x(int", 2, "the file ends where more is expected"),
        ("provider app {\n probe x();\n probe x(int);\n};", 3, "probe 'x' is there twice"),
        ("provider app {\n probe 7();\n};", 2, "the name of the probe is expected instead of '7'"),
        (f"provider app {{ probe x({', '.join(['int'] * 13)}); }};", 1,
         "probe 'x' has more than 12 arguments"),
    ],
)  # fmt: skip
def test_what_is_wrong(text: str, line: int, message: str) -> None:
    with pytest.raises(DefinitionError) as error:
        read_definitions(text)
    assert (error.value.line, str(error.value)) == (line, message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "neither -h nor -G is given"),
        (["-h"], "no file is given with -s"),
        (["-h", "-G", "-s", "x.d"], "-h and -G exclude one another"),
        (["-G", "-s"], "-s needs a value"),
        (["-h", "-s", "x.d", "--colour"], "unknown option --colour"),
    ],
)
def test_words_that_make_no_sense(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(words)
    assert str(error.value) == message
    assert main(words) == 2


def test_default_names() -> None:
    assert parse(["-h", "-s", "dir/app.d"]).output == "app.h"
    assert parse(["-G", "-sdir/app.d", "one.o", "two.o"]).output == "app.o"


@pytest.mark.parametrize("flags", ["-O0 -fPIE -pie", "-O2 -no-pie", "-O1 c++", "-O2 -static"])
def test_a_program(folder: Path, flags: str) -> None:
    assert main(["-h", "-s", "app.d"]) == 0
    assert main(["-G", "-s", "app.d", "-64", "program.o"]) == 0
    program = compile_program(folder, *flags.split())
    script = SCRIPT.format(program=program)
    done = inprocess.Run("-c", str(program), "-e", script).end(60)
    assert done.out == done.err
    assert done.out.count("\n") == 3


def test_counters_are_zero_before_and_after(folder: Path) -> None:
    assert main(["-h", "-s", "app.d"]) == 0
    assert main(["-G", "-s", "app.d"]) == 0
    program = compile_program(folder, "-O1")
    alone = subprocess.run([program], capture_output=True, text=True)
    assert alone.stderr == "twelve -8 text 12\nonly\n"


def test_preprocessor(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "settings.h").write_text("#define MORE 1\n")
    (folder / "app.d").write_text(DEFINITIONS)
    assert main(["-h", "-s", "app.d", "-o", "plain.h"]) == 0
    assert main(["-h", "-s", "app.d", "-C", "-I", "more", "-o", "with.h", "-k"]) == 0
    assert main(["-h", "-s", "app.d", "-C", "-Imore", "-UMORE", "-o", "again.h"]) == 0
    assert "APP_MORE(arg1)" in (folder / "with.h").read_text()
    assert capfd.readouterr().err == "preprocessed text: with.h.dtrace-temp.d\n"
    assert "provider app" in (folder / "with.h.dtrace-temp.d").read_text()
    assert main(["-G", "-s", "app.d", "-C", "-I", "nowhere"]) == 1
    assert re.match(r"dtrace: app.d: cpp failed:\n.*settings.h", capfd.readouterr().err)


def test_typedefs(folder: Path) -> None:
    assert main(["-h", "-s", "app.d", "--types"]) == 0
    text = (folder / "app.h").read_text()
    assert "typedef char * app_start__up_arg2;\n" in text
    assert "typedef unsigned long app_twelve_arg12;\n" in text
    assert "more_arg1" in text  # conditions are the preprocessor's


def test_temporary_files(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = set(os.listdir(folder))
    assert main(["-G", "-s", "app.d", "-o", "x.o"]) == 0
    assert set(os.listdir(folder)) - before == {"x.o"}
    assert main(["-G", "-s", "app.d", "-o", "x.o", "-k"]) == 0
    name = capfd.readouterr().err.removeprefix("source of the counters: ").strip()
    assert "app_done_semaphore" in Path(name).read_text()


def test_failures(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["-h", "-s", "none.d"]) == 1
    assert capfd.readouterr().err == "dtrace: none.d: No such file or directory\n"
    (folder / "bad.d").write_text("provider app {\n  probe\n};\n")
    assert main(["-h", "-s", "bad.d"]) == 1
    assert capfd.readouterr().err == (
        "dtrace: bad.d:3: the name of the probe is expected instead of '}'\n"
    )
    monkeypatch.setenv("CC", "no-such-compiler")
    assert main(["-G", "-s", "app.d"]) == 1
    assert capfd.readouterr().err == (
        "dtrace: cannot run no-such-compiler: No such file or directory\n"
    )
    monkeypatch.setenv("CC", "gcc")
    monkeypatch.setenv("CFLAGS", "-Dunsigned=nonsense")
    assert main(["-G", "-s", "app.d"]) == 1
    assert capfd.readouterr().err.startswith("dtrace: app.d: gcc failed:\n")
    assert not [name for name in os.listdir(folder) if "dtrace-temp" in name]
