"""Compressed files: how they are known, and what writes out what is in them."""

from __future__ import annotations

import os
import subprocess

from pystap.typing import Final, NamedTuple


class _Packing(NamedTuple):
    """A way to compress: how names of files end, how contents begin, the command that unpacks."""

    ending: str
    magic: bytes
    command: tuple[str, ...]


_PACKINGS: Final = (
    _Packing(".xz", b"\xfd7zXZ\0", ("xz", "-dc")),
    _Packing(".zst", b"\x28\xb5\x2f\xfd", ("zstd", "-dcq")),
    _Packing(".gz", b"\x1f\x8b", ("gzip", "-dc")),
    _Packing(".lz4", b"\x02\x21\x4c\x18", ("lz4", "-dc")),
    _Packing(".bz2", b"BZh", ("bzip2", "-dc")),
    _Packing(".lzma", b"\x5d\0\0", ("xz", "--format=lzma", "-dc")),
)


class UnpackError(OSError):
    """A file could not be unpacked; the message says what is missing or wrong."""


def without_packing(path: str) -> str:
    """The path of a file before it was compressed."""
    stem, ending = os.path.splitext(path)
    return stem if any(packing.ending == ending for packing in _PACKINGS) else path


def unpack_file(path: str, to: int) -> bool:
    """Write what a compressed file holds to a file descriptor; whether its name says it is one.

    Raises :class:`UnpackError`.
    """
    ending = os.path.splitext(path)[1]
    for packing in _PACKINGS:
        if packing.ending == ending:
            with open(path, "rb") as file:
                _run(packing.command, file.read(), to)
            return True
    return False


def unpack(data: bytes, to: int) -> None:
    """Write what bytes hold, compressed or not, to a file descriptor.

    Raises :class:`UnpackError`.
    """
    for packing in _PACKINGS:
        if data.startswith(packing.magic):
            _run(packing.command, data, to)
            return
    os.write(to, data)


def _run(command: tuple[str, ...], data: bytes, to: int) -> None:
    try:
        done = subprocess.run(command, input=data, stdout=to, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise UnpackError(f"{command[0]} is not installed, which unpacks it") from None
    if done.returncode:
        raise UnpackError(done.stderr.decode(errors="replace").strip() or f"{command[0]} failed")
