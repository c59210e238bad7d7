"""What a machine boots from."""

from __future__ import annotations

import lzma
import struct
import subprocess
from pathlib import Path

import pytest

from .image import Archive, write_vmlinux


def test_archive_is_one_that_others_read(tmp_path: Path) -> None:
    archive = Archive()
    archive.directory("directory")
    archive.file("directory/odd", b"seven by", 0o640)
    archive.file("empty", b"")
    path = tmp_path / "archive"
    path.write_bytes(archive.finish())
    with path.open("rb") as file:
        words = ["busybox", "cpio", "-i", "-d"]
        subprocess.run(words, stdin=file, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "directory/odd").read_bytes() == b"seven by"
    assert (tmp_path / "directory/odd").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "empty").read_bytes() == b""


def bz_image(payload: bytes) -> bytes:
    """A boot sector that says where its payload is: one sector of set-up code and 64 bytes on."""
    data = bytearray(1024 + 64)
    data[0x1F1] = 1
    struct.pack_into("<II", data, 0x248, 64, len(payload))
    return bytes(data) + payload


def test_kernel_is_taken_out(tmp_path: Path) -> None:
    kernel = b"\x7fELF and what follows"
    size = struct.pack("<I", len(kernel))
    (tmp_path / "compressed").write_bytes(bz_image(lzma.compress(kernel) + size))
    write_vmlinux(tmp_path / "compressed", tmp_path / "kernel")
    assert (tmp_path / "kernel").read_bytes() == kernel


def test_file_without_kernel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "compressed").write_bytes(bz_image(b"no kernel....."))
    with pytest.raises(ValueError, match="no kernel in it"):
        write_vmlinux(tmp_path / "compressed", tmp_path / "kernel")
