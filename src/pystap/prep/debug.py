"""Checks of debug information: needed only for what BTF and symbols do not tell."""

from __future__ import annotations

import os

from pystap.kernel.cpu import kernel_build_id
from pystap.prep.findings import Finding
from pystap.prep.machine import Machine
from pystap.typing import Final

_GROUP: Final = "debug information"
_BOTH: Final = ("bpf", "kernel")
_KERNEL_LOSES: Final = "kernel statements, inlined functions and locals"


def debug_findings(machine: Machine) -> list[Finding]:
    """The checks in the order in which they are shown."""
    found = [] if machine.root else [_library(machine)]
    found.append(_of_kernel(machine))
    if not machine.root:
        found.append(_servers(machine))
    return found


def _library(machine: Machine) -> Finding:
    from pystap.debuginfo.libdw import DwarfError, library

    try:
        library()
    except DwarfError as problem:
        todo = machine.distribution.libdw or "install elfutils' libdw"
        return Finding(
            _GROUP, "libdw", "limited", str(problem), todo, _BOTH,
            "variables, lines and inlined functions of programs",
        )  # fmt: skip
    return Finding(_GROUP, "libdw", "ok", "reads that of programs")


def kernel_places(release: str) -> list[str]:
    """Where the debug information of a kernel may be."""
    return [
        f"/usr/lib/debug/boot/vmlinux-{release}",
        f"/usr/lib/debug/lib/modules/{release}/vmlinux",
        f"/usr/lib/debug/usr/lib/modules/{release}/vmlinux",
        f"/boot/vmlinux-{release}",
        f"/lib/modules/{release}/vmlinux",
        f"/lib/modules/{release}/build/vmlinux",
    ]


def _of_kernel(machine: Machine) -> Finding:
    release = machine.release
    places = kernel_places(release)
    build_id = kernel_build_id() if machine.live else None
    if build_id:
        places.insert(0, f"/usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug")
    for place in places:
        if machine.exists(place):
            return Finding(_GROUP, "of the kernel", "ok", place)
    command = machine.distribution.kernel_debuginfo(release)
    todo = machine.packaged(command)
    if not command:
        todo = f"export DEBUGINFOD_URLS={machine.distribution.server}"
    text = f"not in {places[0]} nor {len(places) - 1} other places"
    return Finding(_GROUP, "of the kernel", "limited", text, todo, _BOTH, _KERNEL_LOSES)


def _servers(machine: Machine) -> Finding:
    named = os.environ.get("DEBUGINFOD_URLS", "").split()
    if named:
        return Finding(_GROUP, "servers", "ok", f"asked: {', '.join(named)}")
    return Finding(
        _GROUP, "servers", "limited", "DEBUGINFOD_URLS is not set: nothing is downloaded",
        f"export DEBUGINFOD_URLS={machine.distribution.server}",
    )  # fmt: skip
