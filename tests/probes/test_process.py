"""Programs and their functions, on files that every Linux system has and on made-up ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from probes.points import env, parse_var, resolve
from pystap.debuginfo.elf import Elf
from pystap.diag.diagnostic import Diagnostic, DiagnosticError
from pystap.probes.attach import ProcessEvent, Uprobe
from pystap.probes.base import Match


@pytest.fixture(autouse=True)
def _no_debug_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same whatever debug information is installed for the system's files."""
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", "/nonexistent")


def libc() -> str:
    """The C library this process runs with."""
    maps = Path("/proc/self/maps").read_text().split()
    return next(word for word in maps if os.path.basename(word).startswith("libc.so"))


def failure(text: str, **changes: object) -> Diagnostic:
    with pytest.raises(DiagnosticError) as error:
        resolve(text, env(**changes))
    return error.value.diagnostic


def uprobes(matches: list[Match]) -> dict[str, Uprobe]:
    found = {}
    for match in matches:
        for text, attach in match.points:
            assert isinstance(attach, Uprobe)
            found[text] = attach
    return found


def test_function_of_a_library() -> None:
    path = os.path.realpath(libc())
    [(text, uprobe)] = uprobes(resolve(f'process("{libc()}").function("malloc")')).items()
    assert text == f'process("{path}").function("malloc")'
    with Elf(path) as elf:
        [symbol] = [s for s in elf.functions() if s.name == "malloc"]
        assert uprobe == Uprobe(path, elf.file_offset(symbol.value), "malloc", False)


def test_return_and_call() -> None:
    base = f'process("{libc()}").function("malloc")'
    plain = uprobes(resolve(base)).popitem()[1]
    [(text, call)] = uprobes(resolve(f"{base}.call")).items()
    assert text.endswith('.function("malloc").call')
    assert call == plain
    assert uprobes(resolve(f"{base}.return")).popitem()[1] == plain._replace(is_return=True)


def test_wildcard_lists_each_address_once() -> None:
    found = uprobes(resolve(f'process("{libc()}").function("mem*")'))
    offsets = [uprobe.offset for uprobe in found.values()]
    assert offsets == sorted(set(offsets))
    assert len(found) > 3
    assert all('.function("mem' in text for text in found)


def test_wildcard_is_one_match() -> None:
    [match] = resolve(f'process("{libc()}").function("mem*")')
    assert len(match.points) > 3
    assert any("IFUNC" in note for note in match.notes)


def test_indirect_function() -> None:
    with Elf(os.path.realpath(libc())) as elf:
        name = next(s.name for s in elf.functions() if s.kind == 10)
    problem = failure(f'process("{libc()}").function("{name}")')
    assert "indirect function (IFUNC)" in problem.message


def test_function_by_address() -> None:
    path = os.path.realpath(libc())
    with Elf(path) as elf:
        [symbol] = [s for s in elf.functions() if s.name == "malloc"]
    [(text, uprobe)] = uprobes(resolve(f'process("{path}").function({symbol.value:#x})')).items()
    assert text == f'process("{path}").function({symbol.value})'
    assert uprobe.symbol == "malloc"
    assert failure(f'process("{path}").function(0x7fffffffffff)').message.startswith("address")


def test_near_names_for_functions() -> None:
    problem = failure(f'process("{libc()}").function("mallocc")')
    assert problem.message.startswith("no function 'mallocc' in ")
    assert problem.hint is not None
    assert "malloc" in problem.hint


def test_wildcard_without_match_is_told_of() -> None:
    problem = failure(f'process("{libc()}").function("no_such_*")')
    assert problem.message.startswith("no function matching 'no_such_*' in /")
    folder = os.path.dirname(libc())
    assert resolve(f'process("{folder}/libc.so*").function("no_such_*")') == []


def test_source_positions_need_debuginfo() -> None:
    for rest in ('function("f@a.c:3")', 'statement("f@a.c:3")', 'function("f").inline'):
        problem = failure(f'process("{libc()}").{rest}')
        assert problem.message.startswith("missing debuginfo for /")
        assert problem.message.endswith("[man warning::debuginfo]")


def test_name_in_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "somewhere").mkdir()
    target = tmp_path / "program-1.0"
    target.write_bytes(Path(sys.executable).read_bytes())
    target.chmod(0o755)
    (tmp_path / "somewhere" / "program").symlink_to(target)
    monkeypatch.setenv("PATH", f"/nonexistent:{tmp_path / 'somewhere'}")
    [match] = resolve('process("program").begin')
    assert match.points == [
        (f'process("{target}").begin', ProcessEvent("begin", path=str(target)))
    ]
    problem = failure('process("progran").begin')
    assert problem.message == "cannot find executable 'progran' in $PATH"
    assert problem.hint == "did you mean program?"


def test_glob_of_programs(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(Path(sys.executable).read_bytes())
    (tmp_path / "text").write_text("not a program")
    texts = [t for m in resolve(f'process("{tmp_path}/*").begin') for t, _ in m.points]
    assert texts == [f'process("{tmp_path}/one").begin', f'process("{tmp_path}/two").begin']
    assert resolve(f'process("{tmp_path}/z*").begin') == []


def test_script_stands_for_its_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "tool"
    script.write_text(f"#!{sys.executable} -E\nprint(1)\n")
    script.chmod(0o755)
    [match] = resolve(f'process("{script}").begin')
    assert match.points[0][1].path == os.path.realpath(sys.executable)
    assert "is a script" in match.notes[0]


def test_script_by_env(tmp_path: Path) -> None:
    script = tmp_path / "tool"
    script.write_text("#!/usr/bin/env -S LC_ALL=C sh -e\n")
    [match] = resolve(f'process("{script}").begin')
    assert os.path.samefile(match.points[0][1].path, "/bin/sh")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "not an ELF file"),
        (b"\x7fELF", "not an ELF file"),
        (b"#!\n", "script without a usable interpreter"),
        (b"#!/no/such/program\n", "cannot find '/no/such/program'"),
    ],
)
def test_unusable_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    assert message in failure(f'process("{path}").function("main")').message


def test_directory(tmp_path: Path) -> None:
    assert "is a directory" in failure(f'process("{tmp_path}").begin').message


def test_other_architecture(tmp_path: Path) -> None:
    data = bytearray(Path(sys.executable).read_bytes())
    data[18:20] = (22).to_bytes(2, "little")  # e_machine: s390
    path = tmp_path / "foreign"
    path.write_bytes(data)
    assert "s390x" in failure(f'process("{path}").function("main")').message


def test_life_cycle_of_any_process() -> None:
    [match] = resolve("process.begin")
    assert match.points == [("process.begin", ProcessEvent("begin"))]
    [match] = resolve("process.thread.end")
    assert match.points == [("process.thread.end", ProcessEvent("thread.end"))]


def test_target_restricts_points_without_program() -> None:
    [match] = resolve("process.end", env(target_command="true"))
    assert match.points[0][1] == ProcessEvent("end", target_only=True)


def test_process_by_pid() -> None:
    pid = os.getpid()
    [match] = resolve(f"process({pid}).begin")
    assert match.points == [(f"process({pid}).begin", ProcessEvent("begin", pid=pid))]
    with subprocess.Popen(["sleep", "100"]) as child:
        try:
            matches = resolve(f'process({child.pid}).plt("*")')
        finally:
            child.kill()
    assert len(matches) > 3
    assert {match.points[0][1].pid for match in matches} == {child.pid}
    assert failure(f"process({child.pid}).begin").message == f"no process {child.pid}"
    assert failure("process(-1).begin").message == "no process -1"


def test_program_of_the_command() -> None:
    program = os.path.realpath(sys.executable)
    with Elf(program) as elf:
        name = next(s.name for s in elf.functions() if s.kind == 2)
    target = env(target_command=f"{sys.executable} -c pass")
    [(text, uprobe)] = uprobes(resolve(f'process.function("{name}")', target)).items()
    assert text == f'process("{program}").function("{name}")'
    assert uprobe.target_only
    assert "which program" in failure('process.function("f")').message
    assert "-c" in failure('process.function("f")', target_command="a | b").message


def test_no_variables_without_debuginfo() -> None:
    [entry] = resolve(f'process("{libc()}").function("malloc")')
    [exit_] = resolve(f'process("{libc()}").function("malloc").return')
    with pytest.raises(DiagnosticError) as error:
        entry.context.resolve(parse_var("$bytes"))
    assert "int_arg" in error.value.diagnostic.notes[-1]
    with pytest.raises(DiagnosticError) as error:
        exit_.context.resolve(parse_var("$return"))
    assert "returnval()" in error.value.diagnostic.notes[-1]


def test_malformed() -> None:
    assert "mismatch" in failure(f'process("{libc()}").functoin("x")').message
    assert "incomplete" in failure(f'process("{libc()}")').message
