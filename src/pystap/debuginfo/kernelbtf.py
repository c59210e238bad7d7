"""The types (BTF) of a kernel that does not run.

They are in its file, with debug information or without, and so in the compressed one that is
started (``/boot/vmlinuz-RELEASE``), which every kernel package has.  What was found is kept.
"""

from __future__ import annotations

import os
import struct

from pystap.debuginfo.btffile import BtfMissing
from pystap.debuginfo.elf import Elf, ElfError
from pystap.debuginfo.packing import unpacked
from pystap.typing import TYPE_CHECKING, Final
from pystap.wholefile import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.debuginfo.kernelfiles import KernelFiles

# Offsets in the header of a file that is started (Documentation/arch/x86/boot.rst)
_SECTORS: Final = 0x1F1  # of the code that starts, besides the first
_SECTOR: Final = 512
_MAGIC: Final = 0x202, b"HdrS"
_PAYLOAD: Final = 0x248  # where it begins behind that code, and its length
_LENGTH: Final = 4  # bytes at the end of the payload: the size of what is unpacked


def types_of(files: KernelFiles, directory: str) -> str:
    """A file in ``directory`` with the BTF of a kernel.  Raises :class:`BtfMissing`."""
    said = ""
    ways = (
        (list(files.kernel_places()), _section_of),
        (list(files.started_files()), _section_of_started),
    )
    for paths, read in ways:
        for path in paths:
            if not os.path.exists(path):
                continue
            try:
                if found := _kept(path, directory, read):
                    return found
                said = said or f"{path} has no section .BTF"
            except (OSError, ElfError, ValueError) as problem:
                said = said or f"{path}: {problem}"
    raise BtfMissing(
        f"kernel {files.release or files.build}",
        said or "no file of it is here",
        f"the files that tell its types: {' or '.join(paths[0] for paths, _ in ways if paths)}",
    )


def _kept(path: str, directory: str, read: Callable[[str], bytes]) -> str:
    """The file with what was read of a file, now or before; empty when it has nothing."""
    of = os.stat(path)
    kept = os.path.join(
        directory, f"btf-{of.st_dev:x}-{of.st_ino:x}-{of.st_mtime_ns:x}-{of.st_size:x}"
    )
    if not os.path.exists(kept):
        raw = read(path)
        if not raw:
            return ""
        write_whole(kept, raw)
    return kept


def _section_of(path: str) -> bytes:
    with Elf(path) as elf:
        section = elf.section(".BTF")
        return b"" if section is None else elf.section_bytes(section)


def _section_of_started(path: str) -> bytes:
    """The same of the kernel in a file that is started.  Raises ValueError for other files."""
    with open(path, "rb") as file:
        data = file.read()
    at, magic = _MAGIC
    if data[at : at + len(magic)] != magic:
        raise ValueError("not a kernel for this machine")
    memory = os.memfd_create("vmlinux", os.MFD_CLOEXEC)
    try:
        os.write(memory, kernel_in(data))
        return _section_of(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)


def kernel_in(data: bytes) -> bytes:
    """What is started by the code of a file, unpacked.  Raises :class:`UnpackError`."""
    begin, size = struct.unpack_from("<II", data, _PAYLOAD)
    begin += ((data[_SECTORS] or 4) + 1) * _SECTOR
    return unpacked(data[begin : begin + size - _LENGTH])
