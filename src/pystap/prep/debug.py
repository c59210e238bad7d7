"""Checks of debug information: needed only for what BTF and symbols do not tell."""

from __future__ import annotations

import os

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


def _of_kernel(machine: Machine) -> Finding:
    from pystap.debuginfo.debugfiles import DebugFiles, MissingDebugInfo
    from pystap.debuginfo.kernelfiles import KernelFiles
    from pystap.debuginfo.libdw import DwarfError

    name, release = "of the kernel", machine.release
    files = KernelFiles(DebugFiles("", machine.root), release, "", machine.root)
    try:
        found = files.kernel(local=True).info.dwarf.path
        return Finding(_GROUP, name, "ok", found.removeprefix(machine.root))
    except MissingDebugInfo as problem:
        first = problem.looked[0].removeprefix(machine.root)
        text = f"not in {first} nor {len(problem.looked) - 1} other places"
    except DwarfError as problem:
        text = str(problem)
    command = machine.distribution.kernel_debuginfo(release)
    todo = machine.packaged(command)
    if not command:
        todo = f"export DEBUGINFOD_URLS={machine.distribution.server}"
    return Finding(_GROUP, name, "limited", text, todo, _BOTH, _KERNEL_LOSES)


def _servers(machine: Machine) -> Finding:
    named = os.environ.get("DEBUGINFOD_URLS", "").split()
    if named:
        return Finding(_GROUP, "servers", "ok", f"asked: {', '.join(named)}")
    return Finding(
        _GROUP, "servers", "limited", "DEBUGINFOD_URLS is not set: nothing is downloaded",
        f"export DEBUGINFOD_URLS={machine.distribution.server}",
    )  # fmt: skip
