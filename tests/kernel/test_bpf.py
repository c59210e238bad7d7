from __future__ import annotations

import errno
import fcntl
import os
import struct

import pytest

from pystap.kernel import bpf, btfwriter, links, maps, programs

from .asm import (
    EXIT,
    FUNC,
    MAP_FD,
    MAP_VALUE,
    R0,
    R1,
    R2,
    R3,
    R4,
    R10,
    add,
    add_reg,
    atomic_add64,
    call,
    call_local,
    load64,
    mov,
    mov_reg,
    store64,
    wide,
)

GET_ATTACH_COOKIE, BPF_LOOP, RINGBUF_OUTPUT = 174, 181, 130


def u32(value: int) -> bytes:
    return struct.pack("=I", value)


def u64(value: int) -> bytes:
    return struct.pack("=Q", value)


# ---------------------------------------------------------------- maps


def test_hash_map_round_trip() -> None:
    with maps.create_map(bpf.MAP_TYPE_HASH, 4, 8, 16, name="a map, odd-name!") as m:
        assert m.lookup(u32(1)) is None
        m.update(u32(1), u64(10))
        m.update(u32(2), u64(20), bpf.NOEXIST)
        with pytest.raises(bpf.BpfError) as caught:
            m.update(u32(2), u64(21), bpf.NOEXIST)
        assert caught.value.errno == errno.EEXIST
        assert caught.value.command == "BPF_MAP_UPDATE_ELEM"
        assert m.lookup(u32(2)) == u64(20)
        assert dict(m.items()) == {u32(1): u64(10), u32(2): u64(20)}
        assert m.delete(u32(1))
        assert not m.delete(u32(1))
        assert m.next_key() == u32(2)
        assert m.next_key(u32(2)) is None
        assert fcntl.fcntl(m.fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        again = maps.map_from_fd(os.dup(m.fd))
        shape = (again.kind, again.key_size, again.value_size, again.max_entries)
        again.close()
        assert shape == (bpf.MAP_TYPE_HASH, 4, 8, 16)


def test_wrong_sizes_are_refused_before_the_kernel_reads_past_them() -> None:
    with maps.create_map(bpf.MAP_TYPE_HASH, 4, 8, 16) as m:
        with pytest.raises(ValueError, match="key of 2 bytes, map takes 4"):
            m.lookup(b"ab")
        with pytest.raises(ValueError, match="value of 4 bytes, map takes 8"):
            m.update(u32(0), u32(0))


@pytest.mark.parametrize("kind", [bpf.MAP_TYPE_HASH, bpf.MAP_TYPE_PERCPU_HASH])
def test_many_elements_come_in_batches(kind: int) -> None:
    with maps.create_map(kind, 4, 6, 5000) as m:
        value = struct.pack("=HI", 7, 9).ljust(m.transfer_size, b"\1")
        for i in range(3000):
            m.update(u32(i), value)
        read = dict(m.items())
        assert sorted(read) == sorted(u32(i) for i in range(3000))
        assert {v[:6] for v in read.values()} == {value[:6]}


def test_items_without_batch_lookup() -> None:
    with maps.create_map(bpf.MAP_TYPE_STACK_TRACE, 4, 80, 4) as m:
        assert list(m.items()) == []
    with maps.create_map(bpf.MAP_TYPE_LRU_HASH, 4, 8, 8) as m:
        m.update(u32(3), u64(4))
        assert list(m._items_one_by_one()) == [(u32(3), u64(4))]


def test_per_cpu_array_shows_each_cpu() -> None:
    with maps.create_map(bpf.MAP_TYPE_PERCPU_ARRAY, 4, 4, 1) as m:
        cpus = m.transfer_size // m.value_stride
        value = b"".join(struct.pack("=II", i + 1, 0) for i in range(cpus))
        m.update(u32(0), value)
        assert m.lookup(u32(0)) == value


def test_mapped_array_is_shared_memory() -> None:
    with maps.create_map(bpf.MAP_TYPE_ARRAY, 4, 12, 3, flags=bpf.F_MMAPABLE) as m:
        with m.mmap() as shared:
            shared.view[16:28] = b"x" * 12
            assert m.lookup(u32(1)) == b"x" * 12
        with m.mmap(writable=False) as shared:
            assert shared.view.readonly
            assert bytes(shared.view[16:28]) == b"x" * 12
        shared.close()


def test_frozen_map_refuses_writes() -> None:
    with maps.create_map(bpf.MAP_TYPE_ARRAY, 4, 8, 1, flags=bpf.F_RDONLY_PROG) as m:
        m.update(u32(0), u64(5))
        m.freeze()
        with pytest.raises(bpf.BpfError):
            m.update(u32(0), u64(6))


def test_errors_name_the_request() -> None:
    with pytest.raises(bpf.BpfError, match="BPF_MAP_CREATE: Invalid argument"):
        maps.create_map(9999, 4, 4, 1)


# ---------------------------------------------------------------- programs


def syscall_program(code: bytes, **options: object) -> programs.Program:
    return programs.load_program(
        bpf.PROG_TYPE_SYSCALL,
        code,
        flags=bpf.F_SLEEPABLE,
        **options,  # type: ignore[arg-type]
    )


def test_run_reads_and_writes_the_context() -> None:
    code = (
        load64(R2, R1, 0)
        + load64(R3, R1, 8)
        + add_reg(R2, R3)
        + store64(R1, 0, R2)
        + mov(R0, 7)
        + EXIT
    )
    with syscall_program(code, name="sum") as program:
        result, context = programs.run_program(program.fd, u64(40) + u64(2))
        assert (result, context) == (7, u64(42) + u64(2))
        prepared = programs.TestRun(program.fd, 16)
        words = prepared.context.cast("Q")
        words[0], words[1] = 1, 1
        assert [prepared.run() for _ in range(3)] == [7, 7, 7]
        assert list(words) == [4, 1]
        info = programs.program_info(program.fd)
        assert (info.name, info.kind) == ("sum", bpf.PROG_TYPE_SYSCALL)
        assert info.verified_instructions == 6
        assert info.xlated_size >= 6 * 8


def test_run_statistics() -> None:
    with syscall_program(mov(R0, 0) + EXIT) as program:
        stats = bpf.enable_run_statistics()
        try:
            programs.run_program(program.fd)
            programs.run_program(program.fd)
        finally:
            os.close(stats)
        info = programs.program_info(program.fd)
        assert info.run_count in (0, 2)  # kernels before 6.12 do not time SYSCALL programs


def test_rejected_program_carries_the_log() -> None:
    with pytest.raises(bpf.BpfError) as caught:
        syscall_program(mov_reg(R0, R3) + EXIT)
    assert caught.value.command == "BPF_PROG_LOAD"
    assert "R3 !read_ok" in caught.value.detail


def test_log_longer_than_the_first_buffer_is_whole() -> None:
    body = (mov(R2, 1) + mov(R3, 2)) * 6000
    with pytest.raises(bpf.BpfError) as caught:
        syscall_program(body + mov_reg(R0, R4) + EXIT)
    assert len(caught.value.detail) > 1 << 18
    assert caught.value.errno == errno.EACCES
    assert "R4 !read_ok" in caught.value.detail
    assert "0: (b7) r2 = 1" in caught.value.detail


def test_log_of_an_accepted_program_on_request() -> None:
    with syscall_program(mov(R0, 0) + EXIT, log_level=1) as program:
        assert "processed 2 insns" in program.log


def test_callback_needs_the_generated_btf() -> None:
    """bpf_loop with a static callback: BTF, function info and a map value together."""
    with maps.create_map(bpf.MAP_TYPE_ARRAY, 4, 8, 1, flags=bpf.F_MMAPABLE) as m:
        main = mov(R1, 100) + wide(R2, 5, FUNC) + mov(R3, 0) + mov(R4, 0) + call(BPF_LOOP) + EXIT
        callback = wide(R1, m.fd, MAP_VALUE) + mov(R2, 1) + atomic_add64(R1, 0, R2) + mov(R0, 0)
        code = main + callback + EXIT
        start = len(main) // 8
        writer = btfwriter.BtfWriter()
        integer = writer.integer("int", 4, btfwriter.INT_SIGNED)
        main_proto = writer.prototype(integer, [("ctx", writer.pointer(0))])
        loop_proto = writer.prototype(integer, [("i", integer), ("ctx", writer.pointer(0))])
        info = btfwriter.pack_func_info(
            [
                (0, writer.function("main", main_proto)),
                (start, writer.function("body", loop_proto)),
            ]
        )
        with (
            programs.load_btf(writer.blob()) as btf,
            syscall_program(code, btf_fd=btf.fd, func_info=info) as program,
        ):
            programs.run_program(program.fd)
        assert m.lookup(u32(0)) == u64(100)


def test_refused_btf_carries_the_log() -> None:
    writer = btfwriter.BtfWriter()
    writer.pointer(77)
    with pytest.raises(bpf.BpfError) as caught:
        programs.load_btf(writer.blob())
    assert caught.value.command == "BPF_BTF_LOAD"
    assert "PTR" in caught.value.detail


def test_local_calls() -> None:
    with syscall_program(call_local(1) + EXIT + mov(R0, 3) + EXIT) as program:
        assert programs.run_program(program.fd)[0] == 3


# ---------------------------------------------------------------- links


def counting_code(map_fd: int) -> bytes:
    return wide(R1, map_fd, MAP_VALUE) + mov(R2, 1) + atomic_add64(R1, 0, R2) + mov(R0, 0) + EXIT


def test_raw_tracepoint_counts_until_closed() -> None:
    with (
        maps.create_map(bpf.MAP_TYPE_ARRAY, 4, 8, 1, flags=bpf.F_MMAPABLE) as m,
        m.mmap() as shared,
        programs.load_program(bpf.PROG_TYPE_RAW_TRACEPOINT, counting_code(m.fd)) as program,
    ):
        words = shared.view.cast("Q")
        with links.attach_raw_tracepoint(program.fd, "sys_enter"):
            os.getppid()
        after = words[0]
        assert after > 0
        for _ in range(50):
            os.getppid()
        assert words[0] == after
        assert programs.run_program(program.fd, u64(0) * 2)[0] == 0
        assert words[0] == after + 1
        words.release()


def test_unknown_tracepoint() -> None:
    code = mov(R0, 0) + EXIT
    with programs.load_program(bpf.PROG_TYPE_RAW_TRACEPOINT, code) as program:
        with pytest.raises(bpf.BpfError) as caught:
            links.attach_raw_tracepoint(program.fd, "no_such_tracepoint")
        assert caught.value.errno == errno.ENOENT


def test_ring_buffer_map_descriptor_in_code() -> None:
    with maps.create_map(bpf.MAP_TYPE_RINGBUF, 0, 0, 4096) as ring:
        code = (
            wide(R1, ring.fd, MAP_FD)
            + mov_reg(R2, R10)
            + add(R2, -8)
            + store64(R2, 0, R10)
            + mov(R3, 8)
            + mov(R4, 0)
            + call(RINGBUF_OUTPUT)
            + EXIT
        )
        with syscall_program(code) as program:
            assert programs.run_program(program.fd)[0] == 0
