"""What this process may do: capabilities and the kernel settings that restrict tracing."""

from __future__ import annotations

# <linux/capability.h>
CAP_DAC_OVERRIDE = 1
CAP_KILL = 5
CAP_NET_ADMIN = 12
CAP_SYS_MODULE = 16
CAP_SYS_PTRACE = 19
CAP_SYS_ADMIN = 21
CAP_SYS_NICE = 23
CAP_SYS_RESOURCE = 24
CAP_PERFMON = 38
CAP_BPF = 39

_LOCKDOWN = "/sys/kernel/security/lockdown"

CAPABILITY_NAMES = {
    CAP_DAC_OVERRIDE: "CAP_DAC_OVERRIDE",
    CAP_KILL: "CAP_KILL",
    CAP_NET_ADMIN: "CAP_NET_ADMIN",
    CAP_SYS_MODULE: "CAP_SYS_MODULE",
    CAP_SYS_PTRACE: "CAP_SYS_PTRACE",
    CAP_SYS_ADMIN: "CAP_SYS_ADMIN",
    CAP_SYS_NICE: "CAP_SYS_NICE",
    CAP_SYS_RESOURCE: "CAP_SYS_RESOURCE",
    CAP_PERFMON: "CAP_PERFMON",
    CAP_BPF: "CAP_BPF",
}


class Privilege:
    """The facts that decide whether tracing is allowed.

    ``capabilities`` are the effective ones as numbers.  ``own_user_namespace`` tells that they
    hold inside a user namespace only, where they do not count for tracing.  ``seccomp`` tells
    that a filter (of a container, say) may refuse system calls.  ``lockdown`` is ``none``,
    ``integrity``, ``confidentiality``, or None where the kernel has no lockdown.  The three
    settings are None where they do not exist.
    """

    __slots__ = (
        "capabilities",
        "kptr_restrict",
        "lockdown",
        "own_user_namespace",
        "perf_event_paranoid",
        "seccomp",
        "unprivileged_bpf_disabled",
    )

    def __init__(self) -> None:
        self.capabilities: frozenset[int] = frozenset()
        self.own_user_namespace = False
        self.seccomp = False
        self.lockdown: str | None = None
        self.unprivileged_bpf_disabled: int | None = None
        self.perf_event_paranoid: int | None = None
        self.kptr_restrict: int | None = None

    def has(self, capability: int) -> bool:
        """Whether a capability is effective where it counts."""
        return capability in self.capabilities and not self.own_user_namespace

    def missing_for_tracing(self) -> list[int]:
        """The capabilities that loading and attaching programs still needs; empty if none.

        CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON.
        """
        if self.has(CAP_SYS_ADMIN):
            return []
        return [c for c in (CAP_BPF, CAP_PERFMON) if not self.has(c)]


def read_privilege(root: str = "") -> Privilege:
    """The facts about this process, now; about the kernel, by the files below ``root``."""
    found = Privilege()
    status = _status()
    found.capabilities = capability_set(int(status.get("CapEff", "0"), 16))
    found.seccomp = status.get("Seccomp", "0") != "0"
    found.own_user_namespace = not _initial_user_namespace()
    found.lockdown = _lockdown(root)
    found.unprivileged_bpf_disabled = _setting("unprivileged_bpf_disabled", root)
    found.perf_event_paranoid = _setting("perf_event_paranoid", root)
    found.kptr_restrict = _setting("kptr_restrict", root)
    return found


def capability_set(mask: int) -> frozenset[int]:
    """The capability numbers in a bit mask."""
    return frozenset(bit for bit in range(64) if mask >> bit & 1)


def _status() -> dict[str, str]:
    with open("/proc/self/status", encoding="latin-1") as file:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in file)}


def _initial_user_namespace() -> bool:
    """The initial user namespace maps all ids to themselves."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return file.read().split() == ["0", "0", "4294967295"]
    except FileNotFoundError:  # a kernel without user namespaces
        return True


def _lockdown(root: str) -> str | None:
    """``none [integrity] confidentiality``: the one in brackets."""
    try:
        with open(root + _LOCKDOWN, encoding="ascii") as file:
            text = file.read()
    except OSError:
        return None
    return text[text.find("[") + 1 : text.find("]")]


def _setting(name: str, root: str) -> int | None:
    try:
        with open(f"{root}/proc/sys/kernel/{name}", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return None
