"""BTF files: finding out that there is none, reading the bytes, the header."""

from __future__ import annotations

import mmap
import os
import struct
import sys

from pystap.kernel.btfwriter import HEADER_SIZE, MAGIC, VERSION

KERNEL_BTF = "/sys/kernel/btf/vmlinux"
_RUNNING = "the bpf runtime needs a kernel built with CONFIG_DEBUG_INFO_BTF"


class BtfError(Exception):
    """BTF that does not hold what was asked of it, or is damaged."""


class BtfMissing(BtfError):  # noqa: N818 - the state of a machine or file
    """There is no usable BTF: ``path`` and ``reason`` say what was looked for and found, ``hint``
    what to do."""

    def __init__(self, path: str, reason: str, hint: str = _RUNNING) -> None:
        super().__init__(f"no usable BTF in {path}: {reason}")
        self.path = path
        self.reason = reason
        self.hint = hint


def size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise _missing(path, error) from None


def read(path: str) -> mmap.mmap | bytes:
    """The file, mapped where possible: sysfs can map BTF on newer kernels only."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            try:
                return mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ)
            except (OSError, ValueError):
                return file.read()
    except OSError as error:
        raise _missing(path, error) from None


def _missing(path: str, error: OSError) -> BtfMissing:
    if isinstance(error, FileNotFoundError) and path == KERNEL_BTF:
        return BtfMissing(path, "the running kernel was built without CONFIG_DEBUG_INFO_BTF")
    return BtfMissing(path, (error.strerror or str(error)).lower())


def sections(data: mmap.mmap | bytes, path: str) -> tuple[int, int, int, int]:
    """Start and length in bytes of the types, then of the strings."""
    if len(data) < HEADER_SIZE:
        raise BtfMissing(path, f"only {len(data)} bytes")
    magic, version, _, head, types, types_size, strings, strings_size = struct.unpack_from(
        "=HBBIIIII", data
    )
    if magic == int.from_bytes(MAGIC.to_bytes(2, "little"), "big"):
        raise BtfMissing(path, f"not of this machine's byte order ({sys.byteorder}-endian)")
    if magic != MAGIC:
        raise BtfMissing(path, "not BTF (wrong magic number)")
    if version != VERSION:
        raise BtfMissing(path, f"BTF version {version} is unknown")
    if max(types + types_size, strings + strings_size) + head > len(data) or types_size % 4:
        raise BtfMissing(path, "cut off")
    end = head + strings + strings_size
    if strings_size == 0 or data[end - 1] != 0:
        raise BtfMissing(path, "its strings do not end")
    return head + types, types_size, head + strings, strings_size
