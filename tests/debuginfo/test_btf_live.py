"""The reader against the BTF of the running kernel."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pystap.debuginfo import btftypes as t
from pystap.debuginfo.btf import (
    KIND_ENUM,
    KIND_FUNC,
    KIND_STRUCT,
    KIND_TYPEDEF,
    Btf,
    BtfError,
    BtfMissing,
)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def btf(cache_dir: Path) -> Btf:
    return Btf.open(cache_dir)


def test_task_struct(btf: Btf) -> None:
    task = btf.find("task_struct", KIND_STRUCT)
    assert task is not None
    assert btf.find("task_struct", KIND_ENUM) is None
    view = btf.type(task)
    assert isinstance(view, t.Struct)
    assert view.name == "task_struct"
    assert not view.is_union
    assert btf.sizeof(task) == view.size > 1000
    kinds = {
        name: found for name in ("comm", "pid", "real_parent") if (found := btf.member(task, name))
    }
    assert btf.c_name(kinds["comm"][0]) == "char[16]"
    assert btf.c_name(kinds["real_parent"][0], "p") == "struct task_struct *p"
    assert btf.c_name(kinds["pid"][0]) == "pid_t"
    assert btf.sizeof(kinds["comm"][0]) == 16
    assert btf.sizeof(kinds["pid"][0]) == 4
    assert btf.member(task, "no_such_member") is None


def test_member_views_agree_with_member_lookups(btf: Btf) -> None:
    task = btf.find("task_struct", KIND_STRUCT)
    assert task is not None
    members = btf.members(task)
    assert len(members) > 100
    for member in members:
        found = (member.type, member.bit_offset, member.bitfield_size)
        assert btf.member(task, member.name) == found
    assert any(member.bitfield_size for member in members)


def test_anonymous_members_are_looked_through(btf: Btf) -> None:
    page = btf.find("page", KIND_STRUCT)
    assert page is not None
    view = btf.type(page)
    assert isinstance(view, t.Struct)
    assert "mapping" not in [m.name for m in view.members]
    assert btf.member(page, "mapping") is not None


def test_resolve_strips_names_and_qualifiers(btf: Btf) -> None:
    pid = btf.find("pid_t", KIND_TYPEDEF)
    assert pid is not None
    assert btf.type(btf.resolve(pid)) == t.Int("int", 4, 1, 32)


def test_function_prototype(btf: Btf) -> None:
    proto = btf.func("vfs_read")
    assert proto is not None
    assert [p.name for p in proto.params] == ["file", "buf", "count", "pos"]
    assert [btf.c_name(p.type) for p in proto.params] == [
        "struct file *",
        "char *",
        "size_t",
        "loff_t *",
    ]
    assert btf.c_name(proto.result) == "ssize_t"
    assert btf.func("no_such_function") is None


def test_function_names(btf: Btf) -> None:
    names = dict(btf.names(KIND_FUNC))
    assert names["vfs_read"] == btf.find("vfs_read", KIND_FUNC)
    assert len(names) > 10_000


def test_enumerators(btf: Btf) -> None:
    assert btf.enum_value("BPF_MAP_TYPE_RINGBUF") == 27
    assert btf.enum_value("PIDTYPE_PID") == 0
    assert btf.enum_value("no_such_enumerator") is None
    found = btf.enumerator("BPF_PROG_TYPE_SYSCALL")
    assert found is not None
    assert btf.c_name(found[0]) == "enum bpf_prog_type"


def test_tracepoint_parameters_have_the_names_of_the_source(btf: Btf) -> None:
    tracepoint = btf.tracepoint("sched_switch")
    assert tracepoint is not None
    names = [p.name for p in tracepoint.params()]
    assert names[:3] == ["preempt", "prev", "next"]
    exec_point = btf.tracepoint("sched_process_exec")
    assert exec_point is not None
    assert [(p.name, btf.c_name(p.type)) for p in exec_point.params()] == [
        ("p", "struct task_struct *"),
        ("old_pid", "pid_t"),
        ("bprm", "struct linux_binprm *"),
    ]
    assert btf.tracepoint("no_such_tracepoint") is None


def test_every_tracepoint_has_named_parameters(btf: Btf) -> None:
    """Names come from a function of the same name: none may fall back to arg1."""
    tracepoints = btf.tracepoints()
    names = [tracepoint.name for tracepoint in tracepoints]
    assert len(names) > 500
    assert names == sorted(names)
    for tracepoint in tracepoints:
        params = tracepoint.params()
        assert [p.name for p in params if p.name == "arg1"] == [], tracepoint.name
        assert not any(p.name.endswith("__nullable") for p in params)


def test_events_of_a_class_are_listed_under_their_own_names(btf: Btf) -> None:
    names = {tracepoint.name for tracepoint in btf.tracepoints()}
    assert {"block_rq_issue", "block_rq_complete", "sys_enter", "softirq_entry"} <= names


def test_the_index_on_disk_answers_alike(btf: Btf, cache_dir: Path) -> None:
    fresh = Btf.open(None)
    assert btf.end_id == fresh.end_id
    assert len(list(cache_dir.glob("btf-vmlinux-*.index"))) == 1
    again = Btf.open(cache_dir)
    for table in ("offsets", "names", "enumerators", "tracepoints"):
        assert bytes(getattr(again.index, table)) == bytes(getattr(fresh.index, table))


def test_the_index_makes_listing_fast(btf: Btf, cache_dir: Path) -> None:
    btf.tracepoints()
    indexed = min(cpu_time(lambda: Btf.open(cache_dir).tracepoints()) for _ in range(3))
    assert indexed < 2 * cpu_unit()


def test_building_without_index_is_fast_enough() -> None:
    assert cpu_time(lambda: Btf.open(None).tracepoints()) < 40 * cpu_unit()


def cpu_time(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def cpu_unit() -> float:
    """What a fixed piece of Python costs here (about 10 ms): emulated machines are slower."""
    table = {number: str(number) for number in range(1000)}
    return min(cpu_time(lambda: [table[n % 1000] for n in range(200_000)]) for _ in range(3))


def test_bad_ids_are_errors(btf: Btf) -> None:
    with pytest.raises(BtfError, match="no type with id 99999999"):
        btf.type(99999999)
    with pytest.raises(BtfError, match="'void' has no size"):
        btf.sizeof(0)
    assert btf.c_name(0) == "void"
    assert btf.member(0, "x") is None


def test_every_type_can_be_viewed_and_spelled(btf: Btf) -> None:
    for type_id in range(0, btf.end_id, 7):
        view = btf.type(type_id)
        if not isinstance(view, (t.DeclTag, t.Datasec)):
            assert btf.c_name(type_id) != ""


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BtfMissing) as caught:
        Btf.open(None, str(tmp_path / "vmlinux"))
    assert caught.value.reason == "no such file or directory"
