"""Where debug information is found: beside programs, below trees, shared (dwz), on servers."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pystap.debuginfo.debugfiles import DebugFiles, MissingDebugInfo
from pystap.debuginfo.dwarfplaces import Pattern, functions
from pystap.debuginfo.elf import Elf
from pystap.debuginfo.libdw import DwarfError
from userland.programs import build

SOURCE = """
struct pair { int x, y; };
__attribute__((noinline)) int f(struct pair *p) { return p->x; }
int main(void) { struct pair p = { 1, 2 }; return f(&p); }
"""
INLINED = """
static inline __attribute__((always_inline)) int thrice(int n) { return 3 * n; }
int g(int n) { return thrice(n) + thrice(n + 1); }
"""


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DEBUGINFOD_URLS", raising=False)
    monkeypatch.setenv("DEBUGINFOD_CACHE_PATH", str(tmp_path / "downloads"))
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", f"+:.debug:{tmp_path}/tree:build")


def run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


def separated(folder: Path, flags: str = "-g -O2") -> tuple[Path, Path, str]:
    """A stripped program, its debug information and its build id."""
    program = build(SOURCE, folder, flags)
    debug = folder / "program.debug"
    run("objcopy", "--only-keep-debug", program, debug)
    run("strip", program)
    with Elf(str(program)) as elf:
        return program, debug, elf.build_id() or ""


def all_functions(program: Path) -> list[tuple[str, bool, int]]:
    """Name, whether it is inlined, and address of each function."""
    info = DebugFiles().of(str(program))
    return [(p.name, p.inlined, p.entry) for p in functions(info, Pattern("*"))]


def parameters(program: Path) -> list[str]:
    """The members of what ``f`` gets; raises what finding the debug information raises."""
    info = DebugFiles().of(str(program))
    [function] = info.names.functions("f")
    [pointer] = [die for die in function.children() if die.name == "p"]
    kind = pointer.type()
    assert kind is not None
    return [member.name for member in info.types.members(info.types.id_of(kind.type()))]


def test_in_the_program(tmp_path: Path) -> None:
    assert parameters(build(SOURCE, tmp_path)) == ["x", "y"]


def test_by_build_id(tmp_path: Path) -> None:
    program, debug, build_id = separated(tmp_path)
    place = tmp_path / "tree" / ".build-id" / build_id[:2]
    place.mkdir(parents=True)
    debug.rename(place / f"{build_id[2:]}.debug")
    assert parameters(program) == ["x", "y"]


@pytest.mark.parametrize("folder", ["", ".debug"])
def test_by_link(tmp_path: Path, folder: str) -> None:
    program, debug, _ = separated(tmp_path, "-g -Wl,--build-id=none")
    run("objcopy", f"--add-gnu-debuglink={debug}", program)
    (tmp_path / folder).mkdir(exist_ok=True)
    debug.rename(tmp_path / folder / debug.name)
    assert parameters(program) == ["x", "y"]


def test_link_to_another_file(tmp_path: Path) -> None:
    program, debug, _ = separated(tmp_path, "-g -Wl,--build-id=none")
    run("objcopy", f"--add-gnu-debuglink={debug}", program)
    with debug.open("ab") as file:
        file.write(b"changed")
    with pytest.raises(MissingDebugInfo) as problem:
        parameters(program)
    assert str(debug) in problem.value.looked


def test_unchecked_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", "-:.debug")
    program, debug, _ = separated(tmp_path, "-g -Wl,--build-id=none")
    run("objcopy", f"--add-gnu-debuglink={debug}", program)
    with debug.open("ab") as file:
        file.write(b"changed")
    assert parameters(program) == ["x", "y"]


def test_of_another_build(tmp_path: Path) -> None:
    program, _, build_id = separated(tmp_path / "one")
    _, debug, other = separated(tmp_path / "two", "-g -O0")
    assert build_id != other
    place = tmp_path / "tree" / ".build-id" / build_id[:2]
    place.mkdir(parents=True)
    debug.rename(place / f"{build_id[2:]}.debug")
    with pytest.raises(MissingDebugInfo) as problem:
        parameters(program)
    assert problem.value.build_id == build_id


def test_compressed(tmp_path: Path) -> None:
    assert parameters(build(SOURCE, tmp_path, "-g -gz=zlib")) == ["x", "y"]


def test_split_units(tmp_path: Path) -> None:
    assert parameters(build(SOURCE, tmp_path, "-g -gsplit-dwarf")) == ["x", "y"]


def test_shared_part(tmp_path: Path) -> None:
    structures = (f"struct s{n} {{ struct s{n} *next; long member{n}; }} v{n};" for n in range(9))
    source = "\n".join(structures) + INLINED + SOURCE
    one, two = (build(source, tmp_path, "-g -gdwarf-4").rename(tmp_path / n) for n in "ab")
    before = all_functions(one)
    run("dwz", "-m", tmp_path / "common", one, two)
    with Elf(str(one)) as elf:
        assert elf.section(".gnu_debugaltlink") is not None
    assert all_functions(one) == before
    assert [name for name, inlined, _ in before if inlined] == ["thrice", "thrice"]
    assert parameters(one) == ["x", "y"]
    (tmp_path / "common").unlink()
    with pytest.raises(DwarfError, match="second part"):
        parameters(two)


def test_index_answers_as_the_file(tmp_path: Path) -> None:
    program = build(SOURCE, tmp_path)
    first, second = DebugFiles(str(tmp_path / "cache")), DebugFiles(str(tmp_path / "cache"))
    found = [die.offset for die in first.of(str(program)).names.functions("f")]
    first.save()
    [file] = (tmp_path / "cache").iterdir()
    assert file.name.startswith("dwarf-")
    names = second.of(str(program)).names
    assert [die.offset for die in names.functions("f")] == found
    assert names.functions("nothing") == []
    assert names.function_names() == ["f", "main"]


def test_index_of_a_file_that_changed(tmp_path: Path) -> None:
    flags = "-g -Wl,--build-id=0x0123456789abcdef"
    found = []
    for source in (SOURCE, SOURCE + INLINED):
        files = DebugFiles(str(tmp_path / "cache"))
        names = files.of(str(build(source, tmp_path, flags))).names
        [function] = names.functions("f")
        found.append((function.name, function.offset))
        files.save()
    assert [name for name, _ in found] == ["f", "f"]
    assert found[0] != found[1]


# --- servers ------------------------------------------------------------------------------------


class Server:
    """A server on this machine: what it was asked for, and files to give."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self.folder = folder
        self.url = ""

    def offer(self, build_id: str, file: Path) -> None:
        place = self.folder / "buildid" / build_id
        place.mkdir(parents=True)
        shutil.copy(file, place / "debuginfo")


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = Server(folder)

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}/"
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def test_from_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, debug, build_id = separated(tmp_path / "p")
    with serving(tmp_path / "served") as server:
        server.offer(build_id, debug)
        debug.unlink()
        monkeypatch.setenv("DEBUGINFOD_URLS", f"http://127.0.0.1:1/ {server.url}")
        assert parameters(program) == ["x", "y"]
        assert parameters(program) == ["x", "y"]
        assert server.asked == [f"/buildid/{build_id}/debuginfo"]


def test_server_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, debug, build_id = separated(tmp_path / "p")
    debug.unlink()
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served") as server:
        monkeypatch.setenv("DEBUGINFOD_URLS", server.url)
        for _ in range(2):
            with pytest.raises(MissingDebugInfo):
                parameters(program)
        assert server.asked == [f"/buildid/{build_id}/debuginfo"]


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, debug, build_id = separated(tmp_path / "p")
    monkeypatch.setenv("DEBUGINFOD_MAXSIZE", "1000")
    with serving(tmp_path / "served") as server:
        server.offer(build_id, debug)
        debug.unlink()
        monkeypatch.setenv("DEBUGINFOD_URLS", server.url)
        with pytest.raises(MissingDebugInfo) as problem:
            parameters(program)
        assert "larger than 1000 bytes" in problem.value.looked[-1]


def test_no_server_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, debug, _ = separated(tmp_path / "p")
    debug.unlink()
    monkeypatch.setenv("DEBUGINFOD_URLS", "http://127.0.0.1:1")
    with pytest.raises(MissingDebugInfo) as problem:
        parameters(program)
    assert "Connection refused" in problem.value.looked[-1]
