"""Tables of programs and libraries: what they are made of, and how they are kept."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

import pytest

from pystap.debuginfo.elf import ElfError
from pystap.debuginfo.objectfile import object_table
from pystap.debuginfo.objecttable import ELEMENT, with_path

SOURCE = """
static __attribute__((noinline)) int hidden(int n) { __asm__ volatile (""); return n * 3; }
int shown(int n) { return hidden(n) + 1; }
int main(int argc, char **argv) { return shown(argc); }
"""


def _build(folder: Path, *flags: str) -> Path:
    made = folder / "program"
    subprocess.run(
        ["gcc", "-xc", "-", "-O2", *flags, "-o", str(made)], input=SOURCE.encode(), check=True
    )
    return made


def _symbols(content: bytes) -> dict[str, tuple[int, int]]:
    """Offset and size of each symbol by name."""
    _, _, first, count = struct.unpack_from("<IIII", content)
    (names,) = struct.unpack_from("<I", content, 32)
    found = {}
    for number in range(first, first + count):
        at, size, name, _ = struct.unpack_from("<IIII", content, number * ELEMENT)
        start = names * ELEMENT + name
        found[content[start : content.index(b"\0", start)].decode()] = (at, size)
    return found


def test_symbols_are_those_of_nm(tmp_path: Path) -> None:
    program = _build(tmp_path, "-no-pie")
    found = _symbols(object_table(str(program), places=False).content)
    listed = subprocess.run(["nm", "-S", program], capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines():
        words = line.split()
        if len(words) == 4 and words[2] in "tT" and words[3] in ("hidden", "shown", "main"):
            assert found[words[3]] == (int(words[0], 16) - 0x400000, int(words[1], 16))
    assert {"hidden", "shown", "main", "_start"} <= set(found)


def test_stripped_program_has_its_separate_symbols(tmp_path: Path) -> None:
    program = _build(tmp_path, "-g")
    whole = _symbols(object_table(str(program), places=False).content)
    debug = tmp_path / ".debug" / "program.debug"
    debug.parent.mkdir()
    for command in (
        ["objcopy", "--only-keep-debug", program, debug],
        ["strip", program],
        ["objcopy", f"--add-gnu-debuglink={debug}", program],
    ):
        subprocess.run(command, check=True)
    found = _symbols(object_table(str(program), places=True).content)
    assert found["hidden"] == whole["hidden"]
    debug.unlink()
    assert "hidden" not in _symbols(object_table(str(program), places=True).content)


def test_symbols_in_compressed_mini_debug_information(tmp_path: Path) -> None:
    program = _build(tmp_path)
    whole = _symbols(object_table(str(program), places=False).content)
    mini = tmp_path / "mini"
    for command in (
        ["objcopy", "--only-keep-debug", program, mini],
        ["xz", "-f", mini],
        ["strip", program],
        ["objcopy", f"--add-section=.gnu_debugdata={mini}.xz", program],
    ):
        subprocess.run(command, check=True)
    assert _symbols(object_table(str(program), places=False).content)["hidden"] == whole["hidden"]


def test_kept_tables_are_used_and_damaged_ones_are_not(tmp_path: Path) -> None:
    program = _build(tmp_path, "-Wl,--build-id")
    cache = tmp_path / "cache"
    made = object_table(str(program), places=False, cache=str(cache))
    (kept,) = cache.iterdir()
    assert object_table(str(program), places=False, cache=str(cache)) == made
    kept.write_bytes(kept.read_bytes()[:3])
    assert object_table(str(program), places=False, cache=str(cache)) == made
    assert kept.stat().st_size > len(made.content)


def test_path_is_put_behind(tmp_path: Path) -> None:
    content = object_table(str(_build(tmp_path)), places=False).content
    whole = with_path(content, b"/some/path")
    assert len(whole) % ELEMENT == 0
    names, place = struct.unpack_from("<II", whole, 32)
    assert whole[names * ELEMENT + place :].startswith(b"/some/path\0")


def test_damaged_files_give_a_table_or_an_error(tmp_path: Path) -> None:
    whole = _build(tmp_path, "-g").read_bytes()
    generator = random.Random(3)
    file = tmp_path / "damaged"
    good = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(generator.randrange(1, 8)):
            at = generator.choice([generator.randrange(len(whole)), generator.randrange(64)])
            damaged[at : at + 4] = generator.choice(
                [generator.randbytes(4), b"\xff" * 4, bytes(4)]
            )
        file.write_bytes(damaged[: generator.choice([len(whole), generator.randrange(64, 9999)])])
        try:
            with_path(object_table(str(file), places=True).content, b"damaged")
            good += 1
        except (ElfError, OSError):
            continue
    assert 10 < good < 150


def test_files_for_other_machines_are_refused(tmp_path: Path) -> None:
    content = bytearray(_build(tmp_path).read_bytes())
    content[18] = 183  # aarch64
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(ElfError, match="built for aarch64"):
        object_table(str(tmp_path / "other"), places=False)


def test_programs_of_32_bits(tmp_path: Path) -> None:
    made = tmp_path / "narrow"
    source = "void shown(void) {} void _start(void) { shown(); for (;;) ; }"
    command = ["gcc", "-m32", "-xc", "-", "-O0", "-nostdlib", "-static", "-o", str(made)]
    subprocess.run(command, input=source.encode(), check=True)
    table = object_table(str(made), places=False)
    assert {"shown", "_start"} <= set(_symbols(table.content))
    assert table.unwinds
