"""A session: from loaded programs to the last line of output."""

from __future__ import annotations

import os
import time

from pystap.backend.bpf.artifact import (
    CONTEXT_BUSY,
    CONTEXT_ERRORS,
    CONTEXT_SKIP_LOCK,
    CONTEXT_SKIP_REENTRANT,
    CONTROL_ERRORS,
    CONTROL_HELD,
    CONTROL_LOST,
    CONTROL_STATE,
    CONTROL_UNKNOWN_OBJECTS,
    CONTROL_UNWATCHED,
    LEVEL_SESSION,
    LEVELS,
    LOCK_SKIPPED,
    LOCK_STRIDE,
    STATE_ERROR,
    STATE_RUNNING,
    STATE_STARTING,
    STATE_STOPPING,
    Artifact,
    ProgramSpec,
)
from pystap.kernel.programs import TestRun
from pystap.probes.attach import ProcFile, SessionEvent, Timer
from pystap.session.attach import Attached, attach_program, detach_all
from pystap.session.loader import Loaded, fill_control, module_name, refresh_realtime
from pystap.session.output import Output
from pystap.session.signals import Signals
from pystap.session.timers import TimerQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Callable

    from pystap.session.sources import Source
    from pystap.session.target import Command
    from pystap.session.userobjects import UserObjects

_MANY_PROBES = 100  # they may need more descriptors than are usual
_IDLE_POLL_NS = 50_000_000  # how long output may wait when no handler announces it
_REALTIME_REFRESH_NS = 10_000_000_000
_QUIESCE_SECONDS = 0.2  # for handlers still running on other CPUs when probes are detached
_LOCK_RETRIES = 100
_STATE_OF = {
    "init": STATE_STARTING,
    "begin": STATE_STARTING,
    "end": STATE_STOPPING,
    "error": STATE_ERROR,
}


class Session:
    """One run of an artifact.

    ``output`` receives what handlers print; ``target`` is the pid of target() (0 for none);
    ``command`` the held ``-c`` process, released when every probe is armed; ``timeout_ns`` the
    time of ``-T``, counted from there.  ``tell`` is for what is shown with ``-v``; ``objects``
    gives the tables of programs for user-space stacks, where handlers ask for such; it is called
    with the descriptor of the program that tells how the kernel calls a file.
    """

    def __init__(
        self,
        artifact: Artifact,
        loaded: Loaded,
        output: Output,
        *,
        hz: int,
        target: int = 0,
        command: Command | None = None,
        timeout_ns: int | None = None,
        tell: Callable[[str], None] = lambda _: None,
        objects: Callable[[int], UserObjects] | None = None,
    ) -> None:
        self._make_objects = objects
        self.objects: UserObjects | None = None
        self.tell = tell
        self.artifact = artifact
        self.loaded = loaded
        self.output = output
        self.target = target
        self.command = command
        self.timeout_ns = timeout_ns
        self._deadline: int | None = None  # on the monotonic clock
        self.signals = Signals()
        self._runs: dict[int, TestRun] = {}  # program index -> prepared run
        self._attached: list[Attached] = []
        self._missed_by_links = 0  # hits that kprobes had no room for
        self._armed_in = 0  # ns that loading and attaching took
        self._timers = TimerQueue([], self._run_program)
        self._sources: list[Source] = []
        fill_control(loaded, target, hz)
        loaded.control[CONTROL_HELD] = int(command is not None)

    # --- the whole run ----------------------------------------------------------------------

    def run(self) -> int:
        """Run to the end: 0, or 1 when errors ended the session."""
        try:
            self._prepare()
            self._run_events("init")
            self._run_events("begin")
            if self._state() == STATE_STARTING:
                self._set_state(STATE_RUNNING)
            self.output.drain()
            if self.command is not None:
                self.command.release()
            now = time.monotonic_ns()
            self._timers.start(now)
            if self.timeout_ns is not None:
                self._deadline = now + self.timeout_ns
            self._loop()
            return self._finish()
        finally:
            self._detach()
            self._close_sources()
            if self.command is not None:
                self.command.finish()
            if self.objects is not None:
                self.objects.close()
            self.signals.close()

    def _prepare(self) -> None:
        """Load everything, attach all but the handlers the session runs itself."""
        begun = time.monotonic_ns()
        if len(self.artifact.probes) > _MANY_PROBES:
            from pystap.kernel.limits import allow_files
            from pystap.session.errors import needed_files

            allow_files(needed_files(self.artifact))
        slow: list[tuple[Timer, int]] = []
        files: list[tuple[ProcFile, int]] = []
        for index, spec in enumerate(self.artifact.programs):
            program = self.loaded.load(spec)
            if spec.attach == "session":
                self._runs[index] = TestRun(program.fd)
                event = self.artifact.probes[spec.probes[0]].attach
                if isinstance(event, Timer):
                    slow.append((event, index))
                elif isinstance(event, ProcFile):
                    files.append((event, index))
            elif spec.attach == "identify":
                if self._make_objects is not None:
                    self.objects = self._make_objects(program.fd)
                    self.objects.begin()
            else:
                attached = attach_program(self.artifact, spec, program, self._not_attached)
                self._attached.append(attached)
        self._timers = TimerQueue(slow, self._run_program)
        if files:
            self._make_files(files)
        if any(role.startswith("counter:") for role in self.loaded.by_role):
            from pystap.session.counters import open_counters

            self._attached.append(open_counters(self.artifact, self.loaded))
        self._armed_in = time.monotonic_ns() - begun

    def _make_files(self, files: list[tuple[ProcFile, int]]) -> None:
        from functools import partial

        from pystap.session.files import make_sources

        handlers = [(where, partial(self._run_program, index)) for where, index in files]
        memory = self.loaded.by_role["file"].mmap().view
        most = self.artifact.maxstringlen
        self._sources, directory = make_sources(module_name(), handlers, memory, most)
        if directory:
            self.tell(f"procfs files are in {directory}")

    def _not_attached(self, probe: int, error: OSError) -> None:
        """A kernel function that could not be probed is left out, and said so."""
        point = self.artifact.probes[probe].point
        self.output.complain(
            f"WARNING: probe {point} registration error [man warning::pass5]"
            f" (rc {-(error.errno or 0)}): {error}"
        )

    def _run_events(self, kind: str) -> None:
        """Run the handlers of ``begin``, ``end``... in their order, while the session is in the
        state that belongs to them.

        What the last one prints is left for later: who waits for it may rely on probes then.
        """
        chosen: list[tuple[int, int]] = []
        for index in self._runs:
            event = self._event(self.artifact.programs[index])
            if event is not None and event.kind == kind:
                chosen.append((event.order, index))
        for _, index in sorted(chosen):
            self.output.drain()
            if self._state() != _STATE_OF[kind]:
                return
            self._run_program(index)

    def _event(self, spec: ProgramSpec) -> SessionEvent | None:
        attach = self.artifact.probes[spec.probes[0]].attach
        return attach if isinstance(attach, SessionEvent) else None

    def _run_program(self, index: int) -> None:
        """Run one handler here; one that could not have its locks is tried again."""
        run = self._runs[index]
        context = self.loaded.context
        places = self._session_skips()
        before = [context[place] for place in places]
        for _ in range(_LOCK_RETRIES):
            run.run()
            if all(context[place] == count for place, count in zip(places, before)):
                return
            for place, count in zip(places, before):
                context[place] = count  # a run that is repeated is no skipped probe
            time.sleep(0.0002)
        context[places[0]] += 1

    def _session_skips(self) -> list[int]:
        words = self._context_words()
        offsets = range(0, len(self.loaded.context) - words + 1, words)
        places = [o for i, o in enumerate(offsets) if i % LEVELS == LEVEL_SESSION]
        return [o + CONTEXT_SKIP_LOCK for o in places]

    def _context_words(self) -> int:
        return (self.loaded.by_role["context"].value_size + 7) // 8

    # --- waiting ----------------------------------------------------------------------------

    def _loop(self) -> None:
        """Consume output and run slow timers until something ends the session."""
        epoll = self.output.epoll()
        self.signals.watch(epoll)
        served = None
        if self._sources:
            from pystap.session.sources import Sources

            served = Sources(self._sources, epoll)
        child = self._watch_target(epoll)
        next_refresh = time.monotonic_ns() + _REALTIME_REFRESH_NS
        try:
            while self._state() == STATE_RUNNING:
                now = time.monotonic_ns()
                if self.signals.stop or (self._deadline is not None and now >= self._deadline):
                    return
                if now >= next_refresh:
                    refresh_realtime(self.loaded)
                    next_refresh = now + _REALTIME_REFRESH_NS
                self._timers.fire(now)
                busy = self.output.drain()
                self._check_skips()
                if self.objects is not None:
                    self.objects.look(self.loaded.control[CONTROL_UNKNOWN_OBJECTS])
                if child >= 0 and self._target_ended(child):
                    return
                if self._state() != STATE_RUNNING:
                    return
                busy |= served is not None and served.waiting
                ready = epoll.poll(0 if busy else self._wait()) if served or not busy else []
                if served is not None:
                    served.serve(ready)
        finally:
            if child >= 0:
                epoll.unregister(child)
                os.close(child)

    def _wait(self) -> float:
        """How many seconds to wait for something to happen."""
        wait = _IDLE_POLL_NS
        now = time.monotonic_ns()
        timer = self._timers.wait_ns(now)
        if timer is not None:
            wait = min(wait, timer)
        if self._deadline is not None:
            wait = min(wait, max(0, self._deadline - now))
        return wait / 1e9

    def _watch_target(self, epoll: select.epoll) -> int:
        """A pidfd of the target that wakes the loop when it ends, -1 without target."""
        if not self.target:
            return -1
        try:
            fd = os.pidfd_open(self.target)
        except ProcessLookupError:
            return -1
        epoll.register(fd, 1)
        return fd

    def _target_ended(self, pidfd: int) -> bool:
        """Whether the target has ended, if only its parent has not asked for its status yet."""
        if self.command is not None:
            return self.command.poll()
        import select

        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def _check_skips(self) -> None:
        if self.artifact.suppress_handler_errors:
            return
        skipped = self._sum(CONTEXT_SKIP_LOCK)
        if not self.artifact.interruptible:
            skipped += self._sum(CONTEXT_SKIP_REENTRANT)
        if skipped <= self.artifact.maxskipped:
            return
        self.output.complain(
            "ERROR: Skipped too many probes, check MAXSKIPPED or try again with stap -t for "
            "more details."
        )
        self._set_state(STATE_ERROR)

    # --- the end ----------------------------------------------------------------------------

    def _finish(self) -> int:
        if self._state() != STATE_ERROR:
            self._set_state(STATE_STOPPING)
        self._detach()
        self._close_sources()
        self._quiesce()
        self.output.drain()
        self._run_events("end")
        self._run_events("error")
        self.output.finish()
        if self.artifact.timing:
            from pystap.session.report import print_report

            print_report(self.artifact, self.loaded, self.output.fd, self._armed_in)
        if self.command is not None:
            self.command.finish()
            complaint = self.command.complaint()
            if complaint:
                self.output.complain(f"WARNING: {complaint}")
        self._summary()
        if self.artifact.timing:
            self._tell_skips()
        return 1 if self._state() == STATE_ERROR else 0

    def _detach(self) -> None:
        self._missed_by_links += sum(attached.missed() for attached in self._attached)
        detach_all(self._attached)
        self._attached.clear()

    def _close_sources(self) -> None:
        for source in self._sources:
            source.close()
        self._sources.clear()

    def _quiesce(self) -> None:
        """Wait for handlers that were running on other CPUs when their probe went away."""
        words = self._context_words()
        places = range(CONTEXT_BUSY, len(self.loaded.context) - words + 1, words)
        deadline = time.monotonic() + _QUIESCE_SECONDS
        while any(self.loaded.context[at] for at in places) and time.monotonic() < deadline:
            time.sleep(0.001)

    def _summary(self) -> None:
        if self.objects is not None:
            self.objects.look(self.loaded.control[CONTROL_UNKNOWN_OBJECTS])
            self.objects.warn()
        errors = self.loaded.control[CONTROL_ERRORS] or self._sum(CONTEXT_ERRORS)
        skipped = self._skipped() + self._missed()
        if errors or skipped:
            self.output.complain(f"WARNING: Number of errors: {errors}, skipped probes: {skipped}")
        lost = self.loaded.control[CONTROL_LOST]
        if lost:
            size = self.output.buffer_megabytes
            self.output.complain(
                f"WARNING: There were {lost} transport failures. "
                f"Try stap -s to increase the buffer size from {size}."
            )

        unwatched = self.loaded.control[CONTROL_UNWATCHED]
        if unwatched:
            self.output.complain(
                f"WARNING: {unwatched} processes or threads were not watched: there were too many."
            )

    def _tell_skips(self) -> None:
        """Why handlers were skipped."""
        locks = self.loaded.by_role.get("locks")
        if locks is not None:
            words = locks.mmap(writable=False).view.cast("Q")
            for slot, name in enumerate(self.artifact.locks):
                count = words[slot * LOCK_STRIDE // 8 + LOCK_SKIPPED]
                if count:
                    self.output.complain(
                        f"WARNING: Skipped due to global '{name}' lock timeout: {count}"
                    )
        reentrant = self._sum(CONTEXT_SKIP_REENTRANT) + self._missed()
        if reentrant:
            self.output.complain(f"WARNING: Skipped due to reentrancy: {reentrant}")

    def _skipped(self) -> int:
        return self._sum(CONTEXT_SKIP_REENTRANT) + self._sum(CONTEXT_SKIP_LOCK)

    def _missed(self) -> int:
        """Hits the kernel did not even start a program for: the same one was at work on the CPU
        already, for a task that was preempted or interrupted in it."""
        from pystap.kernel.programs import program_info

        missed: int = sum(program_info(p.fd).recursion_misses for p in self.loaded.programs)
        return missed + self._missed_by_links

    def _sum(self, word: int) -> int:
        words = self._context_words()
        context = self.loaded.context
        return sum(context[at + word] for at in range(0, len(context) - words + 1, words))

    def _state(self) -> int:
        return self.loaded.control[CONTROL_STATE]

    def _set_state(self, state: int) -> None:
        self.loaded.control[CONTROL_STATE] = state
