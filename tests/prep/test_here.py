"""What stap-prep says of the machine it runs on is true."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pystap.kernel.features import Features
from stap import ROOT, stap

PREP = ROOT / ".venv" / "bin" / "stap-prep"


def report(*words: str | Path) -> tuple[int, dict[str, Any]]:
    """The exit status and the document."""
    done = subprocess.run([*words, PREP, "--json"], capture_output=True, timeout=240)
    assert done.stderr == b""
    return done.returncode, json.loads(done.stdout)


def states(document: dict[str, Any]) -> dict[str, str]:
    """The state of each thing, by group and name."""
    return {f"{row['group']}/{row['name']}": row["state"] for row in document["findings"]}


def check_truth() -> None:
    """Compare with what is tried here in other ways."""
    status, document = report()
    said = states(document)
    features = Features()
    for name, feature in (
        ("uprobes", "uprobe"), ("uprobe.multi", "uprobe_multi"), ("kprobes", "kprobe"),
        ("kprobe.multi", "kprobe_multi"), ("fentry, fexit", "fexit"), ("tracepoints", "tp_btf"),
        ("netfilter hooks", "netfilter"),
    ):  # fmt: skip
        assert (said[f"eBPF/{name}"] == "ok") == features.has(feature), name
    assert status == 0
    assert document["kernel"] == os.uname().release
    assert document["running"] is True
    hello = stap("-e", 'probe begin { println("hello") exit() }', timeout=240)
    assert (hello.out == "hello\n") == (said["eBPF/programs"] == "ok")
    assert (said["system/BTF"] == "ok") == Path("/sys/kernel/btf/vmlinux").exists()


def test_on_this_machine() -> None:
    check_truth()


def test_without_privilege() -> None:
    status, document = report("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")
    said = states(document)
    assert status == 1
    assert said["system/privilege"] == "missing"
    rows = {row["runtime"]: row["missing"] for row in document["runtimes"]}
    assert "privilege" in rows["bpf"]
    assert "privilege" in rows["kernel"]
    assert rows["reference"] == []


def test_in_a_user_namespace() -> None:
    _, document = report("unshare", "-Ur", "--")
    (row,) = (row for row in document["findings"] if row["name"] == "privilege")
    assert row["state"] == "missing"
    assert "user namespace" in row["text"]


def test_another_release_is_not_tried() -> None:
    done = subprocess.run([PREP, "1.2.3-none"], capture_output=True, text=True, timeout=240)
    assert "not running here" in done.stdout.splitlines()[0]
    assert "tried" not in done.stdout


@pytest.mark.lab
def test_in_the_lab() -> None:
    """There functions of the kernel can be probed and modules loaded."""
    check_truth()
    _, document = report()
    said = states(document)
    assert said["eBPF/kernel functions"] == "ok"
    assert said["eBPF/kprobes"] == "ok"
    assert said["kernel modules/loading"] == "ok"
    assert said["kernel modules/signing"] == "ok"
    assert said["system/configuration"] == "ok"
