"""The command ``stap-merge``: the files that bulk mode wrote for each CPU, as one output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from pystap.staprun.records import BULK_MAGIC, OUTPUT, Joiner, Record, unpack
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_USAGE: Final = """\
Usage: stap-merge [-v] [-o FILE] FILES

Merges the files of stap -b (stpd_cpu0, stpd_cpu1 ...; FILE_0, FILE_1 ...) in the order in which
the output was made.

  -v        put a line [cpu,number,length] before each piece of output
  -o FILE   write to FILE instead of standard output
"""
_READ: Final = 1 << 20


class MergeError(Exception):
    """A file that cannot be read or written; the message says why."""


def main(words: list[str]) -> int:
    """Serve a command line; the exit status."""
    from getopt import GetoptError, gnu_getopt

    try:
        pairs, paths = gnu_getopt(words, "vo:h")
    except GetoptError as error:
        return _complain(f"stap-merge: {error}\nTry 'stap-merge -h' for more information.")
    options = dict(pairs)
    if "-h" in options:
        sys.stdout.write(_USAGE)
        return 0
    if not paths:
        return _complain("stap-merge: no files to merge\n" + _USAGE)
    try:
        return _merge(paths, options.get("-o"), verbose="-v" in options)
    except MergeError as error:
        return _complain(f"ERROR: {error}")


def _merge(paths: list[str], to: str | None, *, verbose: bool) -> int:
    from contextlib import ExitStack
    from heapq import merge

    with ExitStack() as opened:
        try:
            out = sys.stdout.buffer if to is None else opened.enter_context(open(to, "wb"))
        except OSError as error:
            raise MergeError(f"cannot write '{to}': {error.strerror}") from error
        joiner = Joiner()
        for record in merge(*map(_records, paths), key=lambda r: r.serial):
            whole = joiner.join(record)
            if whole is not None:
                _write(whole, out.write, verbose)
        for part in joiner.rest():
            _write(part, out.write, verbose)
        out.flush()
    return 0


def _write(record: Record, write: Callable[[bytes], int], verbose: bool) -> None:
    if record.kind != OUTPUT:
        os.write(2, record.text + b"\n")
        return
    if verbose:
        write(f"[{record.cpu},{record.serial},{len(record.text)}]\n".encode())
    write(record.text)


def _records(path: str) -> Iterator[Record]:
    """The records of a file, which are in order."""
    try:
        with open(path, "rb") as file:
            if file.read(len(BULK_MAGIC)) != BULK_MAGIC:
                raise MergeError(f"'{path}' was not written by stap -b")
            part = bytearray()
            while data := file.read(_READ):
                part += data
                yield from unpack(part)
    except OSError as error:
        raise MergeError(f"cannot read '{path}': {error.strerror}") from error
    if part:
        _complain(f"WARNING: '{path}' ends within a record: {len(part)} bytes are left out")


def _complain(text: str) -> int:
    os.write(2, text.encode("utf-8", "surrogateescape") + b"\n")
    return 1


def command() -> NoReturn:
    """The process."""
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        status = 1  # whoever read our output has gone
    os._exit(status)
