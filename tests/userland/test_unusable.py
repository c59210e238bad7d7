"""Files that nobody can probe: each form of probe point says why, and none hangs."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import inprocess
from stap import ROOT
from userland.programs import build

SHAPES = (
    'function("f")',
    'function("f").return',
    'function("f@a.c:1")',
    'statement("f@a.c:1")',
    'mark("m")',
    'provider("p").mark("m")',
    'plt("puts")',
    "function(0x1000)",
)
ARM, S390 = 40, 22


def program(folder: Path) -> bytes:
    return build("int main(void) { return 0; }", folder, "-O1").read_bytes()


def foreign(folder: Path, machine: int) -> bytes:
    data = bytearray(program(folder))
    data[18:20] = struct.pack("<H", machine)
    return bytes(data)


def of_32_bits(folder: Path) -> bytes:
    data = bytearray(program(folder))
    data[4] = 1
    data[18:20] = struct.pack("<H", 3)
    return bytes(data)


FILES = {
    "empty": (lambda folder: b"", "not an ELF file"),
    "text": (lambda folder: b"plain text\n", "not an ELF file"),
    "arm": (lambda folder: foreign(folder, ARM), "built for arm (64 bits), not "),
    "s390": (lambda folder: foreign(folder, S390), "s390x"),
    "i686": (of_32_bits, "i686"),
    "cut": (lambda folder: program(folder)[:100], ""),
    "header": (lambda folder: b"\x7fELF", "not an ELF file"),
}


def refused(point: str) -> str:
    done = inprocess.Run("-p2", "-e", f"probe {point} {{ println(1) }}").end(30)
    assert done.status == 1, point
    assert "semantic error" in done.err
    assert "Traceback" not in done.err
    assert "cannot happen" not in done.err
    return done.err


@pytest.mark.parametrize("kind", FILES)
def test_file(tmp_path: Path, kind: str) -> None:
    make, message = FILES[kind]
    path = tmp_path / "file"
    path.write_bytes(make(tmp_path))
    for shape in SHAPES:
        assert message in refused(f'process("{path}").{shape}'), shape


def test_files_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    library = f'process("/bin/sh").library("{tmp_path}/fifo")'
    assert "not an ELF file" in refused(f'{library}.function("f")')
    with listening:
        for path in (tmp_path / "fifo", tmp_path / "socket", "/dev/zero", "/dev/null"):
            for shape in ("begin", "syscall", *SHAPES):
                assert f"'{path}' is no file" in refused(f'process("{path}").{shape}')
    for shape in ("begin", *SHAPES):
        assert "no match" in refused(f'process("{tmp_path}/*").{shape}')
        assert f"'{tmp_path}' is a directory" in refused(f'process("{tmp_path}").{shape}')


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for shape in ("begin", "syscall", *SHAPES):
        found = refused(f'process("{tmp_path}/link").{shape}')
        assert f"cannot find '{tmp_path}/link': no such file" in found


def test_unreadable(tmp_path: Path) -> None:
    """What only other users may read; root may read all, so as nobody."""
    path = tmp_path / "file"
    path.write_bytes(program(tmp_path))
    path.chmod(0o711)
    for folder in (tmp_path, *tmp_path.parents):
        if (folder.stat().st_mode & 0o111) != 0o111:  # pytest keeps them to their owner
            folder.chmod(folder.stat().st_mode | 0o111)
    code = (
        "import os, sys\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "from pystap.lang.source import Source\n"
        "from pystap.lang.tokens import Token\n"
        "from pystap.probes.programs import find_programs\n"
        "from pystap.diag.diagnostic import DiagnosticError\n"
        "try: find_programs(sys.argv[1], '', Token('identifier', '', Source('', ''), 0))\n"
        "except DiagnosticError as error: print(error.diagnostic.message)\n"
    )
    # what nobody may read is imported before it is nobody
    code = "import pystap.probes.programs, pystap.diag.diagnostic, pystap.diag.suggest\n" + code
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.stdout == f"cannot read '{path}': permission denied\n", done.stderr


def test_stripped(tmp_path: Path) -> None:
    path = build("int f(void) { return 1; } int main(void) { return f(); }", tmp_path, "-O0 -g -s")
    found = refused(f'process("{path}").function("f")')
    assert f"no function 'f' in {path}" in found
    assert "the file is stripped: only functions it exports are known" in found
    assert f"missing debuginfo for {path}" in refused(f'process("{path}").statement("f@x.c:1")')
    assert "the program has no marks at all" in refused(f'process("{path}").mark("m")')


def test_symbols_only(tmp_path: Path) -> None:
    """Symbols tell where functions are, nothing more."""
    path = build("int f(int n) { return n; } int main(void) { return f(0); }", tmp_path, "-O0")
    script = f'probe process("{path}").function("f") {{ println(ppfunc(), " ", int_arg(1)) }}'
    assert inprocess.Run("-c", str(path), "-e", script).end(60).out == "f 0\n"
    for shape in ('function("f").inline', 'function("f").label("x")', 'function("f").callees'):
        assert f"missing debuginfo for {path}" in refused(f'process("{path}").{shape}')
