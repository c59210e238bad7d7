"""The shared libraries a program is linked with, for ``process(...).library("GLOB")``."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase

from pystap.debuginfo.libraries import needed
from pystap.lang.tokens import Token
from pystap.probes.programs import Program, memory_of_pid
from pystap.probes.shapes import bad_point, has_wildcard


def find_libraries(
    program: Program, pattern: str, pid: int, sysroot: str, lenient: bool, tok: Token
) -> list[Program]:
    """The libraries of a program (with ``pid``: those a process has mapped) that fit a pattern.

    A pattern with a slash is a path; others are compared with file names.  Raises
    ``DiagnosticError`` when there is none, unless ``lenient``.
    """
    if "/" in pattern and not has_wildcard(pattern):
        path = sysroot + pattern
        if not os.path.exists(path):
            raise bad_point(f"cannot find library '{pattern}': no such file", tok)
        return [Program(os.path.realpath(path), os.path.realpath(path))]
    known = _mapped(pid, tok) if pid else needed(program.path, sysroot)
    found: dict[str, Program] = {}
    for name, path in known.items():
        real = os.path.realpath(path)
        texts = (path, real) if "/" in pattern else (name, os.path.basename(real))
        if any(fnmatchcase(text, pattern) for text in texts):
            found.setdefault(real, Program(real, real))
    if not found and not lenient:
        hint = f"it has: {', '.join(sorted(known))}" if known else "it is linked with none"
        what = f"library matching '{pattern}'" if has_wildcard(pattern) else f"library '{pattern}'"
        raise bad_point(f"no {what} of {program.name}", tok, hint)
    return [found[path] for path in sorted(found)]


def _mapped(pid: int, tok: Token) -> dict[str, str]:
    """The ELF files that a process has mapped, by file name, its program left out."""
    own = os.path.realpath(f"/proc/{pid}/exe")
    paths: dict[str, str] = {}
    for entry in memory_of_pid(pid, tok):
        if entry.executable and entry.path.startswith("/") and not entry.deleted:
            paths[os.path.basename(entry.path)] = entry.path
    return {name: path for name, path in paths.items() if path != own}
