"""Both engines on a ring buffer of the kernel, filled by a generated program."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llvm.machines import load, rodata_map
from pystap.backend.llvm import binding
from pystap.backend.llvm.builder import Module
from pystap.backend.llvm.object import RODATA, BpfObject
from pystap.kernel.maps import create_map
from pystap.kernel.programs import TestRun
from pystap.kernel.ringbuf import RingBuffer
from pystap.output import consumer as consumer_module
from pystap.output import native
from pystap.output.consumer import Consumer
from pystap.output.formatspec import parse_format
from pystap.output.records import pack_item, pack_record

RINGBUF, RINGBUF_OUTPUT, NO_WAKEUP = 27, 130, 1
OUTPUT_MAP = 0
SIZE = 1 << 16


def emitting(record: bytes) -> BpfObject:
    """A program that outputs one record."""
    m = Module("bpf")
    with m.function("f", "i64", [("ptr", "ctx")]) as b:
        ring = b.map_fd(OUTPUT_MAP)
        b.ret(b.helper(RINGBUF_OUTPUT, "i64", ring, b.data(record), len(record), NO_WAKEUP))
    return BpfObject(binding.compile_object(m.text()))


@pytest.mark.parametrize("after", [0, 1 << 60])
def test_kernel_ring(
    after: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, consumer_object: bytes
) -> None:
    monkeypatch.setattr(consumer_module, "LOAD_AFTER", after)
    native.store_cached(str(tmp_path), consumer_object)
    fmt = parse_format("%d %s %d\n")
    obj = emitting(pack_record([pack_item(0, [42, b"python3", -7])] * 2))
    line = b"42 python3 -7\n" * 2
    file = os.memfd_create("out")
    with (
        create_map(RINGBUF, 0, 0, SIZE) as ring_map,
        rodata_map(obj.rodata) as rodata,
        load(obj.link("f"), {OUTPUT_MAP: ring_map.fd, RODATA: rodata.fd}) as program,
        RingBuffer(ring_map.fd, SIZE) as ring,
    ):
        consumer = Consumer(ring, [fmt], file, lambda _: None, str(tmp_path))
        run = TestRun(program.fd)
        for _ in range(40):
            results = {run.run() for _ in range(100)}
            assert results == {0}
            assert consumer.drain() == 100
        assert os.pread(file, 1 << 20, 0) == line * 4000
        assert ring.available == 0
        assert consumer.is_native == (after == 0)
        consumer.close()
    os.close(file)
