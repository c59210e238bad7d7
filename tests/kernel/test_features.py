from __future__ import annotations

import os
from pathlib import Path

import pytest

from pystap.debuginfo.btf import Btf, BtfMissing
from pystap.kernel.features import Features

ALWAYS = (
    "bpf",
    "mmapable_array",
    "ring_buffer",
    "syscall_program",
    "bpf_loop",
    "for_each_map_elem",
    "raw_tracepoint",
    "tp_btf",
    "perf_clock",
    "perf_cookie",
    "uprobe",
)


@pytest.fixture(scope="module")
def btf() -> Btf:
    return Btf.open()


def test_the_baseline_is_there(btf: Btf) -> None:
    report = Features(btf=lambda: btf).report()
    assert {name: report[name] for name in ALWAYS} == dict.fromkeys(ALWAYS, True)
    assert len(report) > len(ALWAYS)


def test_kprobes_are_found_exactly_where_the_kernel_has_them(btf: Btf) -> None:
    has_pmu = os.path.exists("/sys/bus/event_source/devices/kprobe")
    assert Features(btf=lambda: btf).has("kprobe") == has_pmu


def test_kernel_functions_by_name(btf: Btf) -> None:
    features = Features(btf=lambda: btf)
    assert features.has("kfunc:tcp_reno_ssthresh")
    assert not features.has("kfunc:no_such_function")


def test_the_refusal_is_kept() -> None:
    features = Features()
    if not features.has("kprobe_multi"):
        assert features.errors["kprobe_multi"].errno
    assert features.has("bpf")
    assert "bpf" not in features.errors


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="no feature is called telepathy"):
        Features().has("telepathy")


def test_each_feature_is_probed_once(btf: Btf, monkeypatch: pytest.MonkeyPatch) -> None:
    from pystap.kernel import features as module

    calls = []
    monkeypatch.setitem(module._PROBES, "bpf", lambda _: calls.append(1) is None)
    features = Features()
    assert features.has("bpf")
    assert features.has("bpf")
    assert len(calls) == 1


def test_a_kernel_without_btf(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Btf:
        raise BtfMissing("/sys/kernel/btf/vmlinux", "no such file")

    features = Features(btf=missing)
    assert not features.has("tp_btf")
    assert not features.has("kfunc:tcp_reno_ssthresh")
    assert features.has("ring_buffer")


def test_answers_are_kept_for_the_same_kernel_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pystap.kernel import features as module

    memo = tmp_path / "deep" / "features"
    first = Features(memo)
    assert first.has("ring_buffer")
    assert not first.has("kfunc:no_such_function")
    assert "ring_buffer=1" in memo.read_text().split("\n")

    def broken(_: Features) -> bool:
        raise AssertionError("probed again")

    monkeypatch.setitem(module._PROBES, "ring_buffer", broken)
    assert Features(memo).has("ring_buffer")
    with pytest.raises(AssertionError, match="probed again"):
        Features(memo, key="another kernel").has("ring_buffer")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0garbage\n=\n===1\n", b"key\nbpf=maybe\n"])
def test_damaged_memo_is_ignored(tmp_path: Path, content: bytes) -> None:
    memo = tmp_path / "features"
    memo.write_bytes(content)
    assert Features(memo).has("bpf")
    assert "bpf=1" in memo.read_text().split("\n")


def test_unwritable_memo_is_reported_not_fatal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    features = Features(tmp_path / "file" / "memo")
    assert features.has("bpf")
    assert isinstance(features.memo_error, OSError)


def test_without_privilege_nothing_is_found_nor_kept(tmp_path: Path) -> None:
    """In a child that gives up its capabilities for good."""
    memo = tmp_path / "features"
    os.chmod(tmp_path, 0o777)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        features = Features(memo)
        verdict = f"{features.has('bpf')} {features.has('raw_tracepoint')}"
        os.write(writing, verdict.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        assert pipe.read().endswith(" False")
    assert not memo.exists()
