"""What is said when a place or a value in a program cannot be had."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import inprocess
from userland.programs import build

SOURCE = """#include <pystap/sdt.h>
struct pair { int x, y; };
static __thread int own;
__attribute__((noinline)) int twice(int n)
{
    return 2 * n;
}
static inline __attribute__((always_inline)) int thrice(int n) { return 3 * n; }
__attribute__((noinline)) int f(struct pair *list, double d, int spare)
{
    own += list->x;
    STAP_PROBE1(app, here, list->y);

    return twice(list->x) + (int)d + thrice(list->y) + own;
}
int main(void) { struct pair p = { 1, 2 }; return f(&p, 1.5, 3); }
"""
CASES = [
    ('function("twic")', "", r"no function 'twic' in .*program: .*did you mean twice\?"),
    ('function("thrice").call', "", r"'thrice' of .* has no code of its own: it is only inlined"),
    ('function("f@")', "", r"malformed source pattern 'f@'"),
    ('function("f@program.c:x")', "", r"malformed source pattern 'f@program.c:x'"),
    ('statement("f@other.c:11")', "", r"no match for 'f@other.c:11' in "),
    ('statement("f@program.c:13")', "", r"no line records for program.c:13 \[man error::dwarf\]"
     r" \(try :12 or :14\)"),
    ("function(0x7fffffff)", "", r"address 0x7fffffff is not in "),
    ('function("f").label("nowhere")', "", "no match"),
    ('mark("there")', "", r"no mark 'there' in .*program: .*it has: here"),
    ('plt("nothing")', "", r"program does not call 'nothing' by its linkage table"),
    ('provider("ap").mark("*")', "", r"no provider 'ap' of marks in .*program: .*it has: app"),
    ('provider("app").mark("th*")', "", r"no mark matching 'th\*' in .*program: .*it has: here"),
    ('mark("th*")', "", r"no mark matching 'th\*' in .*program: .*it has: here"),
    ('plt("noth*")', "", r"program does not call 'noth\*' by its linkage table"),
    ('function("noth*")', "", r"no function matching 'noth\*' in .*program"),
    ('function("noth*@program.c")', "", r"no match for 'noth\*@program.c' in .*program"),
    ('library("libz*").function("f")', "", r"no library matching 'libz\*' of .*program: .*libc"),
    ('library("libc.so.6").function("noth*")', "", r"no function matching 'noth\*' in .*libc"),
    ('function("f")', "println($lisp)", r"unable to find local 'lisp' \(alternatives: \$list\)"),
    ('function("f")', "println($list->z)", r"unable to find member 'z' for struct pair"),
    ('function("f")', "println($d)", r"'\$d' not accessible at this address \(pc: 0x[0-9a-f]+\): "
     "it is in a register for floating point or vectors, which no handler can read"),
    ('statement("f@program.c:15")', "println($spare)", r"'\$spare' not accessible at this address"
     r" \(pc: 0x[0-9a-f]+\): "),
    ('function("f")', "println($n)", "unable to find local 'n'"),
    ('function("f").return', "println($return->x)", r"'int' has no members"),
    ('function("f")', "println($return)", "unable to find local 'return'"),
    ('function("f")', 'println(@var("zip"))', "unable to find global variable 'zip' in .*program"),
    ('function("f")', 'println(@cast(1, "zip")->x)', "unable to find type 'zip' in the program"),
    ('mark("here")', "println($arg2)", r"unable to find local 'arg2' \(alternatives: \$arg1\)"),
    ('mark("here")', "println($arg1->x)", r"'\$arg1' is a number without members"),
]  # fmt: skip


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(SOURCE, tmp_path_factory.mktemp("errors"), "-g -O2")


@pytest.mark.parametrize(("place", "body", "message"), CASES)
def test_message(program: Path, place: str, body: str, message: str) -> None:
    script = f'probe process("{program}").{place} {{ {body} }}'
    done = inprocess.Run("-p2", "-e", script).end(60)
    assert done.status == 1
    assert re.search("semantic error: .*" + message, done.err.replace("\n", " ")), done.err
    assert "Traceback" not in done.err


def test_zero_for_what_is_lost(program: Path) -> None:
    script = f'probe process("{program}").function("f") {{ println($d) }}'
    done = inprocess.Run("--skip-badvars", "-c", str(program), "-e", script).end(60)
    assert done.out == "0\n"
    assert "WARNING: '$d' not accessible" in done.err


def test_no_debug_information(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", f"+:{tmp_path}/tree")
    monkeypatch.delenv("DEBUGINFOD_URLS", raising=False)
    program = build(SOURCE, tmp_path, "-O2")
    base = f'probe process("{program}").function("f")'
    done = inprocess.Run("-p2", "-e", f"{base} {{ println($list) }}").end(60)
    assert f"'$list': missing debuginfo for {program} [man warning::debuginfo]" in done.err
    assert f"looked for {tmp_path}/tree/.build-id/" in done.err
    assert "hint: build it with -g, or set DEBUGINFOD_URLS" in done.err
    monkeypatch.setenv("DEBUGINFOD_URLS", "http://127.0.0.1:1")
    done = inprocess.Run("-p2", "-e", f"{base} {{ println($list) }}").end(60)
    assert re.search(r"\n        asked http://127.0.0.1:1/buildid/\S+ \(.*refused\)\n", done.err)
    assert "hint: build it with -g\n" in done.err
    monkeypatch.delenv("DEBUGINFOD_URLS")
    counted = f'{base} {{ printf("%d %d\\n", int_arg(2), pointer_arg(1) > 0) }}'
    assert inprocess.Run("-c", str(program), "-e", counted).end(60).out == "3 1\n"


def test_listing(program: Path) -> None:
    done = inprocess.Run("-L", f'process("{program}").function("*").call').end(60)
    where = f'process("{program}").function'
    file = program.parent / "program.c"
    assert done.out.splitlines() == [
        f'{where}("f@{file}:9").call $list:struct pair* $spare:int',
        f'{where}("main@{file}:16").call $p:struct pair',
        f'{where}("twice@{file}:4").call $n:int',
    ]
    done = inprocess.Run("-L", f'process("{program}").mark("*")').end(60)
    assert done.out == f'process("{program}").mark("here") $arg1:long\n'
