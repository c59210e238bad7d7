"""Unwind rows, against what readelf(1) makes of the same sections."""

from __future__ import annotations

import re
import subprocess
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystap.debuginfo import callframes as cf
from pystap.debuginfo.elf import Elf

_NAMES = {3: "rbx", 6: "rbp", 7: "rsp", 12: "r12", 13: "r13", 14: "r14", 15: "r15"}
_ADDRESS = re.compile("[0-9a-f]{8}(?:[0-9a-f]{8})?")
FILES = (
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/bin/bash",
    "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
)


def _rows(path: str) -> list[cf.Row]:
    with Elf(path) as elf:
        return cf.read_rows(elf)


def _by_readelf(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Address and columns of each row of functions that are no signal frames."""
    command = ["readelf", "--debug-dump=frames-interp", path]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    columns: list[str] = []
    inside = False
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if "CIE" in words or "FDE" in words:
            inside, columns = "FDE" in words, []
        elif words[0] == "LOC":
            columns = words[1:]
        elif inside and columns and _ADDRESS.fullmatch(words[0]):
            # a register in a register is written as two words
            fields = re.sub(r"(\w+) \(\w+\)", r"\1", " ".join(words[1:])).split()
            yield int(words[0], 16), dict(zip(columns, fields))


@pytest.mark.parametrize("path", FILES)
def test_rows_are_those_of_readelf(path: str) -> None:
    rows = _rows(path)
    addresses = [row.address for row in rows]
    assert addresses == sorted(set(addresses))
    compared = expressions = 0
    for address, columns in _by_readelf(path):
        row = rows[bisect_right(addresses, address) - 1]
        if row.kind == cf.SIGNAL:
            continue
        register = columns["CFA"].partition("+")[0]
        if columns["CFA"] == "exp":
            expressions += 1
        elif columns.get("ra") == "u":
            assert row.kind == cf.END, hex(address)
        elif register in _NAMES.values() and columns["ra"] == "c-8":
            compared += 1
            assert _NAMES[row.kind - cf.REGISTER] == register, hex(address)
            assert row.offset == int(columns["CFA"].partition("+")[2])
            for number, rule in zip(cf.SAVED, row.saved):
                _check_rule(columns.get(_NAMES[number], "u"), rule, address)
        else:  # hand-written code that keeps its frame elsewhere
            assert row.kind == cf.UNKNOWN or row.kind >= cf.REGISTER, hex(address)
    assert compared > 1000
    assert expressions < compared / 100


def _check_rule(column: str, rule: int, address: int) -> None:
    if column == "u":
        assert rule == cf.SAME, hex(address)
    elif column.startswith("c"):
        assert rule * 8 == int(column[1:]), hex(address)
    else:
        assert rule in (cf.LOST, cf.AT_FRAME), hex(address)


def test_stubs_of_linkage_tables_and_signal_frames_are_known() -> None:
    rows = _rows("/lib/x86_64-linux-gnu/libc.so.6")
    assert sum(row.kind == cf.SIGNAL for row in rows) == 1
    assert any(row.kind == cf.PLT for row in rows)


def test_realigned_stacks(tmp_path: Path) -> None:
    source = """
        void touch(void *);
        int f(int n, int b, int c, int d, int e, int g, int h, int i)
        {
            char x[64] __attribute__((aligned(64)));
            touch(x);
            return x[n] + h + i;
        }"""
    made = tmp_path / "f.so"
    subprocess.run(
        ["gcc", "-xc", "-", "-O2", "-mforce-drap", "-shared", "-fPIC", "-o", str(made)],
        input=source.encode(), check=True,
    )  # fmt: skip
    rows = _rows(str(made))
    frame = next(row for row in rows if row.kind == cf.DEREF + 6)
    assert frame.saved[cf.SAVED.index(6)] == cf.AT_FRAME or frame.offset < 0


def test_damaged_sections_give_what_they_can(tmp_path: Path) -> None:
    """Whatever the bytes are: rows or none, nothing else."""
    whole = Path("/lib64/ld-linux-x86-64.so.2").read_bytes()
    with Elf("/lib64/ld-linux-x86-64.so.2") as elf:
        section = elf.section(".eh_frame")
        assert section is not None
    for step in range(40):
        at = section.offset + section.size * step // 40
        damaged = bytearray(whole)
        damaged[at : at + 16] = bytes((step * 37 + i * 101) & 0xFF for i in range(16))
        file = tmp_path / "damaged"
        file.write_bytes(damaged)
        assert isinstance(_rows(str(file)), list)


_NARROW_SOURCE = """
void touch(void *);
int many(int a, int b, int c) { int x = a * b, y = b * c, z = a ^ c; touch(&x); touch(&y);
  touch(&z); touch(&a); return x + y + z + a * b + c; }
int varying(int n) { char x[n]; touch(x); return x[0]; }
int plain(int n) { char x[40]; touch(x); return x[n]; }
int main(int argc, char **argv) { return many(argc, argc, 1) + varying(9) + plain(2); }
"""


@pytest.mark.parametrize("flags", ["-O0", "-O2", "-O2 -fno-asynchronous-unwind-tables -g", "-Os"])
def test_rows_of_32_bits_are_those_of_readelf(flags: str, tmp_path: Path) -> None:
    made = str(tmp_path / "narrow.so")
    command = ["gcc", "-m32", "-xc", "-", "-nostdlib", "-shared", "-fPIC", "-o", made]
    subprocess.run([*command, *flags.split()], input=_NARROW_SOURCE.encode(), check=True)
    rows = _rows(made)
    addresses = [row.address for row in rows]
    names = {3: "ebx", 6: "ebp", 7: "esp", 12: "esi", 13: "edi", 2: "ecx"}
    compared = 0
    for address, columns in _by_readelf(made):
        row = rows[bisect_right(addresses, address) - 1]
        register, _, offset = columns["CFA"].partition("+")
        if columns["CFA"] == "exp":
            assert row.kind in (cf.PLT, *(cf.DEREF + number for number in names)), hex(address)
            continue
        compared += 1
        assert (names[row.kind - cf.REGISTER], row.offset) == (register, int(offset))
        for number, rule in zip(cf.SAVED[:4], row.saved):
            column = columns.get(names[number], "u")
            if column.startswith("c"):
                assert rule * 4 == int(column[1:]), hex(address)
            else:
                assert (rule == cf.SAME) == (column == "u"), hex(address)
    assert compared > 20
