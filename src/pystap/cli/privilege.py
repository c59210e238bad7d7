"""The question whether this process may trace at all, answered in words."""

from __future__ import annotations

from pystap.kernel.privilege import CAPABILITY_NAMES, read_privilege


def refusal() -> list[str]:
    """Why tracing is impossible here and what to do; empty when it is possible."""
    found = read_privilege()
    missing = found.missing_for_tracing()
    if not missing:
        if found.lockdown == "confidentiality":
            return [
                "ERROR: the kernel is locked down (confidentiality mode): it refuses programs "
                "that read kernel memory.",
                "        Boot with lockdown=integrity, or without Secure Boot.",
            ]
        return []
    names = " and ".join(CAPABILITY_NAMES[c] for c in missing)
    lines = [f"ERROR: tracing needs the capabilities {names}, which this process does not have."]
    if found.own_user_namespace:
        lines.append(
            "        Inside a user namespace (a rootless container) they do not count: run stap "
            "outside of it."
        )
    else:
        lines.append(
            "        Run stap as root (sudo stap ...), or give them to it: "
            "setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep on the Python interpreter."
        )
    return lines
