"""Numbers and layouts of the kernel layer against the running kernel's own types.

Requests that this kernel cannot serve (kprobe.multi without ftrace, say) are checked here too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pystap.debuginfo.btf import KIND_STRUCT, KIND_UNION, Btf
from pystap.kernel import bpf, links, maps, perf, programs, syscalls
from pystap.kernel.syscalls import Buffer


@pytest.fixture(scope="module")
def btf() -> Btf:
    return Btf.open()


def offset(btf: Btf, owner: str, path: str) -> int | None:
    """Byte offset of ``a.b.c`` in a structure or union; None if this kernel has no such member."""
    found = btf.find(owner, KIND_STRUCT) or btf.find(owner, KIND_UNION)
    assert found is not None
    bits = 0
    for name in path.split("."):
        member = btf.member(found, name)
        if member is None:
            return None
        found, at, _ = member
        bits += at
    return bits // 8


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bytes]]:
    """Record bpf(2) requests instead of making them."""
    made: list[tuple[int, bytes]] = []

    def record(command: int, attr: Buffer) -> tuple[int, int]:
        made.append((command, attr.raw))
        return 3, 0

    for module in (bpf, programs):
        monkeypatch.setattr(module, "bpf_syscall", record)
    return made


REQUESTS: list[tuple[Callable[[], object], str, dict[str, int]]] = [
    (
        lambda: links.attach_kprobe_multi(5, symbols=["a", "b"], cookies=[1, 2], on_return=True),
        "link_create",
        {"prog_fd": 5, "attach_type": 42, "kprobe_multi.flags": 1, "kprobe_multi.cnt": 2},
    ),
    (
        lambda: links.attach_uprobe_multi(5, "/x", [1, 2, 3], pid=77, on_return=True),
        "link_create",
        {
            "prog_fd": 5,
            "attach_type": 48,
            "uprobe_multi.cnt": 3,
            "uprobe_multi.flags": 1,
            "uprobe_multi.pid": 77,
        },
    ),
    (
        lambda: links.attach_tracing(5, bpf.TRACE_FENTRY, cookie=9),
        "link_create",
        {"prog_fd": 5, "attach_type": 24, "tracing.target_btf_id": 0, "tracing.cookie": 9},
    ),
    (
        lambda: links.attach_perf_event(5, 6, cookie=9),
        "link_create",
        {"prog_fd": 5, "target_fd": 6, "attach_type": 41, "perf_event.bpf_cookie": 9},
    ),
    (
        lambda: links.attach_raw_tracepoint(5, "x", cookie=9),
        "raw_tracepoint",
        {"prog_fd": 5, "cookie": 9},
    ),
    (
        lambda: programs.load_program(
            bpf.PROG_TYPE_TRACING,
            bytes(16),
            flags=16,
            expected_attach_type=24,
            attach_btf_id=1234,
            attach_btf_fd=7,
            btf_fd=8,
            func_info=bytes(16),
            line_info=bytes(48),
            log_level=2,
        ),
        "",
        {
            "prog_type": 26,
            "insn_cnt": 2,
            "log_level": 2,
            "prog_flags": 16,
            "expected_attach_type": 24,
            "prog_btf_fd": 8,
            "func_info_rec_size": 8,
            "func_info_cnt": 2,
            "line_info_rec_size": 16,
            "line_info_cnt": 3,
            "attach_btf_id": 1234,
            "attach_btf_obj_fd": 7,
        },
    ),
    (
        lambda: maps.create_map(1, 4, 8, 99, flags=3, inner_map_fd=5, btf_fd=6, btf_key_type=7),
        "",
        {
            "map_type": 1,
            "key_size": 4,
            "value_size": 8,
            "max_entries": 99,
            "map_flags": 3,
            "inner_map_fd": 5,
            "btf_fd": 6,
            "btf_key_type_id": 7,
        },
    ),
    (lambda: programs.TestRun(5, 16, flags=1, cpu=3).run(), "test", {"prog_fd": 5, "cpu": 3}),
]


@pytest.mark.parametrize(("request_one", "part", "fields"), REQUESTS)
def test_requests_put_values_where_the_kernel_reads_them(
    btf: Btf,
    requests: list[tuple[int, bytes]],
    request_one: Callable[[], object],
    part: str,
    fields: dict[str, int],
) -> None:
    request_one()
    ((_, attr),) = requests
    places = {n: offset(btf, "bpf_attr", f"{part}.{n}" if part else n) for n in fields}
    known = {name: at for name, at in places.items() if at is not None}
    assert known  # an older kernel may lack the newest members
    for name, at in known.items():
        assert struct.unpack_from("=I", attr, at)[0] == fields[name], name


def test_pointers_of_kprobe_multi(btf: Btf, requests: list[tuple[int, bytes]]) -> None:
    links.attach_kprobe_multi(5, addresses=[0xFFFF0000], cookies=[1])
    ((_, attr),) = requests
    values = {}
    for name in ("kprobe_multi.syms", "kprobe_multi.addrs", "kprobe_multi.cookies"):
        at = offset(btf, "bpf_attr", f"link_create.{name}")
        assert at is not None
        (values[name],) = struct.unpack_from("=Q", attr, at)
    assert values["kprobe_multi.syms"] == 0
    assert values["kprobe_multi.addrs"] != 0
    assert values["kprobe_multi.cookies"] != 0


ANSWERS = [
    ("bpf_prog_info", "jited_prog_len", 16),
    ("bpf_prog_info", "xlated_prog_len", 20),
    ("bpf_prog_info", "name", 64),
    ("bpf_prog_info", "run_time_ns", 192),
    ("bpf_prog_info", "run_cnt", 200),
    ("bpf_prog_info", "recursion_misses", 208),
    ("bpf_prog_info", "verified_insns", 216),
    ("bpf_link_info", "kprobe_multi.missed", 32),
    ("bpf_link_info", "perf_event.type", 16),
    ("bpf_link_info", "perf_event.kprobe.missed", 48),
    ("bpf_btf_info", "name", 16),
    ("bpf_btf_info", "kernel_btf", 28),
    ("bpf_attr", "batch.count", 32),
    ("bpf_attr", "batch.map_fd", 36),
    ("perf_event_attr", "config", 8),
    ("perf_event_attr", "sample_period", 16),
    ("perf_event_attr", "bp_type", 52),
    ("perf_event_attr", "config1", 56),
    ("perf_event_attr", "config2", 64),
]


def test_answers_are_read_where_the_kernel_writes_them(btf: Btf) -> None:
    places = {(owner, path): offset(btf, owner, path) for owner, path, _ in ANSWERS}
    known = [(owner, path, at) for owner, path, at in ANSWERS if places[owner, path] is not None]
    assert known == [(owner, path, places[owner, path]) for owner, path, _ in known]
    assert len(known) >= len(ANSWERS) - 3  # link information came after 6.1


def enumerators(prefix: str, module: object) -> list[tuple[str, int]]:
    names = [name for name in vars(module) if name.startswith(prefix)]
    return [(name, getattr(module, name)) for name in names]


def test_numbers_are_those_of_the_kernel(btf: Btf) -> None:
    checked = 0
    for command, name in bpf.COMMAND_NAMES.items():
        assert btf.enum_value(name) == command
    for prefix in ("MAP_TYPE_", "PROG_TYPE_", "TRACE_", "F_"):
        for name, value in enumerators(prefix, bpf):
            kernel = btf.enum_value("BPF_" + name)
            if kernel is not None:  # some flags are macros
                assert kernel == value, name
                checked += 1
    assert checked > 25
    assert btf.enum_value("BPF_PERF_EVENT") == bpf.PERF_EVENT
    assert btf.enum_value("BPF_LSM_MAC") == bpf.LSM_MAC
    for prefix, theirs in (("TYPE_", "PERF_TYPE_"), ("SW_", "PERF_COUNT_SW_")):
        for name, value in enumerators(prefix, perf):
            assert btf.enum_value(theirs + name.removeprefix(prefix)) == value, name


def test_system_call_numbers_are_those_of_this_architecture() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").read_text()
    assert f"__NR_bpf {syscalls._BPF}\n" in header
    assert f"__NR_perf_event_open {syscalls._PERF_EVENT_OPEN}\n" in header


def test_the_kernels_own_btf_objects() -> None:
    handle = programs.kernel_btf_object("vmlinux")
    assert handle is not None
    handle.close()
    assert programs.kernel_btf_object("no_such_module") is None
