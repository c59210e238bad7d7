"""Running the command without starting it: each run is a fork of this process.

The parent has everything imported and LLVM ready, so a run costs its own work only; the child
keeps whatever a run leaves behind (modules, signal handlers, descriptors) from the next one.
"""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pystap
from pystap.backend.llvm import binding
from pystap.cli.main import main
from stap import Done

CRASHED = 70  # a traceback, which is never right


class TimedOut(Exception):  # noqa: N818
    """A run did not end in time and was killed."""


class Run:
    """A run of ``stap`` (or another ``command``) with these words, started in a fork, on given
    CPUs or all, in a directory or this one; its standard input is empty.  Every run must be
    brought to its :meth:`end`."""

    def __init__(
        self,
        *words: str,
        cpus: set[int] | None = None,
        directory: Path | None = None,
        command: Callable[[list[str]], int] | None = None,
    ) -> None:
        if command is None:
            warm_up()
        sys.stdout.flush()
        sys.stderr.flush()
        self._out, self._err = os.memfd_create("out"), os.memfd_create("err")
        self._pid = os.fork()
        if self._pid == 0:
            if cpus:
                os.sched_setaffinity(0, cpus)
            if directory:
                os.chdir(directory)
            _child(command or main, words, self._out, self._err)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._pid

    def output(self) -> str:
        """What it has printed by now."""
        return content(self._out).decode("latin-1")

    def end(self, timeout: float = 30) -> Done:
        """Wait for it, for so many seconds at most from now."""
        try:
            status = wait(self._pid, timeout)
            return Done(content(self._out), content(self._err), status)
        finally:
            os.close(self._out)
            os.close(self._err)


def stap(
    *words: str,
    timeout: float = 30,
    cpus: set[int] | None = None,
    directory: Path | None = None,
) -> Done:
    """A whole run."""
    return Run(*words, cpus=cpus, directory=directory).end(timeout)


def _child(command: Callable[[list[str]], int], words: Sequence[str], out: int, err: int) -> None:
    """The run itself; never returns."""
    status = CRASHED
    try:
        prepare_child(out, err)
        status = command(list(words))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def prepare_child(out: int, err: int) -> None:
    """Give this process no input, these outputs and a fixed time zone."""
    null = os.open(os.devnull, os.O_RDONLY)
    for descriptor, number in ((null, 0), (out, 1), (err, 2)):
        os.dup2(descriptor, number)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="latin-1"
    )
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), encoding="latin-1"
    )
    os.environ["TZ"] = "UTC"
    time.tzset()


def wait(pid: int, timeout: float) -> int:
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


def content(descriptor: int) -> bytes:
    """All that was written to a file."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


@cache
def warm_up() -> None:
    """Import all of the package, and let LLVM set itself up."""
    for module in pkgutil.walk_packages(pystap.__path__, "pystap."):
        if not module.name.endswith(".__main__"):  # that would run
            importlib.import_module(module.name)
    binding.compile_object(b"")
