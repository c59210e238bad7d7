from __future__ import annotations

import errno
import mmap
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pystap.debuginfo.kallsyms import Kallsyms
from pystap.kernel import bpf, links, maps, perf, programs
from pystap.kernel.cpu import online_cpus
from pystap.kernel.features import Features

from .asm import (
    EXIT,
    MAP_FD,
    MAP_VALUE,
    R0,
    R1,
    R2,
    R3,
    R4,
    R10,
    add,
    atomic_add64,
    call,
    mov,
    mov_reg,
    store64,
    wide,
)
from .target import SOURCE, Target

GET_ATTACH_COOKIE, RINGBUF_OUTPUT, UPDATE_ELEM = 174, 130, 2


class Counter:
    """A map of counts that a program fills: value 0 counts hits."""

    def __init__(self, kind: int, attach_type: int = 0, btf_id: int = 0) -> None:
        self.map = maps.create_map(bpf.MAP_TYPE_ARRAY, 4, 8, 1, flags=bpf.F_MMAPABLE)
        code = wide(R1, self.map.fd, MAP_VALUE) + mov(R2, 1) + atomic_add64(R1, 0, R2)
        try:
            self.program = programs.load_program(
                kind,
                code + mov(R0, 0) + EXIT,
                expected_attach_type=attach_type,
                attach_btf_id=btf_id,
            )
        except bpf.BpfError:
            self.map.close()
            raise

    @property
    def hits(self) -> int:
        value = self.map.lookup(bytes(4))
        assert value is not None
        return int(struct.unpack("=Q", value)[0])

    def close(self) -> None:
        self.program.close()
        self.map.close()


@contextmanager
def counter(kind: int, attach_type: int = 0, btf_id: int = 0) -> Iterator[Counter]:
    made = Counter(kind, attach_type, btf_id)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def cookie_collector(attach_type: int = 0) -> Iterator[tuple[programs.Program, maps.Map]]:
    """A kprobe-type program that adds a key for each cookie it sees."""
    with maps.create_map(bpf.MAP_TYPE_HASH, 8, 8, 64) as seen:
        code = (
            call(GET_ATTACH_COOKIE)
            + store64(R10, -8, R0)
            + wide(R1, seen.fd, MAP_FD)
            + mov_reg(R2, R10)
            + add(R2, -8)
            + mov_reg(R3, R2)
            + mov(R4, 0)
            + call(UPDATE_ELEM)
            + mov(R0, 0)
            + EXIT
        )
        with programs.load_program(
            bpf.PROG_TYPE_KPROBE, code, expected_attach_type=attach_type
        ) as program:
            yield program, seen


def cookies(seen: maps.Map) -> set[int]:
    return {struct.unpack("=Q", key)[0] for key, _ in seen.items()}


@contextmanager
def works_exactly_with(feature: str) -> Iterator[None]:
    """What happens inside must succeed where the feature is, and be refused where it is not."""
    if Features().has(feature):
        yield
    else:
        with pytest.raises(bpf.BpfError):
            yield


@pytest.fixture(scope="session")
def target_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("target")
    (directory / "t.c").write_text(SOURCE)
    subprocess.run(["gcc", "-O1", "-o", str(directory / "t"), str(directory / "t.c")], check=True)
    return directory / "t"


@pytest.fixture
def target(target_path: Path) -> Iterator[Target]:
    process = Target(target_path)
    yield process
    process.close()


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


# ---------------------------------------------------------------- clocks and counters


@pytest.mark.parametrize("rate", [{"period": 1_000_000}, {"frequency": 1000}])
def test_clock_fires_until_closed(rate: dict[str, int]) -> None:
    with counter(bpf.PROG_TYPE_PERF_EVENT) as count:
        events = [perf.open_clock(cpu, **rate) for cpu in online_cpus()]
        attached = [links.attach_perf_event(count.program.fd, e.fd) for e in events]
        spin(0.2)
        for handle in [*attached, *events]:
            handle.close()
        hits = count.hits
        assert 20 < hits < 300 * len(online_cpus())
        spin(0.02)
        assert count.hits == hits


def test_disable_and_enable() -> None:
    with (
        counter(bpf.PROG_TYPE_PERF_EVENT) as count,
        perf.open_event(
            perf.TYPE_SOFTWARE, perf.SW_CPU_CLOCK, pid=0, period=200_000, disabled=True
        ) as event,
        links.attach_perf_event(count.program.fd, event.fd),
    ):
        spin(0.02)
        assert count.hits == 0
        event.enable()
        spin(0.05)
        event.disable()
        hits = count.hits
        assert hits > 0
        spin(0.02)
        assert count.hits == hits


def test_program_by_ioctl() -> None:
    with counter(bpf.PROG_TYPE_PERF_EVENT) as count:
        with perf.open_event(
            perf.TYPE_SOFTWARE, perf.SW_CPU_CLOCK, pid=0, period=200_000
        ) as event:
            event.set_program(count.program.fd)
            spin(0.05)
        hits = count.hits
        assert hits > 0
        spin(0.02)
        assert count.hits == hits


def test_software_counter_counts() -> None:
    with (
        mmap.mmap(-1, 64 * mmap.PAGESIZE) as fresh,
        perf.open_event(perf.TYPE_SOFTWARE, perf.SW_PAGE_FAULTS, pid=0) as event,
    ):
        fresh.madvise(mmap.MADV_NOHUGEPAGE)
        before = event.count()
        for page in range(64):
            fresh[page * mmap.PAGESIZE] = 1
        assert event.count() >= before + 64


def test_errors_say_what_was_asked() -> None:
    with pytest.raises(perf.PerfError) as caught:
        perf.open_clock(99999, period=1)
    assert caught.value.errno in (errno.EINVAL, errno.ENODEV)
    assert caught.value.detail == "cpu clock of cpu 99999"
    with pytest.raises(perf.PerfError, match="perf_event_open"):
        perf.open_event(perf.TYPE_SOFTWARE, 9999, cpu=0)
    with pytest.raises(perf.PerfError) as caught:
        perf.pmu_type("no_such_pmu")
    assert caught.value.detail == "the kernel has no no_such_pmu events"
    with (
        perf.open_clock(0, period=10**9) as event,
        pytest.raises(perf.PerfError, match="PERF_EVENT_IOC_SET_BPF: Bad file"),
    ):
        event.set_program(-1)


def test_uprobe_format() -> None:
    assert perf.pmu_bit("uprobe", "retprobe") == 1
    assert perf.pmu_field("uprobe", "ref_ctr_offset") == (32, 63)


# ---------------------------------------------------------------- kernel functions


def read_something() -> None:
    Path("/proc/self/stat").read_text()


def test_kprobe_with_cookie() -> None:
    with (
        works_exactly_with("kprobe"),
        cookie_collector() as (program, seen),
        perf.open_kprobe("vfs_read") as event,
        links.attach_perf_event(program.fd, event.fd, cookie=5) as link,
    ):
        read_something()
        assert cookies(seen) == {5}
        assert links.link_missed(link.fd) == 0


def test_kretprobe_and_kprobe_by_address() -> None:
    (address,) = Kallsyms().addresses("vfs_read")
    for options in ({"symbol": "vfs_read", "on_return": True}, {"address": address}):
        with (
            works_exactly_with("kprobe"),
            counter(bpf.PROG_TYPE_KPROBE) as count,
            perf.open_kprobe(**options) as event,  # type: ignore[arg-type]
            links.attach_perf_event(count.program.fd, event.fd),
        ):
            read_something()
            assert count.hits > 0


def test_kprobe_of_a_missing_function() -> None:
    with pytest.raises(perf.PerfError) as caught:
        perf.open_kprobe("no_such_function")
    if Features().has("kprobe"):
        assert caught.value.errno == errno.ENOENT
        assert caught.value.detail == "kprobe no_such_function"
    else:
        assert caught.value.detail == "the kernel has no kprobe events"


def test_kprobe_multi() -> None:
    with (
        works_exactly_with("kprobe_multi"),
        cookie_collector(bpf.TRACE_KPROBE_MULTI) as (program, seen),
        links.attach_kprobe_multi(
            program.fd, symbols=["vfs_read", "vfs_open"], cookies=[7, 8]
        ) as link,
    ):
        read_something()
        assert cookies(seen) == {7, 8}
        assert links.link_missed(link.fd) == 0


@pytest.mark.parametrize("kind", ["fentry", "fexit"])
def test_trampolines(kind: str) -> None:
    from pystap.debuginfo.btf import KIND_FUNC, Btf

    attach_type = {"fentry": bpf.TRACE_FENTRY, "fexit": bpf.TRACE_FEXIT}[kind]
    type_id = Btf.open().find("vfs_read", KIND_FUNC)
    assert type_id is not None
    with (
        works_exactly_with(kind),
        counter(bpf.PROG_TYPE_TRACING, attach_type, type_id) as count,
        links.attach_tracing(count.program.fd, attach_type, cookie=1),
    ):
        read_something()
        assert count.hits > 0


# ---------------------------------------------------------------- uprobes


def test_uprobe_counts_calls_of_one_process(target: Target, target_path: Path) -> None:
    with (
        Target(target_path) as bystander,
        counter(bpf.PROG_TYPE_KPROBE) as count,
        perf.open_uprobe(target.path, target.offset("work"), pid=target.process.pid) as event,
        links.attach_perf_event(count.program.fd, event.fd),
    ):
        assert target.ask(5) == (10, 12)
        assert target.ask(6) == (12, 13)
        bystander.ask(1)
        assert count.hits == 2
    target.ask(7)


def test_uprobe_of_every_process_and_return(target: Target, target_path: Path) -> None:
    with (
        Target(target_path) as second,
        counter(bpf.PROG_TYPE_KPROBE) as count,
        perf.open_uprobe(target.path, target.offset("work"), on_return=True) as event,
        links.attach_perf_event(count.program.fd, event.fd),
    ):
        target.ask(1)
        second.ask(1)
        assert count.hits == 2


def test_semaphore_is_raised_while_attached(target: Target) -> None:
    assert target.ask(1) == (2, 8)
    with (
        counter(bpf.PROG_TYPE_KPROBE) as count,
        perf.open_uprobe(
            target.path, target.offset("other"), semaphore=target.offset("semaphore")
        ) as event,
        links.attach_perf_event(count.program.fd, event.fd),
    ):
        assert target.ask(1) == (102, 8)
        assert count.hits == 1
    assert target.ask(1) == (2, 8)


def test_perf_link_cookie(target: Target) -> None:
    with (
        cookie_collector() as (program, seen),
        perf.open_uprobe(target.path, target.offset("work")) as event,
        links.attach_perf_event(program.fd, event.fd, cookie=0xABCDEF0123456789),
    ):
        target.ask(1)
        assert cookies(seen) == {0xABCDEF0123456789}


def test_uprobe_multi(target: Target) -> None:
    places = [target.offset("work"), target.offset("other")]
    with (
        works_exactly_with("uprobe_multi"),
        cookie_collector(bpf.TRACE_UPROBE_MULTI) as (program, seen),
    ):
        with links.attach_uprobe_multi(program.fd, target.path, places, cookies=[11, 22]) as link:
            target.ask(1)
            assert cookies(seen) == {11, 22}
            assert links.link_missed(link.fd) == 0
        with pytest.raises(ValueError, match="1 values for 2 places"):
            links.attach_uprobe_multi(program.fd, target.path, places, cookies=[1])


def test_uprobe_multi_return_pid_and_semaphore(target: Target, target_path: Path) -> None:
    with (
        works_exactly_with("uprobe_multi"),
        Target(target_path) as bystander,
        counter(bpf.PROG_TYPE_KPROBE, bpf.TRACE_UPROBE_MULTI) as count,
        links.attach_uprobe_multi(
            count.program.fd,
            target.path,
            [target.offset("other")],
            semaphores=[target.offset("semaphore")],
            pid=target.process.pid,
            on_return=True,
        ),
    ):
        assert target.ask(1)[0] == 102
        bystander.ask(1)
        assert count.hits == 1
    assert target.ask(1)[0] == 2


def test_uprobe_in_a_missing_file() -> None:
    with pytest.raises(perf.PerfError) as caught:
        perf.open_uprobe("/nonexistent/program", 0x10)
    assert caught.value.errno == errno.ENOENT
    assert caught.value.detail == "uprobe /nonexistent/program+0x10"


# ---------------------------------------------------------------- tracing programs


def test_tp_btf_with_cookie(tmp_path: Path) -> None:
    from pystap.debuginfo.btf import Btf

    tracepoint = Btf.open().tracepoint("sys_enter")
    assert tracepoint is not None
    with (
        works_exactly_with("tp_btf_cookie"),
        maps.create_map(bpf.MAP_TYPE_ARRAY, 4, 8, 1, flags=bpf.F_MMAPABLE) as m,
    ):
        code = (
            call(GET_ATTACH_COOKIE)
            + wide(R1, m.fd, MAP_VALUE)
            + store64(R1, 0, R0)
            + mov(R0, 0)
            + EXIT
        )
        with (
            programs.load_program(
                bpf.PROG_TYPE_TRACING,
                code,
                expected_attach_type=bpf.TRACE_RAW_TP,
                attach_btf_id=tracepoint.typedef_id,
            ) as program,
            links.attach_tracing(program.fd, bpf.TRACE_RAW_TP, cookie=77),
        ):
            os.getppid()
        assert m.lookup(bytes(4)) == struct.pack("=Q", 77)


def test_raw_tracepoint_cookie() -> None:
    with (
        works_exactly_with("raw_tracepoint_cookie"),
        maps.create_map(bpf.MAP_TYPE_ARRAY, 4, 8, 1, flags=bpf.F_MMAPABLE) as m,
    ):
        code = call(GET_ATTACH_COOKIE) + wide(R1, m.fd, MAP_VALUE) + store64(R1, 0, R0)
        code += mov(R0, 0) + EXIT
        with (
            programs.load_program(bpf.PROG_TYPE_RAW_TRACEPOINT, code) as program,
            links.attach_raw_tracepoint(program.fd, "sys_enter", cookie=78),
        ):
            os.getppid()
        assert m.lookup(bytes(4)) == struct.pack("=Q", 78)


TRACEFS_CHILD = """
import os, sys
sys.path.insert(0, sys.argv[1])
from kernel.test_perf import counter
from pystap.kernel import bpf, links, perf, tracefs

if tracefs.tracefs_path() is None:
    assert tracefs.mount_tracefs() == "/sys/kernel/tracing"
assert tracefs.tracefs_path() is not None
found = tracefs.tracepoint_format("sched", "sched_process_fork")
assert found.tracepoint_id == tracefs.tracepoint_id("sched", "sched_process_fork")
fields = {field.name: field for field in found.fields}
assert fields["common_pid"].ctype == "int" and fields["common_pid"].signed
assert fields["child_pid"].size == 4
assert "child_pid" in found.print_format
try:
    tracefs.tracepoint_id("sched", "nope")
    raise SystemExit("no error for a missing tracepoint")
except tracefs.TracefsError as error:
    assert str(error) == "no tracepoint sched:nope"
with (
    counter(bpf.PROG_TYPE_TRACEPOINT) as count,
    perf.open_tracepoint(found.tracepoint_id) as event,
    links.attach_perf_event(count.program.fd, event.fd),
):
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    assert count.hits >= 1
print("done")
"""


def test_tracefs_in_a_mount_namespace_of_its_own() -> None:
    """tracefs is mounted where only the child sees it."""
    where = str(Path(__file__).parents[1])
    result = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", TRACEFS_CHILD, where],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.stderr) == ("done\n", "")
