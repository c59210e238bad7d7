"""The shared libraries a program is linked with, for ``process(...).library("GLOB")``."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase

from pystap.debuginfo.elf import Elf, ElfError
from pystap.lang.tokens import Token
from pystap.probes.programs import Program, memory_of_pid
from pystap.probes.shapes import bad_point, has_wildcard
from pystap.typing import Final

_FOLDERS: Final = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")
_DT_RPATH: Final = 15
_DT_RUNPATH: Final = 29


def find_libraries(
    program: Program, pattern: str, pid: int, sysroot: str, tok: Token
) -> list[Program]:
    """The libraries of a program (with ``pid``: those a process has mapped) that fit a pattern.

    A pattern with a slash is a path; others are compared with file names.  Raises
    ``DiagnosticError`` when a plain name is not among them.
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
    if not found and not has_wildcard(pattern):
        hint = f"it has: {', '.join(sorted(known))}" if known else "it is linked with none"
        raise bad_point(f"no library '{pattern}' of {program.name}", tok, hint)
    return [found[path] for path in sorted(found)]


def _mapped(pid: int, tok: Token) -> dict[str, str]:
    """The ELF files that a process has mapped, by file name, its program left out."""
    own = os.path.realpath(f"/proc/{pid}/exe")
    paths: dict[str, str] = {}
    for entry in memory_of_pid(pid, tok):
        if entry.executable and entry.path.startswith("/") and not entry.deleted:
            paths[os.path.basename(entry.path)] = entry.path
    return {name: path for name, path in paths.items() if path != own}


def needed(program: str, sysroot: str) -> dict[str, str]:
    """The libraries a program needs, and those they need, by the names they are asked for."""
    found: dict[str, str] = {}
    installed: dict[str, str] | None = None
    waiting = [program]
    while waiting:
        path = waiting.pop()
        for name, folders in _asked_for(path):
            if name in found:
                continue
            if installed is None:
                installed = _installed(sysroot)
            places = [os.path.join(folder, name) for folder in folders]
            places += [installed.get(name, ""), *(f"{sysroot}{f}/{name}" for f in _FOLDERS)]
            here = next((place for place in places if place and os.path.exists(place)), None)
            if here is not None:
                found[name] = here
                waiting.append(here)
    return found


def _asked_for(path: str) -> Iterator[tuple[str, list[str]]]:
    """The libraries a file needs, each with the folders the file names for it."""
    try:
        with Elf(path) as elf:
            folders = os.environ.get("LD_LIBRARY_PATH", "").split(":")
            entries = elf.dynamic_text(_DT_RUNPATH) or elf.dynamic_text(_DT_RPATH)
            own = os.path.dirname(os.path.realpath(path))
            for text in entries.split(":"):
                folders.append(text.replace("$ORIGIN", own).replace("${ORIGIN}", own))
            for name in elf.needed():
                yield name, [folder for folder in folders if folder]
    except (ElfError, OSError):
        return


def _installed(sysroot: str) -> dict[str, str]:
    """Libraries by name as the dynamic loader's cache has them, for this machine."""
    command = ["ldconfig", "-p"] if not sysroot else ["ldconfig", "-r", sysroot, "-p"]
    for program in (command[0], "/sbin/ldconfig"):
        try:
            done = subprocess.run(
                [program, *command[1:]], capture_output=True, text=True, check=False
            )
        except OSError:
            continue
        found: dict[str, str] = {}
        for line in done.stdout.splitlines():
            name, arrow, path = line.strip().partition(" => ")
            label, _, kind = name.partition(" (")
            if arrow and (os.uname().machine.replace("_", "-") in kind or "64bit" in kind):
                found.setdefault(label, sysroot + path)
        return found
    return {}
