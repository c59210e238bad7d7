"""Rows for instructions of user programs and for processes, and the files they are about."""

from __future__ import annotations

from pystap.backend.kmod.writer import quoted
from pystap.ir import ops
from pystap.ir.walk import owners, walk, walk_body
from pystap.probes.attach import ProcessEvent, Uprobe, of_target
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.ir.module import Module


class Files:
    """Programs and libraries that probes name."""

    def __init__(self) -> None:
        self._paths: dict[str, int] = {}
        self.used = False

    def at(self, path: str) -> str:
        """The C expression that points to a file."""
        self.used = True
        return f"&stap_files[{self._paths.setdefault(path, len(self._paths))}]"

    def who(self, path: str, pid: int, target_only: bool) -> str:
        """The C initializer that says whose events count."""
        self.used = True
        program = self.at(path) if path else "NULL"
        return f"{{ {program}, {pid}, {'true' if target_only else 'false'} }}"

    def declare(self) -> list[str]:
        """Lines for file scope, once all files are known."""
        if not self.used:
            return []
        rows = [f"\t{{ .name = {quoted(path)} }}," for path in self._paths]
        return [
            '#include "kernel_files.h"', "static struct stap_file stap_files[] = {",
            *(rows or ["\t{ .name = NULL },"]), "};",
            f"enum {{ stap_file_count = {len(self._paths)} }};", "",
        ]  # fmt: skip

    def holds(self) -> list[str]:
        """The call that takes hold of the files."""
        return ["stap_files_hold(stap_files, stap_file_count)"] if self.used else []

    def drops(self) -> list[str]:
        """The call that lets go of the files."""
        return ["stap_files_drop(stap_files, stap_file_count)"] if self.used else []


def uprobes(module: Module, files: Files) -> list[str]:
    """Rows for instructions of user programs."""
    rows = []
    for index, probe in enumerate(module.probes):
        at = probe.attach
        if not isinstance(at, Uprobe):
            continue
        returns = "true" if at.is_return else "false"
        who = files.who(at.program, at.pid, at.target_only)
        rows.append(
            f"\t{{ .probe = {index}, .file = {files.at(at.path)}, .offset = {at.offset:#x}, "
            f".semaphore = {at.semaphore:#x}, .is_return = {returns}, .who = {who} }},"
        )
    return rows


def processes(module: Module, files: Files) -> list[str]:
    """Lines for the probes of processes and for who belongs to the target; none without both."""
    rows = []
    for index, probe in enumerate(module.probes):
        at = probe.attach
        if isinstance(at, ProcessEvent):
            edge = at.edge.upper().replace(".", "_")
            edge = edge if "_" in edge else f"PROCESS_{edge}"
            who = files.who(at.path, at.pid, at.target_only)
            rows.append(f"\t{{ .probe = {index}, .edge = STAP_{edge}, .who = {who} }},")
    target = _needs_target(module)
    if not rows and not target:
        return []
    files.used = True
    return [
        '#include "kernel_processes.h"',
        "static const struct stap_process_probe stap_process_probes[] = {",
        *(rows or ["\t{ .probe = 0 },"]), "};",
        "static const struct stap_processes stap_processes = { stap_process_probes, "
        f"{len(rows)}, {'true' if target else 'false'}, stap_files, stap_file_count }};", "",
    ]  # fmt: skip


def _needs_target(module: Module) -> bool:
    """Whether anything asks who belongs to the target."""
    if any(of_target(probe.attach) for probe in module.probes):
        return True
    nodes = [node for owner in owners(module) for node in walk_body(owner.body)]
    nodes += [node for condition in module.conditions for node in walk(condition)]
    return any(isinstance(node, ops.Intrinsic) and node.name == "in_target" for node in nodes)
