from __future__ import annotations

import random
import shutil
import struct
import subprocess
import time
import zlib
from pathlib import Path

import pytest

from pystap.debuginfo import elf
from pystap.debuginfo.elf import Elf, ElfError

from .conftest import Builder


def nm(path: Path, *options: str) -> dict[str, int]:
    """What binutils sees: name to address."""
    text = subprocess.run(
        ["nm", "--defined-only", *options, str(path)], check=True, capture_output=True, text=True
    ).stdout
    lines = [line.split() for line in text.splitlines()]
    return {
        name.partition("@")[0]: int(value, 16) for value, kind, name in lines if kind in "tTwWi"
    }


@pytest.mark.parametrize(
    ("flags", "kind", "pie"),
    [
        (("-pie", "-fPIE"), elf.ET_DYN, True),
        (("-no-pie",), elf.ET_EXEC, False),
        (("-shared", "-fPIC"), elf.ET_DYN, False),
        (("-static",), elf.ET_EXEC, False),
        (("-static-pie", "-fPIE"), elf.ET_DYN, True),
        (("-c",), elf.ET_REL, False),
    ],
)
def test_kinds(build: Builder, flags: tuple[str, ...], kind: int, pie: bool) -> None:
    with Elf(str(build(*flags))) as file:
        assert (file.kind, file.is_pie) == (kind, pie)
        assert file.machine_name == "x86_64"
        assert file.bits == 64
        file.require_machine()


def test_functions_agree_with_nm(build: Builder) -> None:
    path = build("-pie", "-fPIE")
    with Elf(str(path)) as file:
        found = {symbol.name: symbol for symbol in file.functions()}
    theirs = nm(path)
    for name in ("add", "add_alias", "hidden", "soft", "main", "choose", "chosen"):
        assert found[name].value == theirs[name]
        assert found[name].size > 0
    assert found["add"].value == found["add_alias"].value
    assert found["hidden"].binding == elf.STB_LOCAL
    assert found["soft"].binding == elf.STB_WEAK
    assert found["add"].binding == elf.STB_GLOBAL
    assert found["choose"].kind == elf.STT_GNU_IFUNC
    assert found["add"].kind == elf.STT_FUNC
    assert "counter" not in found
    assert "printf" not in found


def test_symbols_of_both_tables_are_listed_once(build: Builder) -> None:
    with Elf(str(build("-shared", "-fPIC"))) as file:
        names = [symbol.name for symbol in file.functions()]
        assert names.count("add") == 1
        assert "add" in [s.name for s in file.symbols(elf.SHT_DYNSYM)]
        assert "add" in [s.name for s in file.symbols(elf.SHT_SYMTAB)]
        objects = file.symbols(elf.SHT_DYNSYM, (elf.STT_OBJECT,))
        assert [(s.name, s.size) for s in objects if s.name == "counter"] == [("counter", 4)]


@pytest.mark.parametrize("flags", [("-pie", "-fPIE"), ("-no-pie",), ("-shared", "-fPIC")])
def test_addresses_and_file_offsets(build: Builder, flags: tuple[str, ...]) -> None:
    path = build(*flags)
    with Elf(str(path)) as file:
        add = next(s for s in file.functions() if s.name == "add")
        offset = file.file_offset(add.value)
        assert offset is not None
        assert file.address_of_offset(offset) == add.value
        assert file.read(add.value, add.size) == path.read_bytes()[offset : offset + add.size]
        assert file.file_offset(1 << 60) is None
        assert file.address_of_offset(1 << 60) is None
        with pytest.raises(ElfError, match="address 0x1000000000000000 is not in the file"):
            file.read(1 << 60, 4)


def test_memory_without_file_contents_has_no_offset(build: Builder) -> None:
    with Elf(str(build("-no-pie", source="char b[99999]; int main() { return b[1]; }"))) as file:
        symbol = next(s for s in file.symbols(elf.SHT_SYMTAB) if s.name == "b")
        assert file.file_offset(symbol.value + 90000) is None
        bss = file.section(".bss")
        assert bss is not None
        assert bss.size >= 99999
        assert file.section_bytes(bss) == b""


def test_dynamic_facts(build: Builder) -> None:
    with Elf(str(build("-pie", "-fPIE"))) as file:
        assert file.interpreter() == "/lib64/ld-linux-x86-64.so.2"
        assert file.needed() == ["libm.so.6", "libc.so.6"]
    with Elf(str(build("-static"))) as file:
        assert file.interpreter() is None
        assert file.needed() == []


@pytest.mark.parametrize("style", ["sha1", "md5", "0x0123456789abcdef"])
def test_build_id(build: Builder, style: str) -> None:
    path = build("-pie", "-fPIE", f"-Wl,--build-id={style}")
    text = subprocess.run(
        ["readelf", "-n", str(path)], check=True, capture_output=True, text=True
    ).stdout
    expected = text.partition("Build ID: ")[2].split()[0]
    with Elf(str(path)) as file:
        assert file.build_id() == expected
    with Elf(str(build("-pie", "-fPIE", "-Wl,--build-id=none"))) as file:
        assert file.build_id() is None


def test_stripped_with_debug_link(build: Builder, tmp_path: Path) -> None:
    path, debug = tmp_path / "p", tmp_path / "p.debug"
    shutil.copy(build("-pie", "-fPIE", "-g"), path)
    with Elf(str(path)) as file:
        assert not file.is_stripped
        assert file.debug_link() is None
        assert file.section(".debug_info") is not None
    subprocess.run(["objcopy", "--only-keep-debug", path, debug], check=True)
    subprocess.run(["objcopy", "-S", f"--add-gnu-debuglink={debug}", path], check=True)
    with Elf(str(path)) as file:
        assert file.is_stripped
        assert file.debug_link() == ("p.debug", zlib.crc32(debug.read_bytes()))
        assert file.section(".debug_info") is None
        assert "add" not in [s.name for s in file.functions()]


def test_real_files() -> None:
    with Elf("/usr/bin/python3") as file:
        assert len(file.functions()) > 500
        assert file.build_id()
    libc = Path("/lib/x86_64-linux-gnu/libc.so.6").resolve()
    with Elf(str(libc)) as file:
        functions = file.functions()
        assert not file.is_pie
    found = {symbol.name: symbol for symbol in functions}
    theirs = nm(libc, "-D")
    assert set(theirs) <= set(found)
    assert found["malloc"].value == theirs["malloc"]
    # memcpy exists in an old version, a plain function, and in the present one
    kinds = {symbol.kind for symbol in functions if symbol.name == "memcpy"}
    assert kinds == {elf.STT_FUNC, elf.STT_GNU_IFUNC}


def test_many_functions_are_read_fast(build: Builder) -> None:
    text = "".join(f"int f{i}(void){{return {i};}}\n" for i in range(6000))
    path = build("-pie", "-fPIE", source=text + "int main(void){return 0;}")
    times = []
    for _ in range(3):
        start = time.process_time()
        with Elf(str(path)) as file:
            assert len(file.functions()) > 6000
        times.append(time.process_time() - start)
    assert min(times) < 0.06


def elf32_with_one_function(order: str) -> bytes:
    """A 32-bit file of a foreign machine, made by hand: symbols, names, one segment."""
    names = b"\0fun\0"
    symbols = struct.pack(order + "IIIBBH", 0, 0, 0, 0, 0, 0) + struct.pack(
        order + "IIIBBH", 1, 0x1010, 8, elf.STB_GLOBAL << 4 | elf.STT_FUNC, 0, 1
    )
    labels = b"\0.symtab\0.strtab\0.shstrtab\0"
    header, program = 52, 32
    body = header + program
    parts = [(1, 2, symbols, 2), (9, 3, names, 0), (17, 3, labels, 0)]
    sections = struct.pack(order + "10I", *[0] * 10)
    data, at = b"", body
    for label, kind, content, link in parts:
        sections += struct.pack(order + "10I", label, kind, 0, 0, at, len(content), link, 0, 4, 16)
        data += content
        at += len(content)
    ident = b"\x7fELF\x01" + (b"\x01" if order == "<" else b"\x02") + b"\x01" + bytes(9)
    fields = (2, 20, 1, 0x1000, header, at, 0, header, program, 1, 40, 4, 3)
    segment = struct.pack(order + "8I", 1, 0, 0x1000, 0, at, at, 5, 4)
    return ident + struct.pack(order + "HHIIIIIHHHHHH", *fields) + segment + data + sections


@pytest.mark.parametrize("order", ["<", ">"])
def test_32_bits_and_both_byte_orders(tmp_path: Path, order: str) -> None:
    path = tmp_path / "p"
    path.write_bytes(elf32_with_one_function(order))
    with Elf(str(path)) as file:
        assert file.bits == 32
        (symbol,) = file.functions()
        assert (symbol.name, symbol.value, symbol.size) == ("fun", 0x1010, 8)
        assert file.file_offset(0x1010) == 0x10
        assert file.machine_name == "machine 20"
        with pytest.raises(ElfError, match=r"built for machine 20 \(32 bits\), not x86_64"):
            file.require_machine("x86_64")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an ELF file \\(empty\\)"),
        (b"#!/bin/sh\n" * 9, "not an ELF file"),
        (b"\x7fELF", "not an ELF file"),
        (b"\x7fELF\x09\x01" + bytes(90), "unknown ELF class 9"),
        (b"\x7fELF\x02\x07" + bytes(90), "unknown ELF byte order 7"),
        (b"\x7fELF\x02\x01" + bytes(20), "truncated \\(ELF header at 0x10\\)"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "p"
    path.write_bytes(content)
    with pytest.raises(ElfError, match=message):
        Elf(str(path))


def test_missing_file_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        Elf("/nonexistent/program")


def read_everything(path: str) -> None:
    with Elf(path) as file:
        file.functions()
        file.needed()
        file.build_id()
        file.interpreter()
        file.debug_link()
        file.file_offset(file.entry)
        assert file.is_pie in (True, False)


def test_damage_never_escapes_as_another_error(build: Builder, tmp_path: Path) -> None:
    good = build("-pie", "-fPIE").read_bytes()
    path = tmp_path / "p"
    rng = random.Random(7)
    failures = 0
    for round_number in range(150):
        data = bytearray(good)
        if round_number % 3 == 0:
            del data[rng.randrange(len(data)) :]
        else:
            tables = [0, int.from_bytes(good[40:48], "little")]  # header, section headers
            for _ in range(1 + round_number % 5):
                at = rng.choice(tables) + rng.randrange(16, 800)
                data[at % len(data)] = rng.randrange(256)
        path.write_bytes(bytes(data))
        try:
            read_everything(str(path))
        except ElfError:
            failures += 1
    assert failures > 20
