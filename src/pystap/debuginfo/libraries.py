"""The shared libraries a program is linked with, and where they are."""

from __future__ import annotations

import os
import subprocess

from pystap.debuginfo.elf import Elf, ElfError
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDERS: Final = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")
_DT_RPATH: Final = 15
_DT_RUNPATH: Final = 29


def linked(program: str, sysroot: str) -> list[str]:
    """The libraries that a program is linked with, and what loads them; none for other files."""
    try:
        with Elf(program) as elf:
            loader = elf.interpreter()
    except (ElfError, OSError):
        return []
    return [*needed(program, sysroot).values(), *([sysroot + loader] if loader else [])]


def needed(program: str, sysroot: str) -> dict[str, str]:
    """The libraries a program needs, and those they need, by the names they are asked for."""
    found: dict[str, str] = {}
    installed: dict[str, str] | None = None
    machine = _machine(program)
    waiting = [program]
    while waiting:
        path = waiting.pop()
        for name, folders in _asked_for(path):
            if name in found:
                continue
            if installed is None:
                installed = _installed(sysroot, narrow=machine is not None and machine[0] == 32)
            places = [os.path.join(folder, name) for folder in folders]
            places += [installed.get(name, ""), *(f"{sysroot}{f}/{name}" for f in _FOLDERS)]
            here = next((place for place in places if place and _machine(place) == machine), None)
            if here is not None:
                found[name] = here
                waiting.append(here)
    return found


def _machine(path: str) -> tuple[int, str] | None:
    """What a file is made for: bits and machine; None when it is not there or no library."""
    try:
        with Elf(path) as elf:
            return elf.bits, elf.machine_name
    except (ElfError, OSError):
        return None


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


def _installed(sysroot: str, *, narrow: bool) -> dict[str, str]:
    """Libraries by name as the dynamic loader's cache has them, for programs of this machine, or
    for those of 32 bits that run here as well."""
    wide = os.uname().machine.replace("_", "-")
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
            own = wide in kind or "64bit" in kind
            if arrow and own != narrow and "x32" not in kind:
                found.setdefault(label, sysroot + path)
        return found
    return {}
