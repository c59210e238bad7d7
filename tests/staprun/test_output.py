"""Records, their order, files that are changed, and the merging of bulk files."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from pystap.session.outfile import OutputFileError
from pystap.staprun import merge
from pystap.staprun.outputs import Merged, PerCpu, Rotation
from pystap.staprun.records import (
    BULK_MAGIC,
    ERROR,
    OUTPUT,
    WARNING,
    Joiner,
    Record,
    Sequence,
    unpack,
)


def record(
    serial: int, text: bytes, cpu: int = 0, more: bool = False, kind: int = OUTPUT
) -> Record:
    return Record(serial, kind, cpu, more, text)


def test_records_as_bytes() -> None:
    made = [record(1, b"one", 3), record(2, b"", 4, True), record(7, b"\0x", 5, kind=ERROR)]
    data = bytearray(b"".join(r.packed() for r in made))
    data += made[0].packed()[:-1]
    assert list(unpack(data)) == made
    assert bytes(data) == made[0].packed()[:-1]  # the rest stays


def test_order_of_records_that_come_late() -> None:
    chance = random.Random(7)
    for _ in range(50):
        serials = list(range(1, 60))
        # Each one is at most two rounds of reading late.
        late = sorted(serials, key=lambda s: s + chance.choice((0, 0, 5, 10)))
        sequence = Sequence()
        found = []
        for start in range(0, len(late), 5):
            come = [record(serial, b"") for serial in late[start : start + 5]]
            found += [r.serial for r in sequence.take(come, final=False)]
        found += [r.serial for r in sequence.take([], final=True)]
        assert sorted(found) == serials
        assert found == serials


def test_a_lost_record_is_not_waited_for_long() -> None:
    sequence = Sequence()
    come = [record(1, b""), record(3, b"")]
    assert [r.serial for r in sequence.take(come, final=False)] == [1]
    rounds = 0
    found: list[int] = []
    while not found:
        found = [r.serial for r in sequence.take([], final=False)]
        rounds += 1
        assert rounds < 10
    assert found == [3]


def test_output_of_a_handler_stays_in_one_piece() -> None:
    joiner = Joiner()
    parts = [
        record(1, b"a", 0, True), record(2, b"x", 1), record(3, b"w", 0, kind=WARNING),
        record(4, b"b", 0, True), record(5, b"c", 0), record(6, b"d", 0),
    ]  # fmt: skip
    whole = [*joiner.join_all(parts[:4]), *joiner.join_all(parts[4:])]
    assert [made.text for made in whole] == [b"x", b"w", b"abc", b"d"]
    assert joiner.rest() == []
    assert joiner.join(record(7, b"never ends", 2, True)) is None
    assert [made.text for made in joiner.rest()] == [b"never ends"]


def put(output: Merged | PerCpu, *made: Record) -> None:
    for one in made:
        output.put(one)
    output.flush()


def test_one_file(tmp_path: Path) -> None:
    output = Merged(str(tmp_path / "out.%Y"), None)
    put(output, record(1, b"a\n"), record(2, b"b\n"))
    output.say(b"WARNING: w")
    output.switch()
    put(output, record(3, b"c\n"))
    output.switch()
    name = time.strftime("out.%Y")
    texts = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert texts == {name: b"a\nb\nWARNING: w\n", f"{name}.1": b"c\n", f"{name}.2": b""}


def test_files_of_a_size(tmp_path: Path) -> None:
    output = Merged(str(tmp_path / "out"), Rotation(10, 0))
    put(output, *(record(n, b"%03d\n" % n) for n in range(8)), record(9, b"longer than a file\n"))
    put(output, record(10, b"x\n"))
    texts = [(tmp_path / f"out.{n}").read_bytes() for n in range(len(os.listdir(tmp_path)))]
    assert texts == [
        b"000\n001\n", b"002\n003\n", b"004\n005\n", b"006\n007\n", b"longer than a file\n",
        b"x\n",
    ]  # fmt: skip


def test_the_last_files_are_kept(tmp_path: Path) -> None:
    output = Merged(str(tmp_path / "out"), Rotation(10, 2))
    put(output, *(record(n, b"%08d\n" % n) for n in range(5)))
    assert sorted(os.listdir(tmp_path)) == ["out.3", "out.4"]
    os.unlink(tmp_path / "out.3")  # nothing to complain of
    put(output, record(6, b"123456789\n"), record(7, b"123456789\n"))
    assert sorted(os.listdir(tmp_path)) == ["out.5", "out.6"]


def test_files_of_cpus(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output = PerCpu(str(tmp_path / "out"), Rotation(100, 0), background=True)
    made = [record(n, b"line %d\n" % n, n % 2) for n in range(1, 21)]
    put(output, *made)
    output.say(b"WARNING: w")
    files = sorted(tmp_path.iterdir())
    assert {path.name.partition(".")[0] for path in files} >= {"out_cpu0", "out_cpu1"}
    assert all(path.stat().st_size <= 100 for path in files)
    assert all(path.read_bytes().startswith(BULK_MAGIC) for path in files)
    random.Random(1).shuffle(files)
    assert merge.main(["-o", str(tmp_path / "all"), *map(str, files)]) == 0
    assert (tmp_path / "all").read_bytes() == b"".join(r.text for r in made)
    out, err = capfdbinary.readouterr()
    assert (out, err) == (b"", b"WARNING: w\n")


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(OutputFileError, match="cannot open output file"):
        Merged(str(tmp_path / "no" / "out"), None)


def test_merging_refuses(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    other.write_text("text")
    good = tmp_path / "good"
    good.write_bytes(BULK_MAGIC + record(1, b"x\n").packed())
    assert merge.main([]) == 1
    assert merge.main(["-z"]) == 1
    assert merge.main([str(other)]) == 1
    assert merge.main([str(tmp_path / "none")]) == 1
    assert merge.main(["-o", str(tmp_path / "no" / "all"), str(good)]) == 1
    err = capfd.readouterr().err
    for words in (
        "no files to merge",
        "-z",
        "was not written by stap -b",
        "No such file",
        "cannot write",
    ):
        assert words in err
