"""Record layout: what is packed is read back, what is damaged is refused as a whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystap.output import records
from pystap.output.formats import (
    ITEM_ERROR,
    ITEM_EXIT,
    ITEM_SYMBOL,
    ITEM_SYSTEM,
    ITEM_WARN,
)
from pystap.output.records import (
    ERROR_TEXT,
    NO_ID,
    Control,
    ErrorItem,
    ExitItem,
    Reassembler,
    RecordError,
    SymbolItem,
    SystemItem,
    WarnItem,
    pack_error,
    pack_item,
    pack_record,
)


def test_layout_as_documented() -> None:
    record = pack_record([pack_item(3, (-2, b"abcde", [7]))], cpu=5, level=2, more=True)
    assert record == (
        b"\x05\x00\x01\x02\0\0\0\0"  # cpu, MORE, level
        b"\x03\0\0\0\x30\0\0\0"  # item 3 of 48 bytes
        b"\xfe\xff\xff\xff\xff\xff\xff\xff"
        b"\x05\0\0\0abcde\0\0\0\0\0\0\0"
        b"\x01\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0"
    )
    assert records.items(record) == [(3, 16, 56)]
    assert records.values(record, "lsh", 16, 56) == [-2, b"abcde", (7,)]


CONTROLS: list[tuple[bytes, Control]] = [
    (pack_item(ITEM_WARN, (b"careful",)), WarnItem(b"careful")),
    (pack_item(ITEM_SYSTEM, (b"echo \xff",)), SystemItem(b"echo \xff")),
    (pack_item(ITEM_EXIT), ExitItem()),
    (pack_item(ITEM_SYMBOL, (7,)), SymbolItem(b"\x07" + bytes(7))),
]
ERRORS = [
    ErrorItem(ERROR_TEXT, (0, 0), NO_ID, NO_ID, (), b"message"),
    ErrorItem(2, (-1, 1 << 62), 4, 5, (9,), b""),
    ErrorItem(2, (0, 0), 4, 5, (9, 8), b"x" * 17),
    ErrorItem(0, (0, 0), 0, 0, (1, 2, 3), b"x"),
]


@pytest.mark.parametrize(("item", "expected"), [*CONTROLS, *((pack_error(e), e) for e in ERRORS)])
def test_control_items(item: bytes, expected: Control) -> None:
    record = pack_record([item])
    [(number, at, end)] = records.items(record)
    assert records.is_control(number)
    assert records.control(record, number, at, end) == expected


def test_error_table_may_have_unused_slots() -> None:
    error = pack_error(ErrorItem(1, (0, 0), 2, 3, (5, 6, 7, 8), b"t"))
    fewer = bytearray(pack_record([error]))
    fewer[16 + 32] = 1  # calls: 1 of 4 slots
    got = records.control(bytes(fewer), ITEM_ERROR, 16, len(fewer))
    assert got == ErrorItem(1, (0, 0), 2, 3, (5,), b"t")


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"1234567",
        bytes(8) + b"\1\0\0\0",  # half an item word
        bytes(8) + b"\0\0\0\0\x07\0\0\0",  # size below 8
        bytes(8) + b"\0\0\0\0\x0c\0\0\0" + bytes(8),  # not a multiple of 8
        bytes(8) + b"\0\0\0\0\x10\0\0\0",  # longer than the record
    ],
)
def test_damaged_records(record: bytes) -> None:
    with pytest.raises(RecordError):
        records.items(record)


@pytest.mark.parametrize(
    ("kinds", "body"),
    [
        ("l", b""),
        ("ls", bytes(8)),
        ("s", b"\x05\0\0\0abcd"),
        ("s", b"\xff\xff\xff\xff" + bytes(12)),
        ("h", b"\x02" + bytes(15)),
        ("h", b"\xff" * 8 + bytes(8)),
    ],
)
def test_damaged_arguments(kinds: str, body: bytes) -> None:
    with pytest.raises(RecordError):
        records.values(body, kinds, 0, len(body))


def test_unknown_control_item() -> None:
    with pytest.raises(RecordError, match="0xffff0099 is unknown"):
        records.control(bytes(8), 0xFFFF0099, 8, 8)


@given(st.binary(max_size=120))
def test_error_items_of_any_content_are_read_or_refused(body: bytes) -> None:
    body += bytes(-len(body) % 8)
    try:
        got = records.control(body, ITEM_ERROR, 0, len(body))
    except RecordError:
        return
    assert isinstance(got, ErrorItem)
    assert len(got.text) <= len(body)


def test_reassembly_per_cpu_and_level() -> None:
    def record(text: bytes, cpu: int, level: int, more: bool) -> bytes:
        return pack_record([pack_item(0, (text,))], cpu, level, more)

    a1, a2, a3 = (record(b"a%d" % i, 1, 0, i < 3) for i in (1, 2, 3))
    b1, b2 = (record(b"b%d" % i, 1, 1, i < 2) for i in (1, 2))
    c = record(b"c", 2, 0, False)
    held = Reassembler()
    assert held.feed(c) == [c]
    assert held.feed(a1) == held.feed(b1) == held.feed(a2) == []
    assert held
    assert held.contexts() == [(1, 0), (1, 1)]
    assert held.feed(c) == [c]
    assert held.feed(a3) == [a1, a2, a3]
    assert held.rest() == [b1]
    assert not held
    assert held.feed(b2) == [b2]
