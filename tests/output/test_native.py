"""The native consumer gives the same bytes as the reference formatter, and trusts nothing."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystap.backend.llvm.native import NativeCode
from pystap.output import native_abi as abi
from pystap.output.formats import RECORD_MORE, STAR, Directive, Format
from pystap.output.formatspec import argument_kinds, parse_format
from pystap.output.native import NativeConsumer
from pystap.output.plans import make_plan
from pystap.output.records import Value, pack_item, pack_record
from pystap.output.render import render

from .fakering import BUSY, DISCARD, FakeRing

NATIVE_CONVERSIONS = "duoxXpcsbmM"


def fields(largest: int) -> st.SearchStrategy[int | None]:
    return st.one_of(st.none(), st.just(STAR), st.integers(0, 24), st.integers(0, largest))


def directives(conversions: str) -> st.SearchStrategy[Directive]:
    plain = st.sampled_from(conversions).map(Directive)
    text = st.text(st.characters(max_codepoint=255), min_size=1, max_size=40)
    literal = text.map(lambda text: Directive("", text))
    flags = st.sampled_from(["", "", "-", "+", " ", "0", "#"])
    field = st.tuples(
        st.sampled_from(conversions), st.just(""), flags, fields(5000), fields(5000)
    ).map(lambda parts: Directive(*parts))
    return st.one_of(literal, plain, field)


FORMATS = st.lists(directives(NATIVE_CONVERSIONS), max_size=6).map(lambda d: Format(tuple(d)))
LONGS = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-12, 12),
    st.integers(0, 19).map(lambda n: 10**n),
    st.integers(0, 19).map(lambda n: 10**n - 1),
    st.integers(0, 63).map(lambda n: 1 << n),
)
STRINGS = st.one_of(st.binary(max_size=40), st.binary(min_size=480, max_size=600))


@st.composite
def prints(draw: st.DrawFn) -> tuple[Format, list[Value]]:
    """A format and arguments for it."""
    fmt = draw(FORMATS)
    args: list[Value] = []
    for kind in argument_kinds(fmt):
        args.append(draw(STRINGS if kind == "s" else LONGS))
    return fmt, args


def run_native(
    code: NativeCode, formats: list[Format], records: list[bytes], ring: FakeRing | None = None
) -> tuple[int, bytes, NativeConsumer]:
    """Result, output, and the consumer after a run over the records."""
    ring = ring or FakeRing(1 << 16)
    for record in records:
        ring.put(record)
    fd = os.memfd_create("out")
    try:
        consumer = NativeConsumer(code, ring, formats, fd)
        result = consumer.run()
        return result, os.pread(fd, 1 << 24, 0), consumer
    finally:
        os.close(fd)


@given(st.lists(prints(), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_same_as_the_reference(
    native_code: NativeCode, calls: list[tuple[Format, list[Value]]]
) -> None:
    expected = b"".join(render(fmt, args) for fmt, args in calls)
    formats = [fmt for fmt, _ in calls]
    items = [pack_item(number, args) for number, (_, args) in enumerate(calls)]
    plans = [make_plan(fmt, 50, 2) for fmt in formats]
    assert b"".join(plan(i, 8, len(i)) for plan, i in zip(plans, items)) == expected
    handled = [not _quoting(fmt) for fmt in formats]
    result, output, consumer = run_native(native_code, formats, [pack_record(items)])
    if all(handled):
        assert (result, output, consumer.records) == (abi.DONE, expected, 1)
    else:
        assert (result, output, consumer.records) == (abi.PYTHON, b"", 0)


def _quoting(fmt: Format) -> bool:
    return any(d.flag == "#" and d.conv in ("c", "s") for d in fmt.directives)


def test_every_number_of_digits(native_code: NativeCode) -> None:
    numbers = [0, *(10**n + d for n in range(20) for d in (-1, 0, 1)), (1 << 64) - 1]
    formats = [parse_format("%d %u %x %o %X\n")]
    records = [pack_record([pack_item(0, [n] * 5)]) for n in numbers]
    expected = b"".join(render(formats[0], [n] * 5) for n in numbers)
    assert run_native(native_code, formats, records)[1] == expected


def test_positions_wrap(native_code: NativeCode) -> None:
    """The ring wraps many times, the 64-bit positions once, records lie across the end."""
    ring = FakeRing(4096, position=(1 << 64) - 8192)
    formats = [parse_format("%s|")]
    fd = os.memfd_create("out")
    consumer = NativeConsumer(native_code, ring, formats, fd)
    texts = []
    for count in range(1, 200):
        text = b"%d" % count * (count % 50)
        texts.append(text + b"|")
        ring.put(pack_record([pack_item(0, [text])]))
        if count % 3 == 0 or ring.free < 2048:
            assert consumer.run() in (abi.DONE, abi.BUDGET)
    consumer.run()
    assert os.pread(fd, 1 << 20, 0) == b"".join(texts)
    assert consumer.bytes_written == len(b"".join(texts))
    assert ring.free == ring.size
    os.close(fd)


def test_busy_and_discarded_records(native_code: NativeCode) -> None:
    ring = FakeRing()
    record = pack_record([pack_item(0, [1])])
    formats = [parse_format("%d\n")]
    ring.put(record)
    ring.put(record, DISCARD)
    busy = ring.put(record, BUSY)
    ring.put(record)
    fd = os.memfd_create("out")
    consumer = NativeConsumer(native_code, ring, formats, fd)
    assert consumer.run() == abi.DONE
    assert (consumer.records, os.pread(fd, 99, 0)) == (1, b"1\n")
    ring.commit(busy, DISCARD)
    assert consumer.run() == abi.DONE
    assert (consumer.records, os.pread(fd, 99, 0)) == (2, b"1\n1\n")
    os.close(fd)


def test_records_left_to_python(native_code: NativeCode) -> None:
    """The position stays at the record and nothing of it is written."""
    formats = [parse_format("%d\n"), Format((Directive("hist_log"),))]
    good = pack_item(0, [7])
    for bad in (
        pack_record([good], more=True),
        pack_record([good, pack_item(1, [[0] * 128])]),
        pack_record([good, pack_item(2, [])]),
        pack_record([good, pack_item(0xFFFF0003)]),
        pack_record([good])[:-8],
        bytes(4),
    ):
        ring = FakeRing()
        ring.put(pack_record([good]))
        result, output, consumer = run_native(native_code, formats, [bad], ring)
        assert (result, output, consumer.records) == (abi.PYTHON, b"7\n", 1)
        assert ring.free == ring.size - (8 + (len(bad) + 7 & ~7))


def test_contexts_held_back(native_code: NativeCode) -> None:
    formats = [parse_format("%d\n")]
    ring = FakeRing()
    fd = os.memfd_create("out")
    consumer = NativeConsumer(native_code, ring, formats, fd)
    consumer.hold_back([(3, 1), (2000, 2)])
    ring.put(pack_record([pack_item(0, [1])], cpu=3, level=0))
    ring.put(pack_record([pack_item(0, [2])], cpu=2, level=1))
    ring.put(pack_record([pack_item(0, [3])], cpu=3, level=1))
    assert consumer.run() == abi.PYTHON
    assert os.pread(fd, 99, 0) == b"1\n2\n"
    consumer.hold_back([])
    assert consumer.run() == abi.DONE
    assert os.pread(fd, 99, 0) == b"1\n2\n3\n"
    os.close(fd)


def test_output_larger_than_its_buffer(native_code: NativeCode) -> None:
    formats = [parse_format("%s\n"), parse_format("%4000d|%-4000d")]
    many = [pack_record([pack_item(0, [b"x" * 400])]) for _ in range(800)]
    ring = FakeRing(1 << 20)
    expected = (b"x" * 400 + b"\n") * 800
    assert run_native(native_code, formats, many, ring)[:2] == (abi.DONE, expected)
    wide = pack_record([pack_item(1, [1, 2])] * 7)
    assert run_native(native_code, formats, [wide] * 5)[1] == render(formats[1], [1, 2]) * 35
    # more than one record's room: whole or not at all
    huge = pack_record([pack_item(1, [1, 2])] * 100)
    result, output, _ = run_native(native_code, formats, [huge])
    assert (result, output) == (abi.PYTHON, b"")


@pytest.mark.parametrize("text", ["%s", "%3s", "%M", "%-9m"])
def test_strings_larger_than_the_buffer(native_code: NativeCode, text: str) -> None:
    fmt = parse_format(text)
    for size in (30_000, 140_000, 300_000):
        record = pack_record([pack_item(0, [b"x" * size])])
        result, output, _ = run_native(native_code, [fmt], [record], FakeRing(1 << 19))
        fits = len(render(fmt, [b"x" * size])) < abi.OUT_SIZE - 5000
        expected = (abi.DONE, render(fmt, [b"x" * size])) if fits else (abi.PYTHON, b"")
        assert (result, output) == expected


GUARD_FORMATS = ["%d %s %d\n", "%s%s", "%-20s%*d%.*s", "%M %m %b %5c", "long literal text %x", ""]


def guarded_runs(code: NativeCode, seed: int, rounds: int) -> None:
    """Damaged records that end exactly where readable memory ends."""
    page = mmap.PAGESIZE
    libc = ctypes.CDLL(None)
    memory = mmap.mmap(-1, 2 * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.mprotect(ctypes.c_void_p(base + page), page, 0) == 0
    formats = [parse_format(text) for text in GUARD_FORMATS]
    rng = random.Random(seed)
    out = os.open("/dev/null", os.O_WRONLY)
    for _ in range(rounds):
        record = bytearray(random_record(rng, formats))
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(record))
            record[at] = rng.choice([0, 1, 8, 255, rng.randrange(256)])
        if rng.random() < 0.3:
            del record[rng.randrange(len(record)) :]
        record += bytes(-len(record) % 8)  # a ring buffer reserves whole words
        ring = FakeRing(page)
        content = len(record).to_bytes(8, "little") + record
        ring.data_address = base + page - len(content)
        ctypes.memmove(ring.data_address, bytes(content), len(content))
        ctypes.c_uint64.from_address(ring.producer_address).value = len(content)
        consumer = NativeConsumer(code, ring, formats, out)
        result = consumer.run()
        assert result in (abi.DONE, abi.PYTHON)
        check_against_plans(bytes(record), formats, consumer, result)


def random_record(rng: random.Random, formats: list[Format]) -> bytes:
    items = []
    for _ in range(rng.randrange(1, 4)):
        number = rng.randrange(len(formats))
        args: list[Value] = [
            rng.randbytes(rng.randrange(24)) if kind == "s" else rng.getrandbits(64)
            for kind in argument_kinds(formats[number])
        ]
        if rng.random() < 0.2:
            del args[rng.randrange(len(args) + 1) :]
        items.append(pack_item(number, args))
    return pack_record(items)


def check_against_plans(
    record: bytes, formats: list[Format], consumer: NativeConsumer, result: int
) -> None:
    """Native code takes exactly what the Python side can read, unless a context is held."""
    from pystap.output.records import RecordError, items

    try:
        text = b""
        for number, at, end in items(record):
            if number >= len(formats):
                raise RecordError("format")
            text += make_plan(formats[number], 50, 2)(record, at, end)
    except RecordError:
        assert result == abi.PYTHON
        return
    if int.from_bytes(record[:8], "little") & RECORD_MORE:
        assert result == abi.PYTHON
    else:
        assert (result, consumer.bytes_written) == (abi.DONE, len(text))


@pytest.mark.parametrize("seed", range(4))
def test_nothing_behind_a_record_is_read(native_code: NativeCode, seed: int) -> None:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            guarded_runs(native_code, seed, 1500)
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert not os.WIFSIGNALED(status), signal.Signals(os.WTERMSIG(status)).name
    assert os.WEXITSTATUS(status) == 0
