"""Tables of named numbers."""

from __future__ import annotations

import errno
import signal
import socket
from pathlib import Path

import pytest

from pystap.ir.tables import TABLES, FlagTable, NameTable, TableError, Tables


def test_every_table_loads() -> None:
    assert len(TABLES) == len(list(TABLES)) > 8
    for name in TABLES:
        table = TABLES[name]
        entries = table.names if isinstance(table, NameTable) else table.flags
        assert entries, name


def test_no_table_of_that_name() -> None:
    assert TABLES.get("nonsense") is None
    with pytest.raises(KeyError):
        TABLES["nonsense"]


def test_numbers_agree_with_the_system() -> None:
    table = TABLES["errno"]
    assert isinstance(table, NameTable)
    assert {n: table.name(n) for n in errno.errorcode} == {
        **errno.errorcode,
        errno.EAGAIN: "EAGAIN",
        errno.EDEADLK: "EDEADLK",
        errno.ENOTSUP: "EOPNOTSUPP",
    }
    table = TABLES["signal"]
    assert isinstance(table, NameTable)
    for sig in signal.Signals:
        assert table.number(sig.name) in (sig, 32 if sig is signal.SIGRTMIN else sig)
    table = TABLES["socket_family"]
    assert isinstance(table, NameTable)
    for family in socket.AddressFamily:
        if family < 46:
            assert table.number(family.name) == family


def made(tmp_path: Path, name: str, text: str) -> Tables:
    (tmp_path / name).write_text(text)
    return Tables(tmp_path)


def test_names(tmp_path: Path) -> None:
    table = made(tmp_path, "t.names", "# comment\n1 ONE UNE # more\n0x10 TEN\n\n-1 LESS\n")["t"]
    assert isinstance(table, NameTable)
    assert [table.name(n) for n in (1, 16, -1, 2)] == ["ONE", "TEN", "LESS", ""]
    assert [table.number(n) for n in ("ONE", "UNE", "TEN", "LESS", "TWO")] == [1, 1, 16, -1, -1]


FLAGS = """\
0/3 RDONLY
1/3 WRONLY
2/3 RDWR
4 APPEND
0x18 BOTH
8 LOW
"""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "RDONLY"), (1, "WRONLY"), (2, "RDWR"), (3, "0x3"), (5, "WRONLY|APPEND"),
     (0x18, "RDONLY|BOTH"), (8, "RDONLY|LOW"), (0x42, "RDWR|0x40"), (0x10, "RDONLY|0x10"),
     (-1 << 63, "RDONLY|0x8000000000000000")],
)  # fmt: skip
def test_flags(tmp_path: Path, value: int, text: str) -> None:
    table = made(tmp_path, "t.flags", FLAGS)["t"]
    assert isinstance(table, FlagTable)
    assert table.text(value) == text


def test_no_flags_at_all(tmp_path: Path) -> None:
    table = made(tmp_path, "t.flags", "1 ONE\n")["t"]
    assert isinstance(table, FlagTable)
    assert table.text(0) == "0x0"
    table = made(tmp_path, "u.flags", "zero NONE\n1 ONE\n")["u"]
    assert isinstance(table, FlagTable)
    assert (table.text(0), table.text(1)) == ("NONE", "ONE")


def test_a_malformed_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"t\.names:2"):
        made(tmp_path, "t.names", "1 ONE\n2\n")["t"]
