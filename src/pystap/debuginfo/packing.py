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
    return path if _by_name(path) is None else os.path.splitext(path)[0]


def unpacked_file(path: str) -> bytes:
    """What a file holds that is compressed if its name says so.  Raises OSError."""
    packing = _by_name(path)
    with open(path, "rb") as file:
        data = file.read()
    return data if packing is None else _run(packing.command, data)


def unpacked(data: bytes) -> bytes:
    """What bytes hold that are compressed if they begin so.  Raises :class:`UnpackError`."""
    packing = next((p for p in _PACKINGS if data.startswith(p.magic)), None)
    return data if packing is None else _run(packing.command, data)


def _by_name(path: str) -> _Packing | None:
    ending = os.path.splitext(path)[1]
    return next((packing for packing in _PACKINGS if packing.ending == ending), None)


def _run(command: tuple[str, ...], data: bytes) -> bytes:
    try:
        done = subprocess.run(command, input=data, capture_output=True)
    except FileNotFoundError:
        raise UnpackError(f"{command[0]} is not installed, which unpacks it") from None
    if done.returncode:
        raise UnpackError(done.stderr.decode(errors="replace").strip() or f"{command[0]} failed")
    return done.stdout
