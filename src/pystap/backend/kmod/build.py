"""Pass 4 of the kernel-module runtime: C text becomes a module, by the kernel's own build."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from pystap.typing import Final

RUNTIME: Final = Path(__file__).parent / "runtime"
_ERROR_LINE: Final = re.compile(
    r"^(?P<file>[^:\s]+):(?P<line>\d+):\d+: (fatal )?error: (?P<what>.*)"
)
_ORIGIN: Final = re.compile(r"/\* (?P<origin>.+:\d+:\d+) \*/")
_MAKEFILE: Final = """\
obj-m := {name}.o
ccflags-y := -iquote {runtime} {flags}
"""
_WARNINGS: Final = (
    "-Wno-unused-function -Wno-unused-variable -Wno-unused-label -Wno-unused-but-set-variable"
)


class BuildError(Exception):
    """The module cannot be built; ``lines`` say why."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines[0])
        self.lines = lines


def build_directory(release: str) -> Path:
    """Where the headers of a kernel are: ``release`` is a release or the directory itself.

    Raises :class:`BuildError` that names the places looked at and how to get them.
    """
    if "/" in release:
        places = [Path(release)]
    else:
        places = [Path(f"/lib/modules/{release}/build"), Path(f"/usr/src/linux-headers-{release}")]
    for place in places:
        if (place / "Makefile").is_file():
            return place
    looked = ", ".join(str(place) for place in places)
    raise BuildError([
        f"ERROR: the kernel headers of {release} are not installed (looked at: {looked})",
        f"ERROR: install them, on Debian: apt-get install linux-headers-{release}",
    ])  # fmt: skip


def release_of(directory: Path) -> str:
    """The release of the kernel a build directory belongs to."""
    try:
        return (directory / "include/config/kernel.release").read_text("ascii").strip()
    except OSError as error:
        raise BuildError([
            f"ERROR: '{directory}' is not a kernel build directory: {error.strerror}"
            " (include/config/kernel.release)"
        ]) from error  # fmt: skip


def build_module(source: str, name: str, directory: Path, work: Path, flags: list[str]) -> Path:
    """Compile C text to ``work/NAME.ko`` against the kernel headers in ``directory``.

    ``flags`` are further words for make (``-B``).  Raises :class:`BuildError`.
    """
    text = work / f"{name}.c"
    text.write_text(source, encoding="latin-1")
    (work / "Makefile").write_text(
        _MAKEFILE.format(name=name, runtime=RUNTIME, flags=_WARNINGS), encoding="utf-8"
    )
    make = shutil.which("make")
    if make is None:
        raise BuildError(["ERROR: make is needed to build a module: apt-get install make gcc"])
    command = [make, "-C", str(directory), f"M={work}", *flags, "modules"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    product = work / f"{name}.ko"
    if done.returncode or not product.is_file():
        raise BuildError(_explain(done.stdout + done.stderr, source, text, directory))
    return product


def _explain(output: str, source: str, text: Path, directory: Path) -> list[str]:
    """What went wrong: the C line and the script's, and the kernel it was built for."""
    lines = [f"ERROR: the module does not compile against {directory}"]
    for line in output.splitlines():
        found = _ERROR_LINE.match(line)
        if found is None:
            continue
        where = Path(found["file"])
        lines.append(f"ERROR: {where.name}:{found['line']}: {found['what']}")
        if where.name == text.name:
            lines += _place(source.split("\n"), int(found["line"]))
    if len(lines) == 1:
        lines += [f"ERROR: {line}" for line in output.splitlines()[-5:]]
    lines.append(
        "ERROR: this is a fault of pystap or of the build tree, not of the script; "
        f"with -k the C text stays ({text})"
    )
    return lines


def _place(source: list[str], number: int) -> list[str]:
    """The line, and what of the script it was made of."""
    lines = [f"ERROR:     {source[number - 1].strip()}"]
    for line in reversed(source[:number]):
        origin = _ORIGIN.search(line)
        if origin is not None:
            return [*lines, f"ERROR:     of the handler at {origin['origin']}"]
    return lines


def settings(words: list[str]) -> list[str]:
    """The ``-B NAME=VALUE`` words as make takes them, and the number of jobs."""
    return [f"-j{os.cpu_count() or 1}", *words]
