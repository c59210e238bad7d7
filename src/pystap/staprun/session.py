"""A session of a loaded module: start it, pass its output on, end it, unload it."""

from __future__ import annotations

import os
import select
import time

from pystap.session.guard import Guard
from pystap.staprun import records
from pystap.staprun.control import FAILED, RUNNING, Control
from pystap.staprun.loading import load, unload, unload_left
from pystap.staprun.outputs import Merged, PerCpu
from pystap.staprun.reader import Reader
from pystap.staprun.report import print_report
from pystap.staprun.request import Request
from pystap.staprun.signals import RunSignals
from pystap.staprun.typed import Typed
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.session.target import Command
    from pystap.session.userobjects import UserObjects
    from pystap.staprun.control import Status
    from pystap.staprun.daemon import Background
    from pystap.staprun.modulefile import ModuleFile
    from pystap.staprun.records import Record

_STDOUT: Final = 1


class ProbeError(Exception):
    """A probe could not be registered; the message says which and why."""


class Session:
    """What one staprun does with the module ``name``.

    ``command`` is the held process of ``-c``, ``background`` the process that waits until this
    one, its daemon, is under way.
    """

    def __init__(
        self,
        request: Request,
        name: str,
        command: Command | None = None,
        background: Background | None = None,
    ) -> None:
        self.name = name
        self._request = request
        self._command = command
        self._background = background
        self._target = command.pid if command else request.target
        self._children: list[int] = []
        self._signals = RunSignals()
        self._output: Merged | PerCpu
        self._objects: UserObjects | None = None

    def run(self, module: ModuleFile) -> int:
        """Load a module and run it to the end, or until it is left alone; the exit status."""
        guard = self._guard()
        try:
            load(module, self.name, self._request.parameters)
            self._note(f"inserted '{module.path}' as {self.name}")
            try:
                control = Control(self.name)
                control.tell("attach")
            except BaseException:
                unload(self.name)
                raise
            return self._follow(control, guard, start=True)
        finally:
            guard.close()
            if self._command is not None and not self._signals.detach:
                self._command.finish()
            self._signals.close()

    def attach(self) -> int:
        """Take over a module that runs detached; the exit status.  Raises OSError."""
        control = Control(self.name)
        try:
            control.tell("attach")
        except OSError:
            control.close()
            raise
        guard = self._guard()
        try:
            return self._follow(control, guard, start=False)
        finally:
            guard.close()
            self._signals.close()

    def _guard(self) -> Guard:
        """What unloads the module when this process is killed.

        The module itself ends its session as soon as the process attached to it is gone; but only
        another process can unload it.  When both are killed it stays loaded, idle, and gives way
        to the next one of its name.
        """
        return Guard(lambda: unload_left(self.name), "stap-unload")

    def _follow(self, control: Control, guard: Guard, *, start: bool) -> int:
        detached = False
        try:
            detached = self._pass_on_all(control, start)
            if detached:
                guard.close()
                control.tell("detach")
                self._say_goodbye()
                return 0
            return self._sum_up(control)
        finally:
            control.close()
            if not detached:
                unload(self.name)
                self._note(f"removed {self.name}")

    def _pass_on_all(self, control: Control, start: bool) -> bool:
        """From the start to the end of the session; whether it goes on without us."""
        bulk = bool(control.status().bulk)
        self._open_output(bulk)
        reader = Reader(control.directory, merged=not bulk)
        self._open_objects(control)
        try:
            if start:
                self._start(control, reader)
            if self._background is not None:
                self._background.release()
            if not self._request.leave:
                self._loop(control, reader)
            if self._request.leave or (self._signals.detach and not self._signals.stop):
                self._pass_on(reader.read(final=True))
                return control.status().phase == RUNNING or self._request.leave
            control.tell("stop")
            self._pass_on(reader.read(final=True))
            if self._objects is not None:
                self._objects.look(control.status().unknown)
                self._objects.warn()
            return False
        finally:
            if self._objects is not None:
                self._objects.close()
            reader.close()

    def _open_objects(self, control: Control) -> None:
        """Have tables of programs, where the module asks for such."""
        if os.path.exists(f"{control.directory}/objects"):
            from pystap.staprun.objects import objects_of

            self._objects = objects_of(
                control.directory, self._request, lambda text: self._warn(os.fsencode(text))
            )

    def _open_output(self, bulk: bool) -> None:
        path, rotation = self._request.output, self._request.rotation
        if bulk:
            self._output = PerCpu(path, rotation, background=self._background is not None)
        else:
            self._output = Merged(path, rotation)

    def _start(self, control: Control, reader: Reader) -> None:
        now = time.localtime()
        control.tell(f"target {self._target}")
        control.tell(f"pid {os.getpid()}")
        control.tell(f"west {-now.tm_gmtoff}")
        control.tell(f"zone {now.tm_zone}")
        if self._command is not None:
            control.tell("held 1")
        control.find_places()
        if self._objects is not None:
            self._objects.begin()
        try:
            control.tell("start")
        except OSError as error:
            self._pass_on(reader.read(final=True))
            raise _probe_error(control.status(), error) from error
        if self._command is not None:
            self._command.release()

    def _loop(self, control: Control, reader: Reader) -> None:
        """Pass output on until something ends the session."""
        signals = self._signals
        epoll = select.epoll()
        signals.watch(epoll)
        typed = Typed(self.name, epoll)
        try:
            while (status := control.status()).phase == RUNNING:
                if self._objects is not None:
                    self._objects.look(status.unknown)
                if signals.stop or signals.detach or self._is_over():
                    return
                if signals.switch:
                    signals.switch = False
                    self._output.switch()
                idle = not self._pass_on(reader.read())
                ready = epoll.poll(self._wait() if idle and not typed.waits else 0)
                typed.pass_on(ready)
        finally:
            typed.close()
            epoll.close()

    def _wait(self) -> float:
        deadline = self._request.deadline
        if deadline is None:
            return self._request.interval
        return max(0.0, min(self._request.interval, deadline - time.monotonic()))

    def _is_over(self) -> bool:
        """Whether the time is up or the target has gone."""
        deadline = self._request.deadline
        if deadline is not None and time.monotonic() >= deadline:
            return True
        if self._command is not None:
            return self._command.poll()
        return bool(self._target) and _has_ended(self._target)

    # --- output ----------------------------------------------------------------------------------

    def _pass_on(self, found: list[Record]) -> bool:
        """Write records out; whether there were any."""
        for record in found:
            if record.kind == records.OUTPUT:
                self._output.put(record)
                continue
            self._output.flush()
            if record.kind == records.COMMAND:
                argv = ["/bin/sh", "-c", os.fsdecode(record.text)]
                self._children.append(os.posix_spawn(argv[0], argv, os.environ))
            elif record.kind == records.ERROR:
                self._complain(b"ERROR: " + record.text)
            else:
                self._warn(b"WARNING: " + record.text)
        self._output.flush()
        return bool(found)

    def _complain(self, text: bytes) -> None:
        """One line for the user: on standard error, or with the output when nobody sees that."""
        if self._background is not None:
            self._output.say(text)
        else:
            complain(text)

    def _warn(self, text: bytes) -> None:
        """One line that -w hides."""
        if not self._request.quiet:
            self._complain(text)

    def _note(self, text: str) -> None:
        """What -v tells."""
        if self._request.verbose:
            complain(f"staprun: {text}".encode())

    def _say_goodbye(self) -> None:
        words = (
            f'Disconnecting from systemtap module.\nTo reconnect, type "staprun -A {self.name}"'
        )
        complain(words.encode())

    def _sum_up(self, control: Control) -> int:
        status = control.status()
        for pid in self._children:
            os.waitpid(pid, 0)
        if self._command is not None:
            self._command.finish()
            complaint = self._command.complaint()
            if complaint:
                self._complain(f"WARNING: {complaint}".encode())
        skips = print_report(control.directory, _STDOUT, status.missed)
        for line in [*summary(status), *skips]:
            self._complain(line.encode())
        return int(status.phase == FAILED)


def summary(status: Status) -> list[str]:
    """What is said at the end of what went wrong or missing."""
    lines = []
    failed, skipped = status.errors + status.suppressed, status.skipped + status.missed
    if failed or skipped:
        lines.append(f"WARNING: Number of errors: {failed}, skipped probes: {skipped}")
    if status.lost:
        lines.append(
            f"WARNING: There were {status.lost} transport failures. "
            f"Try stap -s to increase the buffer size from {status.megabytes}."
        )
    if status.overwritten:
        lines.append(
            f"WARNING: {status.overwritten} records were overwritten by newer ones while nobody "
            "was attached."
        )
    return lines


def _probe_error(status: Status, error: OSError) -> ProbeError:
    if status.lacks:
        return ProbeError(f"this kernel does not tell where '{status.lacks}' is")
    reason = os.strerror(-status.reason) if status.reason else str(error)
    point = status.failed or "of the script"
    return ProbeError(f"probe {point} registration error (rc {status.reason}): {reason}")


def _has_ended(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked for its status yet."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:  # it is gone, or a thread, of which there are no such descriptors
        return not os.path.exists(f"/proc/{pid}")
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(0))
    finally:
        os.close(fd)


def complain(text: bytes) -> None:
    """One line on standard error."""
    import contextlib

    with contextlib.suppress(BrokenPipeError):
        os.write(2, text + b"\n")
