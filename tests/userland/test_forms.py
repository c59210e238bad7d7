"""Every form of probe point in programs: what it stands for fires, as often as it happens."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import inprocess
from stap import started
from userland.programs import build

SOURCE = """#include <pystap/sdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static inline __attribute__((always_inline)) int thrice(int n) { return 3 * n; }
__attribute__((noinline, noclone)) int inner(int n)
{
    STAP_PROBE1(app, here, n);
    return n + 1;
}
__attribute__((noinline, noclone)) int f(int n)
{
    int sum = inner(n) + thrice(n);
    if (n > 100) goto out;
    sum += getppid() > 0;
out:
    return sum;
}
int main(int argc, char **argv)
{
    char line[16];
    int sum = 0;
    printf("%p\\n", (void *)f);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin))
        sum += f(atoi(line));
    return sum < 0;
}
"""
# A shape behind the program's, and how often it fires for a call of f
SHAPES = [
    ('function("f")', 1),
    ('function("f").call', 1),
    ('function("f").return', 1),
    ('function("f").exported', 1),
    ('function("f@program.c")', 1),
    ('function("f@program.c:11")', 1),
    ('function("*@program.c:11-12")', 1),
    ('function("thrice")', 1),
    ('function("thrice").inline', 1),
    ('function("f").label("out")', 1),
    ('function("f").callee("inner")', 1),
    ('function("f").callee("inner").call', 1),
    ('function("f").callee("inner").return', 1),
    ('function("f").callees', 2),
    ('function("f").callees(2)', 2),
    ('function("{inner,f}*")', 0),
    ('function("[fi]*")', 2),
    ('statement("f@program.c:13")', 1),
    ('statement("f@program.c+2")', 1),
    ('statement("f@program.c:12").nearest', 1),
    ('mark("here")', 1),
    ('provider("app").mark("h*")', 1),
    ('plt("getppid")', 1),
    ('plt("getppid").return', 1),
    ('library("libc.so.6").function("getppid")', 1),
    ('library("libc.so.*").function("getppid").return', 1),
    ("plt", None),
    ("plt.return", None),
    ("thread.begin", 0),
    ("thread.end", 0),
    ("syscall", None),
    ("syscall.return", None),
    ("begin", None),
    ("end", None),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(SOURCE, tmp_path_factory.mktemp("forms"), "-g -O1 -fno-inline -no-pie")


@pytest.fixture(scope="module")
def commands(program: Path) -> str:
    """A command that calls f three times."""
    (program.parent / "input").write_text("1\n2\n3\n")
    script = program.parent / "run.sh"
    script.write_text(f"#!/bin/sh\nexec {program} < {program.parent}/input > /dev/null\n")
    script.chmod(0o755)
    return str(script)


def counted(points: list[str], when: str) -> str:
    """A script that counts the hits of each point."""
    probes = [f"probe {point} ? {{ hits[{n}]++ }}" for n, point in enumerate(points)]
    ends = [f'printf("%d\\n", hits[{n}])' for n in range(len(points))]
    return "\n".join(["global hits", *probes, f"probe {when} {{ {' '.join(ends)} exit() }}"])


def check(found: str, calls: int) -> None:
    for (shape, times), count in zip(SHAPES, found.split(), strict=True):
        if times is not None:
            assert int(count) == calls * times, shape
        elif shape in ("begin", "end", "plt", "plt.return"):
            assert int(count) >= 1, shape
        else:
            assert int(count) > 3, shape


def test_by_path(program: Path, commands: str) -> None:
    points = [f'process("{program}").{shape}' for shape, _ in SHAPES]
    done = inprocess.Run("-c", commands, "-e", counted(points, "end")).end(60)
    assert done.err == ""
    check(done.out, 3)


def test_of_the_command(program: Path) -> None:
    """The program is the command's first word."""
    points = [f"process.{shape}" for shape, _ in SHAPES]
    with (program.parent / "input2").open("w+") as file:
        file.write("7\n8\n")
        file.flush()
        done = inprocess.Run("-c", f"{program}", "-e", counted(points, "end")).end(60)
    assert done.err == ""
    check(done.out.partition("\n")[2], 0)  # standard input is empty


@contextmanager
def waiting(program: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program, with the address of f in it; it calls f for each line it gets."""
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def poke(process: subprocess.Popen[str], lines: str) -> None:
    process.communicate(lines, timeout=30)


def test_by_pid(program: Path, tmp_path: Path) -> None:
    with waiting(program) as (process, _), waiting(program) as (other, _):
        points = [f"process({process.pid}).{shape}" for shape, _ in SHAPES]
        script = counted(points, f"process({process.pid}).end")
        script += '\nprobe begin { println("ready") }'
        with started("-e", script, out=tmp_path / "out") as stap:
            poke(other, "5\n")
            poke(process, "5\n6\n")
            assert stap.wait(30) == 0
        check((tmp_path / "out").read_text().removeprefix("ready\n"), 2)


def test_of_the_target(program: Path, tmp_path: Path) -> None:
    """-x: the process and what it starts."""
    with waiting(program) as (process, _), waiting(program) as (other, _):
        points = [f"process.{shape}" for shape, _ in SHAPES]
        script = counted(points, f"process({process.pid}).end")
        script += '\nprobe begin { println("ready") }'
        with started("-x", str(process.pid), "-e", script, out=tmp_path / "out") as stap:
            poke(other, "5\n")
            poke(process, "5\n6\n")
            assert stap.wait(30) == 0
        check((tmp_path / "out").read_text().removeprefix("ready\n"), 2)


@pytest.mark.parametrize("flags", ["-g -O1 -no-pie", "-g -O1 -fPIE -pie"])
def test_absolute(tmp_path: Path, flags: str) -> None:
    program = build(SOURCE, tmp_path, flags)
    with waiting(program) as (process, address), waiting(program) as (other, _):
        place = f"process({process.pid}).statement({address}).absolute"
        script = f"""
          probe {place} {{ printf("%d %s\\n", int_arg(1), pp()) }}
          probe {place}.return {{ println(returnval() << 32 >> 32) }}
          probe process({process.pid}).end {{ exit() }}
          probe begin {{ println("ready") }}
        """
        with started("-e", script, out=tmp_path / "out") as stap:
            poke(other, "5\n")
            poke(process, "5\n-7\n")
            assert stap.wait(30) == 0
        shown = f"process({process.pid}).statement({int(address, 16)}).absolute"
        assert (tmp_path / "out").read_text().splitlines() == [
            "ready", f"5 {shown}", "22", f"-7 {shown}", "-26",
        ]  # fmt: skip


def test_absolute_addresses_without_code(program: Path) -> None:
    with waiting(program) as (process, _):
        maps = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
        data = next(hex(int(line.partition("-")[0], 16)) for line in maps if " rw-p " in line)
        vdso = next(
            hex(int(line.partition("-")[0], 16)) for line in maps if line.endswith("[vdso]")
        )
        for where, message in (
            ("0x10", f"process {process.pid} has no memory at 0x10"),
            (data, f"process {process.pid} has no code at {data}"),
            (vdso, f"has [vdso] at {vdso}: only files can be probed"),
        ):
            script = f"probe process({process.pid}).statement({where}).absolute {{}}"
            done = inprocess.Run("-p2", "-e", script).end(30)
            assert done.status == 1
            assert message in done.err
    done = inprocess.Run("-p2", "-e", f"probe process({process.pid}).statement(1).absolute {{}}")
    assert f"no process {process.pid}" in done.end(30).err


def run(script: str, command: Path | str) -> str:
    done = inprocess.Run("-c", str(command), "-e", script).end(60)
    assert (done.err, done.status) == ("", 0)
    return done.out


def test_build_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in $PATH, and one that runs."""
    program = build(SOURCE, tmp_path / "bin", f"-O1 -DUNLIKE={tmp_path.name} -Wl,--build-id=sha1")
    notes = subprocess.run(["readelf", "-n", program], capture_output=True, text=True).stdout
    found = re.search(r"Build ID: (\w{40})", notes)
    assert found
    script = f'probe process("{found[1]}").function("main") {{ println(pp()) }}'
    missing = inprocess.Run("-p2", "-e", script).end(30)
    assert f"no file has the build id {found[1]}" in missing.err
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    assert f'process("{program}").function("main")\n' in run(script, program)
    monkeypatch.undo()
    with waiting(program):
        done = inprocess.Run("-l", f'process("{found[1]}").function("main")').end(30)
    assert done.out == f'process("{program}").function("main")\n'


def test_glob(tmp_path: Path) -> None:
    one = build(SOURCE, tmp_path / "app1", "-O1")
    build(SOURCE, tmp_path / "app2", "-O1")
    (tmp_path / "app3").mkdir()
    (tmp_path / "app3" / "program").write_text("no program")
    build("int main(void) { return 0; }", tmp_path / "app4", "-O1")
    script = f'probe process("{tmp_path}/app?/program").function("f") {{ println(pp()) }}'
    done = inprocess.Run("-l", f'process("{tmp_path}/app*/program").function("f")').end(30)
    assert done.out.splitlines() == [
        f'process("{tmp_path}/app{n}/program").function("f")' for n in (1, 2)
    ]
    command = f"sh -c 'echo 1 | {one}; echo 2 | {tmp_path}/app2/program'"
    wanted = [f'process("{tmp_path}/app{n}/program").function("f")' for n in (1, 2)]
    assert [line for line in run(script, command).splitlines() if "0x" not in line] == wanted


def test_script_of_an_interpreter(tmp_path: Path) -> None:
    interpreter = build("int main(int c, char **v) { return c != 3; }", tmp_path, "-O1 -g")
    tool = tmp_path / "tool"
    tool.write_text(f"#!{interpreter} -x\nwords of its own\n")
    tool.chmod(0o755)
    script = f'probe process("{tool}").function("main") {{ println($c) }}'
    done = inprocess.Run("-v", "-c", str(tool), "-e", script).end(60)
    assert done.out == "3\n"
    assert f"'{tool}' is a script: its interpreter {interpreter} is probed" in done.err


def test_name_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = build("int main(int c, char **v) { return c != 1; }", tmp_path, "-O1 -g")
    program.rename(tmp_path / "some-tool")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert run('probe process("some-tool").function("main") { println($c) }', "some-tool") == "1\n"
    assert run('probe process.function("main") { println($c) }', "some-tool") == "1\n"


def test_functions_by_address(program: Path) -> None:
    """Addresses of the file, as symbol tables have them."""
    names = subprocess.run(["nm", program], capture_output=True, text=True).stdout
    found = re.search(r"^(\w+) T f$", names, re.MULTILINE)
    assert found
    shapes = [f"function(0x{found[1]})", f"function(0x{found[1]}).call"]
    shapes += [f"function(0x{found[1]}).return", f"statement(0x{found[1]})"]
    probes = [f'probe process("{program}").{shape} {{ println("{n}") }}' for n, shape in
              enumerate(shapes)]  # fmt: skip
    script = program.parent / "run1.sh"
    script.write_text(f"#!/bin/sh\necho 4 | {program} > /dev/null\n")
    script.chmod(0o755)
    assert sorted(run("\n".join(probes), script).split()) == ["0", "1", "2", "3"]
