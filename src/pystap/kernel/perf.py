"""perf_event_open(2): clocks, counters, tracepoints, kprobes and uprobes to attach programs to.

Layout of the attribute and numbers: ``<linux/perf_event.h>``.  Every event is close-on-exec and
starts counting when opened unless said otherwise.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from pystap.kernel.bpf import BpfError, Handle
from pystap.kernel.syscalls import address_of, buffer, perf_event_open_syscall

# enum perf_type_id
TYPE_HARDWARE = 0
TYPE_SOFTWARE = 1
TYPE_TRACEPOINT = 2
TYPE_HW_CACHE = 3
TYPE_RAW = 4
TYPE_BREAKPOINT = 5

# enum perf_sw_ids
SW_CPU_CLOCK = 0
SW_TASK_CLOCK = 1
SW_PAGE_FAULTS = 2
SW_CONTEXT_SWITCHES = 3
SW_CPU_MIGRATIONS = 4
SW_PAGE_FAULTS_MIN = 5
SW_PAGE_FAULTS_MAJ = 6
SW_ALIGNMENT_FAULTS = 7
SW_EMULATION_FAULTS = 8
SW_DUMMY = 9

# <linux/hw_breakpoint.h>
BREAK_ON_READ, BREAK_ON_WRITE, BREAK_ON_ACCESS, BREAK_ON_EXECUTE = 1, 2, 3, 4

_FLAG_DISABLED = 1 << 0
_FLAG_INHERIT = 1 << 1
_FLAG_FREQUENCY = 1 << 10
_OPEN_CLOEXEC = 8
_ATTR = struct.Struct("=IIQQQQQIIQQ56x")

# <asm/ioctl.h>: the direction bits of an ioctl number differ on powerpc
_NO_DATA, _WRITE = (1 << 29, 4 << 29) if os.uname().machine.startswith("ppc") else (0, 1 << 30)
_IOC_ENABLE = _NO_DATA | 0x2400
_IOC_DISABLE = _NO_DATA | 0x2401
_IOC_SET_BPF = _WRITE | 4 << 16 | 0x2408

_PMU_DIRECTORY = "/sys/bus/event_source/devices"


class PerfError(BpfError):
    """A failed perf event request; ``detail`` says what was asked for."""


class PerfEvent(Handle):
    """An open event."""

    __slots__ = ()

    def enable(self) -> None:
        """Start counting and sampling."""
        self._ioctl(_IOC_ENABLE, 0, "PERF_EVENT_IOC_ENABLE")

    def disable(self) -> None:
        """Stop counting and sampling."""
        self._ioctl(_IOC_DISABLE, 0, "PERF_EVENT_IOC_DISABLE")

    def set_program(self, program_fd: int) -> None:
        """Attach a program for the life of the event, for kernels without perf links."""
        self._ioctl(_IOC_SET_BPF, program_fd, "PERF_EVENT_IOC_SET_BPF")

    def count(self) -> int:
        """The counter's value."""
        value: int = struct.unpack("=Q", os.read(self.fd, 8))[0]
        return value

    def _ioctl(self, request: int, argument: int, name: str) -> None:
        try:
            fcntl.ioctl(self.fd, request, argument)
        except OSError as error:
            raise PerfError(error.errno or errno.EIO, name) from None


def open_event(
    kind: int,
    config: int,
    *,
    pid: int = -1,
    cpu: int = -1,
    period: int = 0,
    frequency: int = 0,
    config1: int = 0,
    config2: int = 0,
    breakpoint_type: int = 0,
    disabled: bool = False,
    inherit: bool = False,
    what: str = "",
) -> PerfEvent:
    """Open any event on one CPU, or on one process (``pid``) on every CPU.

    ``period`` is in units of the event (ns for the clocks), ``frequency`` in samples per second;
    give one or none.  ``what`` is the ``detail`` of a :class:`PerfError`.
    """
    flags = (_FLAG_DISABLED if disabled else 0) | (_FLAG_INHERIT if inherit else 0)
    if frequency:
        flags |= _FLAG_FREQUENCY
    attr = buffer(
        _ATTR.pack(
            *(kind, _ATTR.size, config, frequency or period, 0, 0, flags),
            *(0, breakpoint_type, config1, config2),
        )
    )
    fd, error = perf_event_open_syscall(attr, pid, cpu, -1, _OPEN_CLOEXEC)
    if fd < 0:
        raise PerfError(error, "perf_event_open", what)
    return PerfEvent(fd)


def open_clock(cpu: int, *, period: int = 0, frequency: int = 0) -> PerfEvent:
    """The CPU clock of ``cpu``, firing every ``period`` ns or ``frequency`` times a second."""
    return open_event(
        TYPE_SOFTWARE,
        SW_CPU_CLOCK,
        cpu=cpu,
        period=period,
        frequency=frequency,
        what=f"cpu clock of cpu {cpu}",
    )


def open_tracepoint(tracepoint_id: int, *, pid: int = -1) -> PerfEvent:
    """A tracepoint by the id tracefs gives; a program attached to it runs on every CPU."""
    return open_event(
        TYPE_TRACEPOINT,
        tracepoint_id,
        pid=pid,
        cpu=_cpu_for(pid),
        period=1,
        what=f"tracepoint {tracepoint_id}",
    )


def open_kprobe(
    symbol: str = "", *, offset: int = 0, address: int = 0, on_return: bool = False
) -> PerfEvent:
    """A kprobe or kretprobe at ``symbol`` + ``offset`` bytes, or at ``address``."""
    name = buffer(symbol.encode("latin-1") + b"\0") if symbol else None
    return open_event(
        pmu_type("kprobe"),
        pmu_bit("kprobe", "retprobe") if on_return else 0,
        cpu=0,
        config1=address_of(name),
        config2=offset if symbol else address,
        what=f"kprobe {symbol or hex(address)}{f'+{offset:#x}' if offset else ''}",
    )


def open_uprobe(
    path: str, offset: int, *, on_return: bool = False, pid: int = -1, semaphore: int = 0
) -> PerfEvent:
    """A uprobe or uretprobe at file ``offset`` of ``path``, in process ``pid`` or in all.

    ``semaphore`` is the file offset of a USDT reference counter to raise meanwhile, or 0.
    """
    name = buffer(os.fsencode(path) + b"\0")
    config = pmu_bit("uprobe", "retprobe") if on_return else 0
    if semaphore:
        config |= semaphore << pmu_field("uprobe", "ref_ctr_offset")[0]
    return open_event(
        pmu_type("uprobe"),
        config,
        pid=pid,
        cpu=_cpu_for(pid),
        config1=address_of(name),
        config2=offset,
        what=f"uprobe {path}+{offset:#x}",
    )


def open_breakpoint(
    address: int, length: int, access: int, *, cpu: int = -1, pid: int = -1
) -> PerfEvent:
    """A hardware watchpoint of ``length`` bytes for ``access`` (``BREAK_ON_*``), each hit."""
    return open_event(
        TYPE_BREAKPOINT,
        0,
        pid=pid,
        cpu=cpu,
        period=1,
        config1=address,
        config2=length,
        breakpoint_type=access,
        what=f"watchpoint at {address:#x}",
    )


def pmu_type(pmu: str) -> int:
    """The dynamic type number of a PMU; :class:`PerfError` if the kernel has no such PMU."""
    try:
        with open(f"{_PMU_DIRECTORY}/{pmu}/type", encoding="ascii") as file:
            return int(file.read())
    except FileNotFoundError:
        detail = f"the kernel has no {pmu} events"
        raise PerfError(errno.EOPNOTSUPP, "perf_event_open", detail) from None


def pmu_field(pmu: str, field: str) -> tuple[int, int]:
    """First and last bit of a field of a PMU's ``config`` word."""
    try:
        with open(f"{_PMU_DIRECTORY}/{pmu}/format/{field}", encoding="ascii") as file:
            first, _, last = file.read().strip().removeprefix("config:").partition("-")
    except FileNotFoundError:
        detail = f"the kernel's {pmu} events have no {field}"
        raise PerfError(errno.EOPNOTSUPP, "perf_event_open", detail) from None
    return int(first), int(last or first)


def pmu_bit(pmu: str, field: str) -> int:
    """The mask of a one-bit field of a PMU's ``config`` word."""
    return 1 << pmu_field(pmu, field)[0]


def _cpu_for(pid: int) -> int:
    """perf wants a CPU for system-wide events; probes fire on all CPUs whichever it is."""
    return 0 if pid == -1 else -1
