"""Attaching loaded programs, one function a kind of event.

Every attachment is held by file descriptors of this process alone, so the kernel undoes it
whatever happens to the process.
"""

from __future__ import annotations

import errno

from pystap.kernel.bpf import BpfError, Handle
from pystap.kernel.links import (
    attach_perf_event,
    attach_raw_tracepoint,
    attach_tracing,
    run_iterator,
)
from pystap.probes.attach import NetfilterHook, PerfEvent, Profile, Timer, Watchpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.bpf.artifact import Artifact, ProgramSpec
    from pystap.kernel.programs import Program
    from pystap.probes.attach import Attach
    from pystap.typing import Protocol

    class Closable(Protocol):
        """What can be closed."""

        def close(self) -> None: ...


_SEVERAL = 16  # attachments that threads are started for
_MOST_THREADS = 64
_DEFAULT_PERIOD = 1_000_000  # perf's customary period for events without one


class AttachError(Exception):
    """The kernel refused an attachment; ``probe`` is the index of the probe concerned."""

    def __init__(self, probe: int, error: OSError) -> None:
        super().__init__(str(error))
        self.probe = probe
        self.error = error


class Attached:
    """The descriptors that hold one program's attachments; links are closed before events."""

    __slots__ = ("_at_end", "_events", "_links", "kprobes")

    def __init__(self) -> None:
        self._links: list[Handle] = []
        self._events: list[Handle] = []
        self._at_end: list[Closable] = []
        self.kprobes = False  # links on kernel functions, which can miss hits

    def add(self, link: Handle, event: Handle | None = None) -> None:
        """Hold a link, and the perf event it is on."""
        self._links.append(link)
        if event is not None:
            self._events.append(event)

    def hold(self, event: Handle) -> None:
        """Hold an event that no program is on."""
        self._events.append(event)

    def at_end(self, what: Closable) -> None:
        """Close something when all is detached."""
        self._at_end.append(what)

    def missed(self) -> int:
        """Hits the kernel counts as missed by the links, where it counts them."""
        if not self.kprobes:
            return 0
        from pystap.kernel.links import link_missed

        return sum(link_missed(link.fd) for link in self._links)

    def close(self) -> None:
        """Detach."""
        for handle in (*self._links, *self._events, *self._at_end):
            handle.close()


def detach_all(attached: list[Attached]) -> None:
    """Detach everything, many at a time: for each the kernel waits until no CPU is in it."""
    if len(attached) < _SEVERAL:
        for each in attached:
            each.close()
        return
    import threading

    left = list(attached)

    def work() -> None:
        while True:
            try:
                each = left.pop()
            except IndexError:
                return
            each.close()

    count = min(_MOST_THREADS, len(left))
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def attach_program(
    artifact: Artifact,
    spec: ProgramSpec,
    program: Program,
    on_failure: Callable[[int, OSError], None],
) -> Attached:
    """Attach a program to everything it serves.

    Raises :class:`AttachError`, except for a function that cannot be probed: then
    ``on_failure`` is called with the index of the probe, and the others are attached.
    """
    attached = Attached()
    probe = spec.probes[0] if spec.probes else 0
    try:
        if spec.attach in _UPROBES:
            from pystap.session.uprobes import attach_uprobes

            attach_uprobes(artifact, spec, program, attached, on_failure)
        elif spec.attach in _KPROBES:
            from pystap.session.kprobes import attach_kprobes

            attached.kprobes = True
            attach_kprobes(artifact, spec, program, attached, on_failure)
        else:
            _ATTACHERS[spec.attach](artifact.probes[probe].attach, spec, program, attached)
    except AttachError:
        attached.close()
        raise
    except OSError as error:
        attached.close()
        if spec.attach not in ("fentry", "fexit"):
            raise AttachError(probe, error) from error
        on_failure(probe, error)
    return attached


def _attach_tracing(
    _where: Attach, spec: ProgramSpec, program: Program, attached: Attached
) -> None:
    try:
        link: Handle = attach_tracing(program.fd, spec.expected_attach)
    except BpfError:
        # before 5.19 only the raw tracepoint command attached these, with the name left out
        link = attach_raw_tracepoint(program.fd, "")
    attached.add(link)


def _attach_raw(_where: Attach, spec: ProgramSpec, program: Program, attached: Attached) -> None:
    attached.add(attach_raw_tracepoint(program.fd, spec.target))


def _run_iterator(
    _where: Attach, _spec: ProgramSpec, program: Program, _attached: Attached
) -> None:
    run_iterator(program.fd)


def _attach_timer(where: Attach, _spec: ProgramSpec, program: Program, attached: Attached) -> None:
    from pystap.kernel.cpu import online_cpus
    from pystap.kernel.perf import open_clock

    assert isinstance(where, Timer)
    event = open_clock(online_cpus()[0], period=where.period_ns)
    attached.add(attach_perf_event(program.fd, event.fd), event)


def _attach_profile(
    where: Attach, _spec: ProgramSpec, program: Program, attached: Attached
) -> None:
    from pystap.kernel.cpu import online_cpus, tick_rate
    from pystap.kernel.perf import open_clock

    assert isinstance(where, Profile)
    period = 1_000_000_000 // (where.hz or tick_rate())
    for cpu in online_cpus():
        event = open_clock(cpu, period=period)
        attached.add(attach_perf_event(program.fd, event.fd), event)


def _attach_perf(where: Attach, _spec: ProgramSpec, program: Program, attached: Attached) -> None:
    from pystap.kernel.cpu import online_cpus
    from pystap.kernel.perf import open_event

    assert isinstance(where, PerfEvent)
    period = where.period or (0 if where.hz else _DEFAULT_PERIOD)
    for cpu in online_cpus():
        event = open_event(
            where.type,
            where.config,
            cpu=cpu,
            period=period,
            frequency=where.hz,
            what=f"perf type {where.type} config {where.config:#x}",
        )
        attached.add(attach_perf_event(program.fd, event.fd), event)


_UPROBES = ("uprobe", "uretprobe", "uprobe_multi", "uretprobe_multi", "uprobe_session")


def _attach_netfilter(
    where: Attach, spec: ProgramSpec, program: Program, attached: Attached
) -> None:
    from pystap.kernel.netfilter import attach_netfilter

    assert isinstance(where, NetfilterHook)
    assert program.host is not None
    attached.add(attach_tracing(program.fd, spec.expected_attach))
    host = program.host.fd
    attached.add(attach_netfilter(host, where.family, where.hook, where.priority))


def _attach_watchpoint(
    where: Attach, _spec: ProgramSpec, program: Program, attached: Attached
) -> None:
    """On every CPU; the program tells whose hits count."""
    from pystap.kernel.cpu import online_cpus
    from pystap.kernel.perf import BREAK_ON_ACCESS, BREAK_ON_WRITE, open_breakpoint

    assert isinstance(where, Watchpoint)
    address = _address_of(where.symbol) if where.symbol else where.address
    access = BREAK_ON_WRITE if where.access == "write" else BREAK_ON_ACCESS
    for cpu in online_cpus():
        try:
            event = open_breakpoint(address, where.length, access, cpu=cpu)
        except BpfError as error:
            if error.errno == errno.ENOSPC:
                raise OSError(error.errno, "all hardware watchpoints are taken") from error
            raise
        attached.add(attach_perf_event(program.fd, event.fd), event)


def _address_of(symbol: str) -> int:
    from pystap.debuginfo.kallsyms import Kallsyms

    found = Kallsyms().addresses(symbol)
    if not found:
        raise OSError(errno.ENOENT, f"the kernel does not tell where '{symbol}' is")
    return found[0]


_KPROBES = ("kprobe", "kretprobe", "kprobe_multi", "kretprobe_multi")
_ATTACHERS: dict[str, Callable[[Attach, ProgramSpec, Program, Attached], None]] = {
    "tp_btf": _attach_tracing,
    "fentry": _attach_tracing,
    "fexit": _attach_tracing,
    "raw_tp": _attach_raw,
    "lsm": _attach_tracing,
    "netfilter": _attach_netfilter,
    "iterator": _run_iterator,
    "timer": _attach_timer,
    "watchpoint": _attach_watchpoint,
    "profile": _attach_profile,
    "perf": _attach_perf,
}
