"""Which tapset file defines which function, global, alias or macro.

The index is kept on disk and is good as long as the same files with the same sizes and times are
found, which costs one directory scan to check.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence

from pystap.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pystap.sema.definitions import AliasName, Definitions

_FORMAT = 1

# Path, modification time in ns, size in bytes.
FileStamp = tuple[str, int, int]
Collect = Callable[[str], "Definitions"]


class Index:
    """Definitions by name; values are positions in ``files``."""

    __slots__ = ("aliases", "files", "functions", "globals", "macros")

    def __init__(self, files: list[FileStamp]) -> None:
        self.files = files
        self.functions: dict[str, list[int]] = {}
        self.globals: dict[str, list[int]] = {}
        self.aliases: dict[str, list[tuple[AliasName, int]]] = {}  # by first component
        self.macros: dict[str, list[int]] = {}


def tapset_files(own: str, extra: Sequence[str], release: str, arch: str) -> list[FileStamp]:
    """The tapset files in effect: all below ``own``, and those of the ``-I`` directories.

    An ``-I`` directory is searched for this kernel's release and architecture, most specific
    first; a file is skipped when one of the same name below the same directory, or the very same
    file, was found before.
    """
    found = list(_below(own))
    seen = {stamp[0] for stamp in found}
    for directory in extra:
        names: set[str] = set()
        for sub in search_directories(release, arch):
            for stamp in _in_directory(os.path.join(directory, sub)):
                name = os.path.basename(stamp[0])
                real = os.path.realpath(stamp[0])
                if name not in names and real not in seen:
                    names.add(name)
                    seen.add(real)
                    found.append(stamp)
        found += [s for s in _below(os.path.join(directory, "PATH")) if s[0] not in seen]
    return found


def search_directories(release: str, arch: str) -> list[str]:
    """Subdirectories of an ``-I`` directory for a kernel, most specific first.

    Versions: the full release, the base release, major.minor, none; under each the runtime
    directory ``linux`` with and without the architecture, then the same without it.
    """
    base = release.split("-", 1)[0]
    versions = [release, base, ".".join(base.split(".")[:2]), ""]
    return list(
        dict.fromkeys(
            os.path.join(version, runtime, machine)
            for version in versions
            for runtime in ("linux", "")
            for machine in (arch, "")
        )
    )


def load_index(files: list[FileStamp], cache_dir: str | None, collect: Collect) -> Index:
    """The index of ``files``, from ``cache_dir`` when it is current; else made and kept there.

    ``collect`` is given the path of a file and tells what it defines.
    """
    path = _cache_path(files, cache_dir)
    if path is not None:
        index = _read(path, files)
        if index is not None:
            return index
    index = _build(files, collect)
    if path is not None:
        _write(path, index)
    return index


def _build(files: list[FileStamp], collect: Collect) -> Index:
    index = Index(files)
    for number, (path, _, _) in enumerate(files):
        defined = collect(path)
        for name in defined.functions:
            index.functions.setdefault(name, []).append(number)
        for name in defined.globals:
            index.globals.setdefault(name, []).append(number)
        for alias in defined.aliases:
            index.aliases.setdefault(alias[0][0], []).append((alias, number))
        for name in defined.macros if path.endswith(".stpm") else ():
            index.macros.setdefault(name, []).append(number)
    return index


def _below(directory: str) -> Iterable[FileStamp]:
    """Tapset files of a whole tree in a stable order."""
    yield from _in_directory(directory)
    try:
        with os.scandir(directory) as entries:
            names = sorted(e.name for e in entries if e.is_dir() and e.name[0] != ".")
    except OSError:
        return
    for name in names:
        yield from _below(os.path.join(directory, name))


def _in_directory(directory: str) -> list[FileStamp]:
    stamps = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith((".stp", ".stpm")) and entry.is_file():
                    status = entry.stat()
                    stamps.append((entry.path, status.st_mtime_ns, status.st_size))
    except OSError:
        return []  # an absent version or architecture directory is no fault
    stamps.sort()
    return stamps


def _cache_path(files: list[FileStamp], cache_dir: str | None) -> str | None:
    """One cache file for each set of directories."""
    if cache_dir is None:
        return None
    from zlib import crc32

    directories = sorted({os.path.dirname(path) for path, _, _ in files})
    key = crc32("\n".join(directories).encode("utf-8", "surrogateescape"))
    return os.path.join(cache_dir, f"tapset-{key:08x}.{sys.implementation.cache_tag}")


def _read(path: str, files: list[FileStamp]) -> Index | None:
    import marshal

    try:
        with open(path, "rb") as file:
            data: Any = marshal.loads(file.read())
        version, stamps, functions, variables, aliases, macros = data
    except (OSError, ValueError, EOFError, TypeError):
        return None
    if version != _FORMAT or stamps != files:
        return None
    index = Index(files)
    index.functions, index.globals, index.aliases, index.macros = (
        functions,
        variables,
        aliases,
        macros,
    )
    return index


def _write(path: str, index: Index) -> None:
    """Keep the index; a cache that cannot be written is done without."""
    import contextlib
    import marshal

    from pystap.wholefile import write_whole

    data = (_FORMAT, index.files, index.functions, index.globals, index.aliases, index.macros)
    with contextlib.suppress(OSError):
        write_whole(path, marshal.dumps(data))
