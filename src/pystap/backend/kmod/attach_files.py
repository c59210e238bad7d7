"""Files of the session: which probes are behind each."""

from __future__ import annotations

from pystap.backend.kmod.writer import quoted
from pystap.diag.diagnostic import Diagnostic, DiagnosticError
from pystap.probes.attach import ProcFile
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.ir.module import Module

_LAST: Final = 0xFFFF  # behind a list of probes
_MODES: Final = {"read": 0o400, "write": 0o200}
_MEMBERS: Final = {"read": "readers", "write": "writers"}


def proc_files(module: Module) -> tuple[list[str], str]:
    """Lines for file scope, and the call that makes the files; empty without any."""
    found: dict[str, dict[str, list[int]]] = {}
    modes: dict[str, int] = {}
    sizes: dict[str, int] = {}
    default = module.limits.maxstringlen - 1
    for index, probe in enumerate(module.probes):
        at = probe.attach
        if isinstance(at, ProcFile):
            found.setdefault(at.path, {}).setdefault(at.edge, []).append(index)
            modes[at.path] = modes.get(at.path, 0) | (_MODES[at.edge] & ~at.umask)
            if at.edge == "read":
                sizes[at.path] = at.maxsize or default
    if not found:
        return [], ""
    lines, rows = ['#include "kernel_procfs.h"'], []
    for number, (path, edges) in enumerate(found.items()):
        members = []
        for edge, indexes in edges.items():
            words = ", ".join(str(i) for i in (*indexes, _LAST))
            name = _MEMBERS[edge]
            lines.append(f"static const u16 stap_file{number}_{name}[] = {{ {words} }};")
            members.append(f".{name} = stap_file{number}_{name}")
        rows.append(
            f"\t{{ .path = {quoted(path)}, {', '.join(members)}, .most = {sizes.get(path, 0)}, "
            f".mode = 0{modes[path]:o} }},"
        )
    directories = [f"\t{{ .path = {quoted(path)} }}," for path in _directories(list(found))]
    lines += ["static struct stap_proc_file stap_proc_files[] = {", *directories, *rows, "};"]
    most = max([default, *sizes.values()])
    return lines, f"stap_procfs_start(stap_proc_files, ARRAY_SIZE(stap_proc_files), {most})"


def _directories(paths: list[str]) -> list[str]:
    """Those that have to be made, in order."""
    wanted: dict[str, None] = {}
    for path in paths:
        parts = path.split("/")
        wanted.update(dict.fromkeys("/".join(parts[:n]) for n in range(1, len(parts))))
    for directory in wanted:
        if directory in paths:
            text = f"procfs file '{directory}' is also a directory of others"
            raise DiagnosticError(Diagnostic("semantic error", text))
    return list(wanted)
