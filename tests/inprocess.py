"""Running the command without starting it: each run is a fork of this process.

The parent has everything imported and LLVM ready, so a run costs its own work only; the child
keeps whatever a run leaves behind (modules, signal handlers, descriptors) from the next one.
"""

from __future__ import annotations

import importlib
import io
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from functools import cache

from stap import Done

_CRASHED = 70  # a traceback, which is never right
_IMPORTS = (
    *("backend.bpf.compile", "backend.reference.interpreter", "cli.main", "cli.environment"),
    *("cli.passes", "cli.reference", "cli.run", "cli.script", "diag.render", "ir.lower"),
    *("ir.limits", "lang.parser", "output.consumer", "output.native", "output.render"),
    *("sema.analyze", "sema.tapset", "session.cache", "session.loader", "session.run"),
)


class TimedOut(Exception):  # noqa: N818
    """A run did not end in time and was killed."""


def stap(*words: str, timeout: float = 30) -> Done:
    """Run ``stap`` with these words in a fork, standard input empty."""
    _warm_up()
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = os.memfd_create("out"), os.memfd_create("err")
    pid = os.fork()
    if pid == 0:
        _child(words, out, err)
    try:
        status = _wait(pid, timeout)
        return Done(_content(out), _content(err), status)
    finally:
        os.close(out)
        os.close(err)


def _child(words: Sequence[str], out: int, err: int) -> None:
    """The run itself; never returns."""
    status = _CRASHED
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        for descriptor, number in ((null, 0), (out, 1), (err, 2)):
            os.dup2(descriptor, number)
        sys.stdin = io.TextIOWrapper(io.FileIO(0))
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w")), encoding="latin-1")
        sys.stderr = io.TextIOWrapper(io.BufferedWriter(io.FileIO(2, "w")), encoding="latin-1")
        os.environ["TZ"] = "UTC"
        time.tzset()
        from pystap.cli.main import main

        status = main(words)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(pid: int, timeout: float) -> int:
    """The exit status, as a shell would give it."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        late = not poll.poll(timeout * 1000)
        if late:
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(descriptor)
    if late:
        raise TimedOut(f"no end after {timeout} s")
    return 128 - status if status < 0 else status


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


@cache
def _warm_up() -> None:
    """Import what runs import lazily, and let LLVM set itself up."""
    for name in _IMPORTS:
        importlib.import_module(f"pystap.{name}")
    binding = importlib.import_module("pystap.backend.llvm.binding")
    binding.compile_object(b"")
