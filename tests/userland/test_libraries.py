"""Globals, statics and functions of shared libraries, wherever they are loaded."""

from __future__ import annotations

import subprocess
from pathlib import Path

import inprocess
from pystap.debuginfo.libraries import needed
from userland.programs import build

FIRST = """
static long counter = 5;
int shared_state[3] = { 1, 2, 3 };
__attribute__((noinline)) long step(int by)
{
    static const char *volatile last = "none";
    counter += by;
    shared_state[by % 3] = counter;
    last = by > 1 ? "big" : "small";
    return counter;
}
"""
SECOND = """
static long counter = -100;
long step(int);
__attribute__((noinline)) long both(int by) { counter -= by; return step(by) + counter; }
"""


def test_variables_of_two_libraries(tmp_path: Path) -> None:
    """Each file has its own ``counter``, and each library's is found from the place probed."""
    (tmp_path / "first.c").write_text(FIRST)
    (tmp_path / "second.c").write_text(SECOND)
    for name, more in (("first", []), ("second", ["-L.", "-lfirst"])):
        command = ["gcc", "-g", "-O1", "-fPIC", "-shared", f"{name}.c", "-o", f"lib{name}.so"]
        subprocess.run([*command, *more, f"-Wl,-rpath,{tmp_path}"], cwd=tmp_path, check=True)
    source = """
      long both(int);
      int main(void) { return both(1) + both(2) == 0; }
    """
    flags = f"-O1 -g -fPIE -pie -L{tmp_path} -Wl,-rpath,{tmp_path}"
    (tmp_path / "program").mkdir()
    program = build(source, tmp_path / "program", f"{flags} -Wl,--no-as-needed -lsecond -lfirst")
    library = f'process("{program}").library'
    script = f"""
      probe {library}("libfirst.so").function("step") {{
        printf("%d %d %d", $counter, @var("counter@first.c"), @var("shared_state")[1])
        printf(" %s\\n", user_string($last))
      }}
      probe {library}("libfirst.so").function("step").return {{
        printf("%d %d\\n", $return, $counter)
      }}
      probe {library}("lib*").function("both") {{ printf("%d %d\\n", $counter, $by) }}
    """
    done = inprocess.Run("-c", str(program), "-e", script).end(60)
    assert (done.err, done.status) == ("", 0)
    assert done.out.splitlines() == [
        "-100 1", "5 5 2 none", "6 6",
        "-101 2", "6 6 6 small", "8 8",
    ]  # fmt: skip


def test_libraries_for_the_machine_of_the_program(tmp_path: Path) -> None:
    """One name, a library of 64 bits in the first folder and one of 32 in the second."""
    flags = ["-shared", "-nostdlib", "-fPIC", "-xc", "/dev/null", "-Wl,-soname,libshown.so"]
    for bits in ("64", "32"):
        (tmp_path / bits).mkdir()
        made = tmp_path / bits / "libshown.so"
        subprocess.run(["gcc", f"-m{bits}", *flags, "-o", made], check=True)
    (tmp_path / "p.c").write_text("void _start(void) { for (;;) ; }")
    for bits in ("64", "32"):
        program = tmp_path / f"program{bits}"
        search = [f"-Wl,-rpath,{tmp_path}/64:{tmp_path}/32", f"-L{tmp_path}/{bits}"]
        command = ["gcc", f"-m{bits}", "-nostdlib", "-fPIC", tmp_path / "p.c", "-o", program]
        subprocess.run([*command, *search, "-Wl,--no-as-needed", "-lshown"], check=True)
        assert needed(str(program), "") == {"libshown.so": f"{tmp_path}/{bits}/libshown.so"}
