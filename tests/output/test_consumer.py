"""The consumer with both engines: order, reassembly, control items, errors of the output."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pystap.backend.llvm.binding import LlvmError
from pystap.output import consumer as consumer_module
from pystap.output import native
from pystap.output.consumer import Consumer, OutputError
from pystap.output.formats import ITEM_EXIT, ITEM_SYSTEM, ITEM_WARN, Directive, Format
from pystap.output.formatspec import argument_kinds, parse_format
from pystap.output.records import (
    Control,
    ExitItem,
    SystemItem,
    Value,
    WarnItem,
    pack_item,
    pack_record,
)
from pystap.output.render import render

from .fakering import BUSY, DISCARD, FakeRing

NUMBER, TEXT, HISTOGRAM, QUOTED = range(4)
FORMATS = [
    parse_format("%d\n"),
    parse_format("<%s>"),
    Format((Directive("hist_linear", params=(0, 1, 1)),)),
    parse_format("%#s\n"),
]


def number(n: int) -> bytes:
    return pack_record([pack_item(NUMBER, [n])])


@pytest.fixture(params=["python", "native"])
def engine(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    consumer_object: bytes,
) -> str:
    """Directory with the code; from the first record on one engine does what it can."""
    never = 1 << 60
    monkeypatch.setattr(consumer_module, "COMPILE_AFTER", never)
    monkeypatch.setattr(consumer_module, "LOAD_AFTER", 0 if request.param == "native" else never)
    native.store_cached(str(tmp_path), consumer_object)
    return str(tmp_path)


class Session:
    """A consumer that writes to a file in memory and keeps what it is told."""

    def __init__(self, engine: str, ring: FakeRing | None = None, fd: int | None = None) -> None:
        self.ring = ring or FakeRing()
        self.file = os.memfd_create("out")
        self.events: list[tuple[Control, bytes]] = []
        self.consumer = Consumer(
            self.ring, FORMATS, self.file if fd is None else fd, self._on_control, engine
        )

    def _on_control(self, control: Control) -> None:
        self.events.append((control, self.text()))

    def text(self) -> bytes:
        return os.pread(self.file, 1 << 24, 0)


@pytest.fixture
def session(engine: str) -> Iterator[Session]:
    made = Session(engine)
    yield made
    made.consumer.close()
    os.close(made.file)


def test_counts_and_text(session: Session) -> None:
    for n in range(100):
        session.ring.put(number(n), DISCARD if n % 10 == 9 else 0)
    assert session.consumer.drain() == 90
    assert session.consumer.drain() == 0
    expected = b"".join(b"%d\n" % n for n in range(100) if n % 10 != 9)
    assert session.text() == expected
    assert session.consumer.records == 90
    assert session.consumer.bytes_written == len(expected)
    assert session.consumer.malformed == 0
    assert session.ring.free == session.ring.size


def test_everything_before_a_control_item_is_written(session: Session) -> None:
    session.ring.put(number(1))
    items = [
        pack_item(NUMBER, [2]),
        pack_item(ITEM_WARN, [b"careful"]),
        pack_item(NUMBER, [3]),
        pack_item(ITEM_SYSTEM, [b"date"]),
        pack_item(ITEM_EXIT),
    ]
    session.ring.put(pack_record(items))
    session.ring.put(number(4))
    assert session.consumer.drain() == 3
    assert session.events == [
        (WarnItem(b"careful"), b"1\n2\n"),
        (SystemItem(b"date"), b"1\n2\n3\n"),
        (ExitItem(), b"1\n2\n3\n"),
    ]
    assert session.text() == b"1\n2\n3\n4\n"


def test_histograms_and_quoting_in_between(session: Session) -> None:
    table = render(FORMATS[HISTOGRAM], [[0, 3, 1, 0]])
    for _ in range(3):
        session.ring.put(number(5))
        session.ring.put(pack_record([pack_item(HISTOGRAM, [[0, 3, 1, 0]])]))
        session.ring.put(pack_record([pack_item(QUOTED, [b'"\n'])]))
    session.consumer.drain()
    assert session.text() == (b"5\n" + table + b'\\"\\n\n') * 3


def test_texts_larger_than_any_buffer(engine: str) -> None:
    session = Session(engine, ring=FakeRing(1 << 21))
    text = random.Random(1).randbytes(700_000)
    session.ring.put(number(1))
    session.ring.put(pack_record([pack_item(TEXT, [text])]))
    session.ring.put(number(2))
    assert session.consumer.drain() == 3
    assert session.text() == b"1\n<" + text + b">2\n"
    session.consumer.close()
    os.close(session.file)


def test_a_handlers_output_stays_together(session: Session) -> None:
    def part(text: bytes, cpu: int, more: bool, level: int = 0) -> bytes:
        return pack_record([pack_item(TEXT, [text])], cpu, level, more)

    session.ring.put(part(b"a1", 1, True))
    session.ring.put(part(b"b", 2, False))
    session.ring.put(part(b"c1", 1, True, level=1))
    session.ring.put(part(b"a2", 1, True))
    assert session.consumer.drain() == 4
    assert session.text() == b"<b>"
    session.ring.put(part(b"d", 2, False))
    session.ring.put(part(b"a3", 1, False))
    session.ring.put(part(b"e", 1, False))
    session.ring.put(part(b"c2", 1, False, level=1))
    assert session.consumer.drain() == 4
    assert session.text() == b"<b><d><a1><a2><a3><e><c1><c2>"
    session.ring.put(part(b"cut off", 7, True))
    session.ring.put(part(b"f", 1, False))
    assert session.consumer.finish() == 2
    assert session.text().endswith(b"<f><cut off>")
    session.ring.put(part(b"g", 7, False))
    session.consumer.drain()
    assert session.text().endswith(b"<cut off><g>")


def test_a_busy_record_holds_up_what_follows(session: Session) -> None:
    session.ring.put(number(1))
    busy = session.ring.put(number(2), BUSY)
    session.ring.put(number(3))
    assert session.consumer.drain() == 1
    session.ring.commit(busy)
    assert session.consumer.drain() == 2
    assert session.text() == b"1\n2\n3\n"


def test_malformed_records_are_dropped_whole_and_counted(session: Session) -> None:
    bad = [
        pack_record([pack_item(NUMBER, [8]), pack_item(99, [])]),
        pack_record([pack_item(NUMBER, [8]), pack_item(TEXT, [])]),
        pack_record([pack_item(NUMBER, [8]), pack_item(HISTOGRAM, [[1]])]),
        pack_record([pack_item(NUMBER, [8]), pack_item(0xFFFF00FF)]),
        pack_record([pack_item(NUMBER, [8])])[:-8],
        b"abc",
        b"",
    ]
    for record in bad:
        session.ring.put(record)
        session.ring.put(number(1))
    session.consumer.drain()
    assert session.text() == b"1\n" * len(bad)
    assert session.consumer.malformed == len(bad)


def test_a_record_longer_than_what_was_produced(session: Session) -> None:
    session.ring.put(number(1))
    session.ring.put(number(2), length=5000)
    session.consumer.drain()
    assert session.text() == b"1\n"
    assert session.consumer.malformed == 1
    session.ring.put(number(3))
    session.consumer.drain()
    assert session.text() == b"1\n3\n"


def test_an_exception_of_the_callback_loses_nothing_else(engine: str) -> None:
    ring = FakeRing()
    file = os.memfd_create("out")

    def stop(_: Control) -> None:
        raise KeyboardInterrupt

    consumer = Consumer(ring, FORMATS, file, stop, engine)
    ring.put(number(1))
    ring.put(pack_record([pack_item(ITEM_EXIT)]))
    ring.put(number(2))
    with pytest.raises(KeyboardInterrupt):
        consumer.drain()
    assert consumer.drain() == 1
    assert os.pread(file, 99, 0) == b"1\n2\n"
    consumer.close()
    os.close(file)


def fill(ring: FakeRing, count: int) -> bytes:
    for n in range(count):
        ring.put(number(n))
    return b"".join(b"%d\n" % n for n in range(count))


def test_a_full_device_is_an_output_error(engine: str) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    session = Session(engine, fd=fd)
    fill(session.ring, 10)
    for _ in range(2):  # what is not written is tried again
        with pytest.raises(OutputError) as caught:
            session.consumer.drain()
        assert caught.value.errno == errno.ENOSPC
    session.consumer.close()
    os.close(fd)
    os.close(session.file)


def test_output_goes_on_after_an_error(engine: str, tmp_path: Path) -> None:
    """A file-size limit cuts one write in the middle; nothing is lost or doubled."""
    path = tmp_path / "out"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    session = Session(engine, ring=FakeRing(1 << 20), fd=fd)
    expected = fill(session.ring, 2000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError) as caught:
            session.consumer.drain()
        assert caught.value.errno == errno.EFBIG
        assert path.read_bytes() == expected[:1000]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    session.consumer.finish()
    assert path.read_bytes() == expected
    assert session.consumer.bytes_written == len(expected)
    assert session.consumer.records == 2000
    session.consumer.close()
    os.close(fd)
    os.close(session.file)


def test_a_closed_pipe_is_an_output_error(engine: str) -> None:
    reader, writer = os.pipe()
    session = Session(engine, fd=writer)
    os.close(reader)
    fill(session.ring, 3)
    with pytest.raises(OutputError) as caught:
        session.consumer.drain()
    assert caught.value.errno == errno.EPIPE
    session.consumer.close()
    os.close(writer)
    os.close(session.file)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_slow_reader_gets_everything(engine: str, blocking: bool) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    session = Session(engine, ring=FakeRing(1 << 21), fd=writer)
    expected = fill(session.ring, 40_000)
    assert len(expected) > 3 * 65536
    got: list[bytes] = []

    def read() -> None:
        while data := os.read(reader, 5000):
            got.append(data)
            time.sleep(0.0005)

    thread = threading.Thread(target=read)
    thread.start()
    session.consumer.finish()
    session.consumer.close()
    os.close(writer)
    thread.join()
    os.close(reader)
    os.close(session.file)
    assert b"".join(got) == expected


def test_signals_are_handled_while_output_is_blocked(engine: str) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    session = Session(engine, ring=FakeRing(1 << 20), fd=writer)
    expected = fill(session.ring, 25_000)
    got: list[bytes] = []

    def unblock(*_: object) -> None:
        with suppress(BlockingIOError):  # nothing was written yet
            got.append(os.read(reader, 1 << 16))

    before = signal.signal(signal.SIGALRM, unblock)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        session.consumer.finish()  # would wait for ever if the handler did not run
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    session.consumer.close()
    os.close(writer)
    while data := os.read(reader, 1 << 16):
        got.append(data)
    os.close(reader)
    os.close(session.file)
    assert len(expected) > 1 << 16
    assert b"".join(got) == expected


def test_output_moves_to_another_file(session: Session) -> None:
    other = os.memfd_create("other")
    session.ring.put(number(1))
    session.consumer.drain()
    session.consumer.set_fd(other)
    session.ring.put(number(2))
    session.consumer.drain()
    assert (session.text(), os.pread(other, 99, 0)) == (b"1\n", b"2\n")
    os.close(other)


def test_one_drain_ends_though_records_keep_coming(engine: str) -> None:
    """A control callback that produces for ever must not keep drain from returning."""
    ring = FakeRing(4096)
    file = os.memfd_create("out")
    again = pack_record([pack_item(ITEM_WARN, [b"again"])])
    consumer = Consumer(ring, FORMATS, file, lambda _: ring.put(again) and None, engine)
    ring.put(again)
    assert 0 < consumer.drain() <= 4096 // 32 + 1000
    consumer.close()
    os.close(file)


def random_records(seed: int, count: int) -> list[bytes]:
    """Records of several contexts, some with control items, some damaged."""
    rng = random.Random(seed)
    records = []
    for _ in range(count):
        items = []
        for _ in range(rng.randrange(1, 4)):
            item = rng.choice([NUMBER, NUMBER, TEXT, TEXT, HISTOGRAM, QUOTED, ITEM_WARN])
            kinds = "s" if item == ITEM_WARN else argument_kinds(FORMATS[item])
            values: dict[str, Value] = {
                "l": rng.getrandbits(64),
                "s": rng.randbytes(rng.randrange(20)),
                "h": [rng.randrange(3), 1, rng.randrange(100), 0],
            }
            items.append(pack_item(item, [values[kind] for kind in kinds]))
        more = rng.random() < 0.1
        record = bytearray(pack_record(items, rng.randrange(3), rng.randrange(2), more))
        if rng.random() < 0.1:
            record[rng.randrange(8, len(record))] ^= 1 << rng.randrange(8)
        records.append(bytes(record))
    return records


@pytest.mark.parametrize("seed", range(3))
def test_both_engines_write_the_same(
    seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, consumer_object: bytes
) -> None:
    native.store_cached(str(tmp_path), consumer_object)
    records = random_records(seed, 2000)
    results = []
    for first in (0, 700, 1 << 60):  # native at once, in the middle, never
        monkeypatch.setattr(consumer_module, "LOAD_AFTER", first)
        session = Session(str(tmp_path), ring=FakeRing(1 << 14))
        for record in records:
            if session.ring.free < 1000:
                session.consumer.drain()
            session.ring.put(record)
        session.consumer.finish()
        assert session.consumer.is_native == (first < 1 << 60)
        counts = (session.consumer.records, session.consumer.malformed)
        results.append((session.text(), session.events, *counts, session.consumer.bytes_written))
        session.consumer.close()
        os.close(session.file)
    assert results[0] == results[2]
    assert results[1] == results[2]
    assert results[0][2] == len(records)


# ---- getting the code


def loaded(session: Session, records: int) -> None:
    fill(session.ring, records)
    session.consumer.drain()


def test_code_is_compiled_when_it_pays_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "LOAD_AFTER", 10)
    monkeypatch.setattr(consumer_module, "COMPILE_AFTER", 1500)
    directory = str(tmp_path / "cache" / "deep")
    session = Session(directory, ring=FakeRing(1 << 20))
    loaded(session, 1000)
    assert not session.consumer.is_native
    assert not os.path.exists(directory)
    expected = session.text()
    for _ in range(3):
        expected += fill(session.ring, 1000)
        session.consumer.drain()
    session.consumer.close()
    assert os.listdir(directory) == [os.path.basename(native.cache_path(directory))]
    assert os.stat(native.cache_path(directory)).st_mode & 0o777 == 0o600
    assert session.text() == expected

    second = Session(directory, ring=FakeRing(1 << 20))
    loaded(second, 5000)
    assert second.consumer.is_native
    assert second.consumer.native_problem is None
    second.consumer.close()
    for each in (session, second):
        os.close(each.file)


def test_compiled_code_takes_over_in_the_same_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "LOAD_AFTER", 10)
    monkeypatch.setattr(consumer_module, "COMPILE_AFTER", 10)
    session = Session("", ring=FakeRing(1 << 20))
    session.consumer._cache_dir = None
    expected = b""
    deadline = time.monotonic() + 30
    while not session.consumer.is_native and time.monotonic() < deadline:
        expected += fill(session.ring, 1200)
        session.consumer.drain()
        time.sleep(0.01)
    assert session.consumer.is_native
    expected += fill(session.ring, 1000)
    session.consumer.finish()
    assert session.text() == expected
    session.consumer.close()
    os.close(session.file)


def test_damaged_or_foreign_code_is_not_used(tmp_path: Path, consumer_object: bytes) -> None:
    directory = str(tmp_path)
    assert native.load_cached(directory) is None
    native.store_cached(directory, consumer_object)
    path = Path(native.cache_path(directory))
    code = native.load_cached(directory)
    assert code is not None
    code.close()
    path.chmod(0o666)
    assert native.load_cached(directory) is None
    path.chmod(0o600)
    os.chown(path, 12345, 12345)
    assert native.load_cached(directory) is None
    os.chown(path, 0, 0)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert native.load_cached(directory) is None
    path.write_bytes(content[:100])
    assert native.load_cached(directory) is None


def test_without_llvm_python_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> bytes:
        raise LlvmError("no LLVM here")

    monkeypatch.setattr(consumer_module, "LOAD_AFTER", 10)
    monkeypatch.setattr(consumer_module, "COMPILE_AFTER", 10)
    monkeypatch.setattr(native, "compile_consumer", missing)
    session = Session(str(tmp_path), ring=FakeRing(1 << 20))
    expected = b""
    for _ in range(5):
        expected += fill(session.ring, 1100)
        session.consumer.drain()
        time.sleep(0.01)
    assert session.text() == expected
    assert not session.consumer.is_native
    assert session.consumer.native_problem == "LlvmError: no LLVM here"
    session.consumer.close()
    os.close(session.file)
