"""What stap-prep says of systems that lack something, each a tree of a few files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prep.trees import CONFIG, RELEASE, complete, write
from pystap.prep.main import main


class Report:
    """What stap-prep --json says of a tree, and its exit status."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        self.status = main(["--json", "--root", str(root), *words])
        self.document: dict[str, Any] = json.loads(capsys.readouterr().out)

    def finding(self, group: str, name: str) -> tuple[str, str, str]:
        """State, text and what to do."""
        for row in self.document["findings"]:
            if (row["group"], row["name"]) == (group, name):
                return row["state"], row["text"], row["todo"]
        raise LookupError(name)

    def states(self) -> set[tuple[str, str]]:
        """Names and states of what is not ok."""
        rows = self.document["findings"]
        return {(row["name"], row["state"]) for row in rows if row["state"] != "ok"}

    def missing(self, runtime: str) -> list[str]:
        """What a runtime lacks."""
        (row,) = (row for row in self.document["runtimes"] if row["runtime"] == runtime)
        assert row["ready"] == (not row["missing"])
        missing: list[str] = row["missing"]
        return missing


@pytest.fixture
def root(tmp_path: Path) -> Path:
    complete(tmp_path)
    return tmp_path


# What cannot be told from files.
UNTOLD = {("sleepable uprobes", "limited"), ("uprobe.multi", "limited")}


def test_a_complete_system(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(root, capsys)
    assert report.status == 0
    assert report.document["kernel"] == RELEASE
    assert report.document["running"] is False
    assert report.document["distribution"] == "debian"
    assert report.states() == {*UNTOLD, ("kprobe.multi", "limited")}
    assert report.missing("bpf") == report.missing("kernel") == []
    assert report.finding("system", "configuration")[1] == f"/boot/config-{RELEASE}"
    debug = report.finding("debug information", "of the kernel")[1]
    assert debug == f"/usr/lib/debug/boot/vmlinux-{RELEASE}"


@pytest.mark.parametrize(
    ("option", "group", "name", "runtime"),
    [
        ("BPF_SYSCALL", "eBPF", "programs", "bpf"),
        ("DEBUG_INFO_BTF", "system", "BTF", "bpf"),
        ("MODULES", "kernel modules", "loading", "kernel"),
    ],
)
def test_an_option_that_a_runtime_needs(
    root: Path, capsys: pytest.CaptureFixture[str], option: str, group: str, name: str,
    runtime: str,
) -> None:  # fmt: skip
    write(root, f"boot/config-{RELEASE}", CONFIG.replace(f"CONFIG_{option}=y\n", ""))
    report = Report(root, capsys)
    assert report.finding(group, name)[:2] == (
        "missing", f"the kernel is built without CONFIG_{option}",
    )  # fmt: skip
    assert report.missing(runtime) == [name]
    assert report.status == 0  # the other one serves


def test_options_that_only_some_probes_need(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = CONFIG
    for option in ("UPROBES=y", "KPROBES=y", "KRETPROBES=y", "FUNCTION_TRACER=y", "BPF_LSM=y"):
        config = config.replace(f"CONFIG_{option}\n", "")
    write(root, f"boot/config-{RELEASE}", config)
    report = Report(root, capsys)
    assert report.missing("bpf") == []
    (bpf, kernel, _) = report.document["runtimes"]
    assert "kernel.function, kprobe.*" in bpf["loses"]
    assert "functions, statements and marks of programs" in bpf["loses"]
    assert "kernel.lsm" in bpf["loses"]
    assert kernel["loses"] == ["functions of the kernel", "returns of kernel functions"]
    assert report.finding("eBPF", "kernel functions")[0] == "limited"


def test_lsm_not_chosen(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, f"boot/config-{RELEASE}", CONFIG.replace(",bpf", ""))
    state, text, todo = Report(root, capsys).finding("eBPF", "lsm")
    assert (state, text) == ("limited", "built in, but not chosen at boot")
    assert todo.startswith("boot with lsm=landlock,lockdown,")
    assert todo.endswith(",tomoyo,bpf")
    write(root, "sys/kernel/security/lsm", "capability,bpf")
    assert Report(root, capsys).finding("eBPF", "lsm")[0] == "ok"


def test_no_configuration(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / f"boot/config-{RELEASE}").unlink()
    report = Report(root, capsys)
    state, text, _ = report.finding("system", "configuration")
    assert state == "limited"
    assert f"/boot/config-{RELEASE}" in text
    assert report.finding("eBPF", "programs")[0] == "limited"
    write(root, f"lib/modules/{RELEASE}/build/.config", CONFIG)
    report = Report(root, capsys)
    assert report.finding("system", "configuration")[1] == f"/lib/modules/{RELEASE}/build/.config"
    assert report.finding("eBPF", "programs")[0] == "ok"


HEADERS = {
    'ID=debian\n': f"apt-get install linux-headers-{RELEASE}",
    'ID=ubuntu\nID_LIKE=debian\n': f"apt-get install linux-headers-{RELEASE}",
    'ID=linuxmint\nID_LIKE="ubuntu debian"\n': f"apt-get install linux-headers-{RELEASE}",
    'ID="rocky"\nID_LIKE="rhel centos fedora"\n': f"dnf install kernel-devel-{RELEASE}",
    'ID=fedora\n': f"dnf install kernel-devel-{RELEASE}",
    'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n': "zypper install kernel-amd64-devel",
    'ID=arch\n': "pacman -S linux-headers",
    'ID=alpine\n': "apk add linux-amd64-dev",
    'ID=unheard-of\n': f"install the headers of {RELEASE}",
}  # fmt: skip


@pytest.mark.parametrize("text", HEADERS)
def test_headers_by_distribution(
    root: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (root / f"lib/modules/{RELEASE}/build/Makefile").unlink()
    write(root, "etc/os-release", text)
    report = Report(root, capsys)
    assert report.finding("kernel modules", "headers")[::2] == ("missing", HEADERS[text])
    assert report.missing("kernel") == ["headers"]


DEBUGINFO = {
    "ID=debian\n": f"apt-get install linux-image-{RELEASE}-dbg",
    "ID=ubuntu\n": f"apt-get install linux-image-{RELEASE}-dbgsym",
    "ID=fedora\n": f"dnf debuginfo-install kernel-{RELEASE}",
    "ID=opensuse-tumbleweed\n": "zypper install kernel-amd64-debuginfo",
    "ID=arch\n": "export DEBUGINFOD_URLS=https://debuginfod.archlinux.org",
    "ID=unheard-of\n": "export DEBUGINFOD_URLS=https://debuginfod.elfutils.org",
}


@pytest.mark.parametrize("text", DEBUGINFO)
def test_debuginfo_by_distribution(
    root: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (root / f"usr/lib/debug/boot/vmlinux-{RELEASE}").unlink()
    write(root, "etc/os-release", text)
    found = Report(root, capsys).finding("debug information", "of the kernel")
    assert found[::2] == ("limited", DEBUGINFO[text])
    assert found[1].startswith(f"not in /lib/modules/{RELEASE}/vmlinux nor ")


def test_a_kernel_that_is_no_package(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / f"lib/modules/{RELEASE}/build/Makefile").unlink()
    (root / f"var/lib/dpkg/info/linux-image-{RELEASE}.list").unlink()
    write(root, "var/lib/dpkg/info/bash.list", "")
    todo = Report(root, capsys).finding("kernel modules", "headers")[2]
    assert todo.endswith("(unless the kernel is from elsewhere: then ask who built it)")


def test_no_compiler(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "usr/bin/make").unlink()
    report = Report(root, capsys)
    assert report.finding("kernel modules", "compiler") == (
        "missing", "make is not installed", "apt-get install gcc make",
    )  # fmt: skip
    (root / "usr/bin/gcc").unlink()
    text = Report(root, capsys).finding("kernel modules", "compiler")[1]
    assert text == "gcc and make are not installed"


@pytest.mark.parametrize(
    ("path", "content", "why"),
    [
        ("sys/module/module/parameters/sig_enforce", "Y\n",
         "/sys/module/module/parameters/sig_enforce"),
        ("sys/kernel/security/lockdown", "none [integrity] confidentiality\n", "lockdown"),
        (f"boot/config-{RELEASE}", CONFIG + "CONFIG_MODULE_SIG_FORCE=y\n",
         "CONFIG_MODULE_SIG_FORCE"),
    ],
)  # fmt: skip
def test_signing_is_enforced(
    root: Path, capsys: pytest.CaptureFixture[str], path: str, content: str, why: str
) -> None:
    write(root, path, content)
    report = Report(root, capsys)
    state, text, todo = report.finding("kernel modules", "signing")
    assert (state, text) == ("missing", f"enforced ({why}): unsigned modules are refused")
    assert "--sign-module" in todo
    assert report.missing("kernel") == ["signing"]
    assert report.missing("bpf") == []


def test_confidentiality(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, "sys/kernel/security/lockdown", "none integrity [confidentiality]\n")
    report = Report(root, capsys)
    assert report.missing("bpf") == ["lockdown"]
    assert report.missing("kernel") == ["lockdown", "signing"]
    assert report.status == 1
    assert report.document["ready"] is False


def test_modules_switched_off(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, "proc/sys/kernel/modules_disabled", "1\n")
    assert Report(root, capsys).missing("kernel") == ["loading"]


def test_hidden_addresses(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, "proc/sys/kernel/kptr_restrict", "2\n")
    assert Report(root, capsys).finding("system", "kptr_restrict") == (
        "limited", "2; addresses of the kernel are hidden",
        "as root: sysctl kernel.kptr_restrict=1",
    )  # fmt: skip


def test_damaged_btf(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, "sys/kernel/btf/vmlinux", "no BTF at all, but as long as a header of it")
    state, text, _ = Report(root, capsys).finding("system", "BTF")
    assert state == "missing"
    assert "not BTF" in text


def test_which_kernel(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, "lib/modules/6.1.0-99-amd64/modules.dep", "")
    assert main(["--root", str(root)]) == 1
    assert capsys.readouterr().err.startswith(
        f"stap-prep: say which kernel of '{root}' is meant"
        " (there: 6.1.0-13-amd64, 6.1.0-99-amd64)\nusage: stap-prep"
    )
    assert Report(root, capsys, RELEASE).status == 0
    report = Report(root, capsys, "6.1.0-99-amd64")
    assert report.missing("kernel") == ["headers"]


@pytest.mark.parametrize("words", [["--what"], ["1", "2"], ["--root", "/nonexistent"]])
def test_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    assert capsys.readouterr().err.startswith("stap-prep: ")


def test_text(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / f"lib/modules/{RELEASE}/build/Makefile").unlink()
    assert main(["--root", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"kernel {RELEASE} (")
    assert lines[0].endswith(", not running here), Debian GNU/Linux 12 (bookworm)")
    at = next(i for i, line in enumerate(lines) if line.startswith("  missing  headers  "))
    assert lines[at + 1].strip() == f"-> apt-get install linux-headers-{RELEASE}"
    assert "  kernel    not ready: headers" in lines
