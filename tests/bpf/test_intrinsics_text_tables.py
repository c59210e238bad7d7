"""Look-ups in the named tables: the kernel and the interpreter give the same."""

from __future__ import annotations

import random

import pytest

from pystap.backend.bpf.facts import CompileError
from pystap.ir.tables import TABLES, FlagTable, NameTable

from .build import intrinsic
from .twin import Twin

NAMES = [name for name in TABLES if isinstance(TABLES[name], NameTable)]
FLAGS = [name for name in TABLES if isinstance(TABLES[name], FlagTable)]


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str) -> None:
    table = TABLES[name]
    assert isinstance(table, NameTable)
    with Twin(lambda n: intrinsic("table_str", n, const=(name,)), "n") as twin:
        assert twin.verified() < 1000
        for number in table.names:
            assert twin.check(number) == table.names[number]
        edges = min(table.names) - 1, max(table.names) + 1, -(1 << 63), (1 << 63) - 1, -1, 0
        for number in (
            *edges,
            *(n + 1 for n in table.names),
            *(n + (1 << 32) for n in table.names),
        ):
            twin.check(number)


@pytest.mark.parametrize("name", NAMES)
def test_numbers(name: str) -> None:
    table = TABLES[name]
    assert isinstance(table, NameTable)
    with Twin(lambda s: intrinsic("table_num", s, const=(name,)), "s") as twin:
        assert twin.verified() < 1000
        for text in table.numbers:
            assert twin.check(text) == str(table.numbers[text])
            for other in (text + "x", text[:-1], text.lower(), text + "\xff" * 400, " " + text):
                twin.check(other)
        twin.check("")
        twin.check("x" * 511)


@pytest.mark.parametrize("name", FLAGS)
def test_flags(name: str) -> None:
    table = TABLES[name]
    assert isinstance(table, FlagTable)
    rng = random.Random(name)
    known = 0
    for flag in table.flags:
        known |= flag.mask
    values = [0, (1 << 64) - 1, known, *(flag.value for flag in table.flags)]
    values += [known & rng.getrandbits(64) for _ in range(10)]
    values += [rng.getrandbits(64), rng.getrandbits(8), 1 << 63]
    with Twin(lambda n: intrinsic("flags_str", n, const=(name,)), "n") as twin:
        for value in values:
            twin.check(value - (value >> 63 << 64))


@pytest.mark.parametrize("limit", [2, 3, 10, 40])
def test_short_strings(limit: int) -> None:
    """Names and flags are cut to what a string holds."""

    def make(number: object, text: object) -> list[object]:
        return [
            intrinsic("table_str", number, const=("errno",)),
            intrinsic("table_num", text, const=("errno",)),
            intrinsic("flags_str", number, const=("open_flags",)),
        ]

    with Twin(make, "ns", maxstringlen=limit) as twin:  # type: ignore[arg-type]
        for number in (0, 2, 22, -1, 0x8241):
            twin.check(number, "ENOENT"[: limit - 1])


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(CompileError, match="no table 'nonsense'"):
        Twin(lambda n: intrinsic("table_str", n, const=("nonsense",)), "n")
    with pytest.raises(CompileError, match="no table 'errno' for flags_str"):
        Twin(lambda n: intrinsic("flags_str", n, const=("errno",)), "n")
