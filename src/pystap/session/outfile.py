"""The file of ``-o``, and writing to it."""

from __future__ import annotations

import os


class OutputFileError(Exception):
    """The file of ``-o`` cannot be opened; the message says which and why."""


def write_all(fd: int, data: bytes) -> None:
    """Write however often it takes; raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def open_output(path: str | None) -> int:
    """Descriptor for ``-o FILE`` (strftime conversions expanded), or standard output."""
    return 1 if path is None else open_file(expand(path))


def expand(path: str) -> str:
    """A file name with its strftime conversions replaced by the present time."""
    if "%" not in path:
        return path
    import time

    return time.strftime(path)


def open_file(path: str) -> int:
    """Descriptor of an emptied file; raises OutputFileError."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputFileError(f"cannot open output file '{path}': {error.strerror}") from error
