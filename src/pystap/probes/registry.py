"""Which family answers for which first component of a probe point; families load on demand."""

from __future__ import annotations

from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.probes.base import Family

# First component -> module of pystap.probes whose FAMILY answers for it.
_MODULES: Final[dict[str, str]] = {
    "begin": "session_points",
    "end": "session_points",
    "error": "session_points",
    "init": "session_points",
    "never": "session_points",
    "timer": "timers",
    "kernel": "kernel",
    "module": "kernel",
    "kprobe": "kernel",
    "netfilter": "netfilter",
    "perf": "perf_events",
    "procfs": "procfs",
    "process": "process",
    "syscall": "syscalls",
    "dw_syscall": "syscalls",
    "nd_syscall": "syscalls",
    "nd1_syscall": "syscalls",
    "nd2_syscall": "syscalls",
    "tp_syscall": "syscalls",
    "syscall_any": "syscalls",
    "debuginfod": "unsupported",
    "java": "unsupported",
    "python3": "unsupported",
}


def family(root: str) -> Family | None:
    """The family of a first component, None when no family has it (an alias might)."""
    module = _MODULES.get(root)
    return None if module is None else _load(module)


def roots() -> tuple[str, ...]:
    """All first components that families answer for."""
    return tuple(_MODULES)


def families() -> list[Family]:
    """Every family once, for listings."""
    return [_load(module) for module in dict.fromkeys(_MODULES.values())]


def _load(module: str) -> Family:
    from importlib import import_module

    loaded: Family = import_module(f"pystap.probes.{module}").FAMILY
    return loaded
