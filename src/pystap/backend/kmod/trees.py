"""The trees that kernel modules are built in: where they are, and what tells them apart."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from pystap.typing import Final

_CHOSEN: Final = re.compile(r"\bgcc-\d+\b|\bclang-\d+\b")


class BuildError(Exception):
    """The module cannot be built; ``lines`` say why."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines[0])
        self.lines = lines


class NoTreeError(BuildError):
    """There is nothing to build against."""


def build_directory(release: str) -> Path:
    """Where the headers of a kernel are: ``release`` is a release or the directory itself.

    Raises :class:`NoTreeError` that names the places looked at and how to get them.
    """
    if "/" in release:
        places = [Path(release)]
    else:
        places = [Path(f"/lib/modules/{release}/build"), Path(f"/usr/src/linux-headers-{release}")]
    for place in places:
        if (place / "Makefile").is_file():
            return place.resolve()
    from pystap.debuginfo.distribution import distribution

    looked = ", ".join(str(place) for place in places)
    lines = [f"ERROR: the kernel headers of {release} are not installed (looked at: {looked})"]
    command = "" if "/" in release else distribution().headers(release)
    if command:
        lines.append(f"ERROR: install them: {command}")
    raise NoTreeError(lines)


def release_of(directory: Path) -> str:
    """The release of the kernel a build directory belongs to.  Raises :class:`BuildError`."""
    from pystap.debuginfo.kernelfiles import release_of as release_and_directory

    release = release_and_directory(str(directory))[0]
    if not release:
        raise BuildError([
            f"ERROR: '{directory}' is not the tree of a built kernel: nothing tells its release "
            "(include/generated/utsrelease.h)"
        ])  # fmt: skip
    return release


def identity(directory: Path, words: list[str]) -> tuple[object, ...]:
    """What makes modules of a tree what they are: the kernel's release, its configuration and
    symbols, the words given to make, and the compiler that these choose, as it calls itself."""
    symbols = directory / "Module.symvers"
    return (
        release_of(directory),
        _content(directory / "include/generated/autoconf.h"),
        symbols.stat()[6:9] if symbols.exists() else None,
        words,
        _version(_compiler(directory, words)),
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _compiler(directory: Path, words: list[str]) -> str:
    """The compiler: a word's (``CC=``, ``LLVM=``), or that which a distribution's tree names."""
    for word in reversed(words):
        name, _, value = word.partition("=")
        if name == "CC":
            return value
        if name == "LLVM" and value:
            return f"clang{value}" if value.startswith("-") else "clang"
    chosen = _CHOSEN.search(_content(directory / ".kernelvariables").decode("latin-1"))
    return chosen[0] if chosen else "gcc"


def _version(compiler: str) -> str:
    """What a compiler says its version is."""
    try:
        words = [*compiler.split(), "--version"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""  # make will say what is wrong with it
