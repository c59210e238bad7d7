from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from pystap.kernel import bpf, maps, programs
from pystap.kernel.ringbuf import BUSY_BIT, RingBuffer

from .asm import (
    EXIT,
    MAP_FD,
    R0,
    R1,
    R2,
    R3,
    R6,
    R7,
    call,
    jeq,
    load64,
    mov,
    mov_reg,
    store64,
    wide,
)

RESERVE, SUBMIT, DISCARD = 131, 132, 133
NO_WAKEUP = 1
SIZE = 4096


def producer(ring_fd: int, length: int, finish: int, flags: int = NO_WAKEUP) -> programs.Program:
    """A SYSCALL program that stores its first context word in a record; returns 1 when full."""
    tail = mov_reg(R1, R0) + mov(R2, flags) + call(finish) + mov(R0, 0) + EXIT
    code = (
        mov_reg(R6, R1)
        + wide(R1, ring_fd, MAP_FD)
        + mov(R2, length)
        + mov(R3, 0)
        + call(RESERVE)
        + jeq(R0, 0, 2 + len(tail) // 8)
        + load64(R7, R6, 0)
        + store64(R0, 0, R7)
        + tail
        + mov(R0, 1)
        + EXIT
    )
    return programs.load_program(bpf.PROG_TYPE_SYSCALL, code, flags=bpf.F_SLEEPABLE)


def put(program: programs.Program, value: int) -> int:
    return programs.run_program(program.fd, struct.pack("=Q", value))[0]


@pytest.fixture
def ring() -> Iterator[RingBuffer]:
    with maps.create_map(bpf.MAP_TYPE_RINGBUF, 0, 0, SIZE) as m, RingBuffer(m.fd, SIZE) as buffer:
        yield buffer


def values(ring: RingBuffer) -> list[int]:
    return [struct.unpack_from("=Q", record)[0] for record in ring.records()]


def test_records_arrive_in_order_and_free_their_space(ring: RingBuffer) -> None:
    with producer(ring.fd, 20, SUBMIT) as program:
        for i in range(5):
            assert put(program, i) == 0
        assert ring.available == 5 * 32
        assert [len(record) for record in ring.records()] == [20] * 5
        assert ring.available == 0
        assert values(ring) == []


def test_wraps_many_times(ring: RingBuffer) -> None:
    with producer(ring.fd, 1000, SUBMIT) as program:
        seen = []
        for i in range(40):
            assert put(program, i) == 0
            if i % 3 == 2:
                seen += values(ring)
        seen += values(ring)
    assert seen == list(range(40))


def test_full_ring_refuses_until_consumed(ring: RingBuffer) -> None:
    with producer(ring.fd, 1000, SUBMIT) as program:
        results = [put(program, i) for i in range(6)]
        assert results == [0, 0, 0, 0, 1, 1]
        assert values(ring) == [0, 1, 2, 3]
        assert put(program, 9) == 0


def test_discarded_records_are_skipped(ring: RingBuffer) -> None:
    with producer(ring.fd, 8, SUBMIT) as keep, producer(ring.fd, 8, DISCARD) as drop:
        put(keep, 1)
        put(drop, 2)
        put(keep, 3)
        put(drop, 4)
        assert values(ring) == [1, 3]
        assert ring.available == 0


def test_stopping_early_consumes_what_was_handed_out(ring: RingBuffer) -> None:
    with producer(ring.fd, 8, SUBMIT) as program:
        for i in range(3):
            put(program, i)
        for _record in ring.records():
            break
        assert values(ring) == [1, 2]


def test_a_busy_record_holds_back_those_after_it(ring: RingBuffer) -> None:
    """The kernel never leaves a record busy, so the flag is set in a copy of its memory."""
    with producer(ring.fd, 8, SUBMIT) as program:
        for i in range(3):
            put(program, i)
        real = ring._headers
        copy = memoryview(bytearray(bytes(real))).cast("I")
        copy[4] |= BUSY_BIT
        ring._headers = copy
        assert values(ring) == [0]
        assert values(ring) == []
        copy[4] &= ~BUSY_BIT
        assert values(ring) == [1, 2]
        ring._headers = real


def test_wait_sees_announced_data_only(ring: RingBuffer) -> None:
    with producer(ring.fd, 8, SUBMIT, flags=0) as program:
        assert not ring.wait(0)
        put(program, 1)
        assert ring.wait(1)
        assert values(ring) == [1]
        assert not ring.wait(0)


def test_native_addresses_show_the_same_memory(ring: RingBuffer) -> None:
    import ctypes

    with producer(ring.fd, 8, SUBMIT) as program:
        put(program, 0x1122334455667788)
    assert ctypes.c_uint64.from_address(ring.producer_address).value == 16
    assert ctypes.c_uint64.from_address(ring.consumer_address).value == 0
    assert ctypes.c_uint64.from_address(ring.data_address + 8).value == 0x1122334455667788


def test_size_must_be_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="not a power of two"):
        RingBuffer(0, 5000)


def test_mapping_failure_is_an_os_error() -> None:
    with (
        maps.create_map(bpf.MAP_TYPE_HASH, 4, 4, 1) as m,
        pytest.raises(OSError, match="mmap of 4096 bytes"),
    ):
        RingBuffer(m.fd, SIZE)
