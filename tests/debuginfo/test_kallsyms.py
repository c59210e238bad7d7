from __future__ import annotations

from pathlib import Path

import pytest

from pystap.debuginfo.kallsyms import Kallsyms

TEXT = """\
0000000000001000 A per_cpu_var
ffffffff81000000 T _text
ffffffff81000000 T _stext
ffffffff81000100 T vfs_read
ffffffff81000180 t helper
ffffffff81000200 D table
ffffffff81000300 B _end
ffffffffc0000020 t helper\t[ext4]
ffffffffc0000000 t init\t[ext4]
"""


@pytest.fixture
def symbols(tmp_path: Path) -> Kallsyms:
    path = tmp_path / "kallsyms"
    path.write_text(TEXT)
    return Kallsyms(str(path))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (0xFFFFFFFF81000000, ("_text", 0, 0x100, "")),
        (0xFFFFFFFF810000FF, ("_text", 0xFF, 0x100, "")),
        (0xFFFFFFFF81000108, ("vfs_read", 8, 0x80, "")),
        (0xFFFFFFFF81000180, ("helper", 0, 0x80, "")),
        (0xFFFFFFFFC0000010, ("init", 0x10, 0x20, "ext4")),
        (0xFFFFFFFFC0000030, ("helper", 0x10, 0, "ext4")),
    ],
)
def test_address_to_symbol(
    symbols: Kallsyms, address: int, expected: tuple[str, int, int, str]
) -> None:
    found = symbols.lookup(address)
    assert found is not None
    assert (found.name, found.offset, found.size, found.module) == expected
    assert found.address == address - found.offset


@pytest.mark.parametrize("address", [0, 0x1008, 0x7F0000000000, 0xFFFFFFFF81000400, 2**64 - 1])
def test_addresses_outside_of_the_kernel(symbols: Kallsyms, address: int) -> None:
    assert symbols.lookup(address) is None


def test_name_to_addresses(symbols: Kallsyms) -> None:
    assert symbols.addresses("vfs_read") == [0xFFFFFFFF81000100]
    assert symbols.addresses("helper") == [0xFFFFFFFF81000180, 0xFFFFFFFFC0000020]
    assert symbols.addresses("helper", "") == [0xFFFFFFFF81000180]
    assert symbols.addresses("helper", "ext4") == [0xFFFFFFFFC0000020]
    assert symbols.addresses("missing") == []
    assert symbols.has("table")
    assert not symbols.has("missing")
    assert not symbols.restricted


def test_functions_are_code_only(symbols: Kallsyms) -> None:
    names = symbols.functions()
    assert ("vfs_read", "") in names
    assert ("init", "ext4") in names
    assert ("table", "") not in names


def test_hidden_addresses_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text("".join("0" * 16 + line[16:] for line in TEXT.splitlines(keepends=True)))
    hidden = Kallsyms(str(path))
    assert hidden.restricted
    assert hidden.lookup(0xFFFFFFFF81000108) is None
    assert hidden.addresses("vfs_read") == []
    assert hidden.has("vfs_read")
    assert ("vfs_read", "") in hidden.functions()


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text("")
    empty = Kallsyms(str(path))
    assert empty.lookup(0xFFFFFFFF81000108) is None
    assert not empty.restricted


def test_running_kernel() -> None:
    live = Kallsyms()
    (address,) = live.addresses("vfs_read")
    found = live.lookup(address + 5)
    assert found is not None
    assert (found.name, found.offset, found.module) == ("vfs_read", 5, "")
    assert 5 < found.size < 10_000
