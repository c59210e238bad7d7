"""Finding a program or library by its build id, for ``process("BUILD-ID")``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from pystap.debuginfo.elf import build_id_of
from pystap.typing import Final

_BUILD_ID: Final = re.compile(r"[0-9a-f]{40}\Z")
# Links to programs by build id, which some distributions have (those to debug information are
# named .debug).
_LINKS: Final = ("/usr/lib/.build-id", "/usr/lib/debug/.build-id")
_FOLDERS: Final = ("/usr/libexec", "/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib")


def is_build_id(name: str) -> bool:
    """Whether a name of a program is a build id: 40 hexadecimal digits."""
    return _BUILD_ID.match(name) is not None


def find_build_id(wanted: str, path: list[str], sysroot: str) -> str | None:
    """The file of a build id: of those linked by it, that run now, or are installed.

    ``path`` are folders of programs.  None when there is none.
    """
    seen: set[tuple[int, int]] = set()
    for place in _places(wanted, path, sysroot):
        try:
            info = os.stat(place)
        except OSError:
            continue  # no such link, or a process that is not ours to look at
        identity = (info.st_dev, info.st_ino)
        if identity in seen:
            continue
        seen.add(identity)
        if build_id_of(place) == wanted:
            real = os.path.realpath(place)
            return real if os.path.exists(real) else place
    return None


def _places(wanted: str, path: list[str], sysroot: str) -> Iterator[str]:
    for folder in _LINKS:
        yield f"{sysroot}{folder}/{wanted[:2]}/{wanted[2:]}"
    if not sysroot:
        yield from _running()
    for folder in dict.fromkeys((*path, *_library_folders(), *_FOLDERS)):
        yield from _files(sysroot + folder)


def _running() -> Iterator[str]:
    """The programs of all processes, and what else they run code of."""
    from pystap.kernel.procs import maps, pids

    for pid in pids():
        yield f"/proc/{pid}/exe"
        try:
            entries = maps(pid)
        except OSError:
            continue  # ended, or not ours to look at
        for entry in entries:
            if entry.executable and entry.path.startswith("/"):
                yield entry.path


def _library_folders() -> list[str]:
    """Folders of libraries below those of all kinds, as Debian has them."""
    return [f"{folder}/{os.uname().machine}-linux-gnu" for folder in ("/lib", "/usr/lib")]


def _files(folder: str) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in sorted(entries, key=lambda entry: entry.name):
        if entry.is_file():
            yield entry.path
