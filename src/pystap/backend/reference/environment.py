"""The machine that scripts see in the interpreter: tasks, clocks, memory, all made up.

Defaults are fixed, so that output can be compared byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.reference.memory import Memory
from pystap.records import dataclass, field


@dataclass(slots=True)
class Task:
    """A thread.  ``address`` is that of its ``task_struct`` in the fake kernel memory."""

    pid: int = 1000
    tid: int = 1000
    execname: str = "tester"
    uid: int = 0
    gid: int = 0
    cgroup: int = 1
    address: int = 0xFFFF_8880_0000_1000
    in_target: bool = False


@dataclass(slots=True)
class Event:
    """One hit of a probe: who ran where, and what the event brings with it.

    ``arguments`` are those of a tracepoint, ``funcargs`` of a probed function, ``sysargs`` of a
    system call; ``ip`` is where the probe hit, ``user_ip`` where the task left user space.
    ``time_ns``, when given, sets the clocks to that many ns after the start of the session.
    ``task`` None takes the environment's.
    """

    cpu: int = 0
    task: Task | None = None
    time_ns: int | None = None
    arguments: tuple[int, ...] = ()
    funcargs: tuple[int, ...] = ()
    sysnr: int = 0
    sysargs: tuple[int, ...] = ()
    sysret: int = 0
    retval: int = 0
    ip: int = 0
    user_ip: int = 0
    registers: dict[int, int] = field(default_factory=dict)
    user_mode: bool = False


@dataclass(slots=True)
class Environment:
    """What intrinsics may ask.

    Clocks stand still within an event; :class:`Event` ``time_ns`` moves them.  ``lock_fails`` is
    asked for each lock a handler takes (by the name of the global): True skips the handler.
    """

    task: Task = field(default_factory=Task)
    kernel: Memory = field(default_factory=Memory)
    user: Memory = field(default_factory=Memory)
    target: int = 0
    stp_pid: int = 999
    module_name: str = "stap_reference"
    start_realtime_ns: int = 1_700_000_000_123_456_789
    start_monotonic_ns: int = 5_000_000_000
    start_boot_ns: int = 6_000_000_000
    cycles_per_us: int = 1000
    hz: int = 250
    tz_gmtoff: int = 0  # seconds west of UTC
    tz_name: str = "UTC"
    page_size: int = 4096
    seed: int = 1
    lock_fails: Callable[[str], bool] | None = None
    quiet_warnings: bool = False  # -w: warn() says nothing
    elapsed_ns: int = 0

    def random(self) -> int:
        """The next 32 bits of a fixed sequence."""
        self.seed = (self.seed * 6364136223846793005 + 1442695040888963407) & ((1 << 64) - 1)
        return self.seed >> 32
