"""The types of a kernel that does not run, from the file that is started or from its own."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from pystap.debuginfo.btf import Btf
from pystap.debuginfo.btffile import BtfMissing
from pystap.debuginfo.debugfiles import DebugFiles
from pystap.debuginfo.kernelbtf import types_of
from pystap.debuginfo.kernelfiles import KernelFiles
from pystap.kernel.btfwriter import INT_SIGNED, BtfWriter
from stap import stap

RELEASE = "9.9.9-made-up"
SECTORS = 3
PACKERS = {"plain": ["cat"], "gz": ["gzip"], "xz": ["xz"], "zst": ["zstd", "-q"]}


@pytest.fixture(scope="module")
def vmlinux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel without symbols and debug information."""
    writer = BtfWriter()
    integer = writer.integer("int", 4, INT_SIGNED)
    node = writer.struct("node", 8, [("value", integer, 0), ("size", integer, 4)])
    prototype = writer.prototype(integer, [("node", writer.pointer(node)), ("n", integer)])
    for name in ("do_work", "do_words", "done"):
        writer.function(name, prototype, 0)
    home = tmp_path_factory.mktemp("kernel")
    (home / "btf").write_bytes(writer.blob())
    words = ["gcc", "-x", "c", "-c", "-o", home / "empty.o", "/dev/null"]
    subprocess.run(words, check=True)
    words = ["objcopy", "--add-section", f".BTF={home / 'btf'}", home / "empty.o"]
    subprocess.run([*words, home / "vmlinux"], check=True)
    return home / "vmlinux"


def started(vmlinux: Path, packer: list[str], to: Path) -> Path:
    """The file that is started, as Documentation/arch/x86/boot.rst has it."""
    content = vmlinux.read_bytes()
    done = subprocess.run(packer, input=content, check=True, capture_output=True)
    payload = done.stdout + struct.pack("<I", len(content))
    begin = (SECTORS + 1) * 512
    head = bytearray(begin)
    head[0x1F1] = SECTORS
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 16, len(payload))
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(head + bytes(16) + payload + b"code behind")
    return to


def files(root: Path, build: str = "") -> KernelFiles:
    return KernelFiles(DebugFiles(), RELEASE, build, str(root) if not build else "")


def has_the_types(found: str) -> bool:
    return Btf.open(path=found).func("do_work") is not None


@pytest.mark.parametrize("packing", PACKERS)
def test_of_the_file_that_is_started(packing: str, vmlinux: Path, tmp_path: Path) -> None:
    to = started(vmlinux, PACKERS[packing], tmp_path / f"boot/vmlinuz-{RELEASE}")
    found = types_of(files(tmp_path), str(tmp_path / "cache"))
    assert has_the_types(found)
    to.write_bytes(b"x" * to.stat().st_size)  # another file: nothing of the first is used
    with pytest.raises(BtfMissing, match=f"{to}: not a kernel for this machine"):
        types_of(files(tmp_path), str(tmp_path / "cache"))


def test_of_its_own_file(vmlinux: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lib/modules" / RELEASE
    folder.mkdir(parents=True)
    (folder / "vmlinux").symlink_to(vmlinux)
    cache = tmp_path / "cache"
    found = types_of(files(tmp_path), str(cache))
    assert has_the_types(found)
    assert [str(path) for path in cache.iterdir()] == [found]
    assert types_of(files(tmp_path), str(cache)) == found


def test_none(tmp_path: Path) -> None:
    with pytest.raises(BtfMissing, match=f"kernel {RELEASE}: no file of it is here") as caught:
        types_of(files(tmp_path), str(tmp_path))
    assert caught.value.hint.endswith(
        f"{tmp_path}/lib/modules/{RELEASE}/vmlinux or {tmp_path}/boot/vmlinuz-{RELEASE}"
    )


def test_damaged(vmlinux: Path, tmp_path: Path) -> None:
    to = started(vmlinux, PACKERS["xz"], tmp_path / f"boot/vmlinuz-{RELEASE}")
    content = bytearray(to.read_bytes())
    content[(SECTORS + 1) * 512 + 16 + 40] ^= 0xFF
    to.write_bytes(content)
    with pytest.raises(BtfMissing, match=f"{to}: xz: "):
        types_of(files(tmp_path), str(tmp_path / "cache"))


def test_functions_of_an_installed_kernel(vmlinux: Path, tmp_path: Path) -> None:
    """By the headers it is built for and what lies beside them."""
    build = tmp_path / "usr/src/linux-headers"
    (build / "include/generated").mkdir(parents=True)
    (tmp_path / "usr/lib/modules" / RELEASE).mkdir(parents=True)
    header = build / "include/generated/utsrelease.h"
    header.write_text(f'#define UTS_RELEASE "{RELEASE}"\n')
    script = 'probe kernel.function("do_w*") { println($n, $node->value) }'
    words: list[str | Path] = ["--runtime=kernel", "-r", build, "-p2", "-e", script]
    done = stap(*words)
    assert f"missing x86_64 kernel/module debuginfo [man warning::debuginfo] under '{build}'" in (
        done.err
    )
    assert f"without it: the package of the kernel: {tmp_path}/boot/vmlinuz-{RELEASE}" in done.err
    started(vmlinux, PACKERS["zst"], tmp_path / f"boot/vmlinuz-{RELEASE}")
    done = stap(*words)
    assert (done.err, done.status) == ("", 0)
    assert 'kernel.function("do_work") ' in done.out
    assert 'kernel.function("do_words") ' in done.out
    done = stap(*words[:-1], 'probe kernel.function("do_wrk") { println($n) }')
    assert "no function 'do_wrk'" in done.err
    assert "hint: did you mean do_work" in done.err
    done = stap(*words[:-1], 'probe kernel.function("done") { println($node->valu) }')
    assert "alternatives: value" in done.err
