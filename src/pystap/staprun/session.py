"""A session of a loaded module: start it, pass its output on, end it, unload it."""

from __future__ import annotations

import contextlib
import os
import select
import time

from pystap.session.signals import Signals
from pystap.staprun import records
from pystap.staprun.loading import load, module_name, unload
from pystap.staprun.records import Reader, Record
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.session.target import Command

STARTING, RUNNING, STOPPING, FAILED = range(4)  # phases, as in the module's session.h
_POLL: Final = 0.05  # seconds


class ProbeError(Exception):
    """A probe could not be registered; the message says which and why."""


class Status(NamedTuple):
    """How a session stands, as its control file tells."""

    phase: int
    errors: int
    suppressed: int
    skipped: int
    lost: int
    missed: int
    reason: int
    failed: str


class Session:
    """One run of the module in a file.

    ``fd`` receives what handlers print; ``target`` is target() (0: none), ``command`` the held
    process of ``-c``, ``deadline`` the monotonic time of ``-T`` in seconds.
    """

    def __init__(
        self,
        path: str,
        fd: int,
        *,
        target: int = 0,
        command: Command | None = None,
        deadline: float | None = None,
        megabytes: int = 1,
        quiet_warnings: bool = False,
    ) -> None:
        self.name = module_name(path)
        self.path = path
        self.fd = fd
        self.target = target
        self.command = command
        self.deadline = deadline
        self.megabytes = megabytes
        self._quiet = quiet_warnings
        self._children: list[int] = []
        self._directory = f"/proc/pystap_{self.name}"

    def run(self) -> int:
        """Load, run to the end and unload: 0, or 1 when errors ended the session."""
        signals = Signals()
        try:
            load(self.path, f"buffer_megabytes={self.megabytes}")
            try:
                return self._run(signals)
            finally:
                unload(self.name)
        finally:
            if self.command is not None:
                self.command.finish()
            signals.close()

    def _run(self, signals: Signals) -> int:
        reader = Reader(self._directory)
        try:
            self._prepare()
            try:
                self._tell("start")
            except OSError as error:
                self._pass_on(reader.read(final=True))
                raise self._probe_error(error) from error
            if self.command is not None:
                self.command.release()
            self._loop(reader, signals)
            self._tell("stop")
            self._pass_on(reader.read(final=True))
        finally:
            reader.close()
        return self._sum_up()

    def _prepare(self) -> None:
        now = time.localtime()
        self._tell(f"target {self.target}")
        self._tell(f"pid {os.getpid()}")
        self._tell(f"west {-now.tm_gmtoff}")
        self._tell(f"zone {now.tm_zone}")

    def _loop(self, reader: Reader, signals: Signals) -> None:
        """Pass output on until something ends the session."""
        epoll = select.epoll()
        signals.watch(epoll)
        try:
            while self._status().phase == RUNNING:
                if signals.stop or self._is_over():
                    return
                if not self._pass_on(reader.read()):
                    epoll.poll(self._wait())
        finally:
            epoll.close()

    def _wait(self) -> float:
        if self.deadline is None:
            return _POLL
        return max(0.0, min(_POLL, self.deadline - time.monotonic()))

    def _is_over(self) -> bool:
        """Whether the time is up or the target has gone."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return True
        if self.command is not None:
            return self.command.poll()
        return bool(self.target) and not os.path.exists(f"/proc/{self.target}")

    def _tell(self, word: str) -> None:
        """Give the module a word."""
        fd = os.open(f"{self._directory}/control", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, word.encode())
        finally:
            os.close(fd)

    def _status(self) -> Status:
        with open(f"{self._directory}/control", encoding="ascii") as file:
            rows = dict(line.rstrip("\n").partition(" ")[::2] for line in file)
        numbers = [int(rows[name]) for name in Status._fields[:-1]]
        phase, errors, suppressed, skipped, lost, missed, reason = numbers
        return Status(phase, errors, suppressed, skipped, lost, missed, reason, rows["failed"])

    def _probe_error(self, error: OSError) -> ProbeError:
        status = self._status()
        reason = os.strerror(-status.reason) if status.reason else str(error)
        point = status.failed or "of the script"
        return ProbeError(f"probe {point} registration error (rc {status.reason}): {reason}")

    # --- output ----------------------------------------------------------------------------------

    def _pass_on(self, found: list[Record]) -> bool:
        """Write records out; whether there were any."""
        pending: list[bytes] = []
        for record in found:
            if record.kind == records.OUTPUT:
                pending.append(record.text)
                continue
            self._write(pending)
            if record.kind == records.COMMAND:
                argv = ["/bin/sh", "-c", os.fsdecode(record.text)]
                self._children.append(os.posix_spawn(argv[0], argv, os.environ))
            elif record.kind == records.ERROR:
                complain(b"ERROR: " + record.text)
            elif not self._quiet:
                complain(b"WARNING: " + record.text.removesuffix(b"\n"))
        self._write(pending)
        return bool(found)

    def _write(self, pending: list[bytes]) -> None:
        data = memoryview(b"".join(pending))
        pending.clear()
        while data:
            data = data[os.write(self.fd, data) :]

    def _sum_up(self) -> int:
        for pid in self._children:
            os.waitpid(pid, 0)
        if self.command is not None:
            self.command.finish()
            complaint = self.command.complaint()
            if complaint:
                complain(f"WARNING: {complaint}".encode())
        status = self._status()
        failed, skipped = status.errors + status.suppressed, status.skipped + status.missed
        if failed or skipped:
            complain(f"WARNING: Number of errors: {failed}, skipped probes: {skipped}".encode())
        if status.lost:
            complain(
                f"WARNING: There were {status.lost} transport failures. "
                f"Try stap -s to increase the buffer size from {self.megabytes}.".encode()
            )
        return int(status.phase == FAILED)


def complain(text: bytes) -> None:
    """One line on standard error."""
    with contextlib.suppress(BrokenPipeError):
        os.write(2, text + b"\n")
