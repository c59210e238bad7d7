"""Pass 4 of the kernel-module runtime: C text becomes a module, by the kernel's own build."""

from __future__ import annotations

import shutil
from hashlib import blake2b
from pathlib import Path
from tempfile import mkdtemp

from pystap.backend.kmod.complaints import explain
from pystap.backend.kmod.features import found, make
from pystap.backend.kmod.trees import BuildError, identity
from pystap.session import cache
from pystap.typing import Final
from pystap.wholefile import write_whole

RUNTIME: Final = Path(__file__).parent / "runtime"
_MAKEFILE: Final = """\
obj-m := {objects}
ccflags-y := -iquote {runtime} {flags}
"""
_FLAGS: Final = (
    "-Wno-unused-function -Wno-unused-variable -Wno-unused-label -Wno-unused-but-set-variable"
)
# Nobody debugs the C text: no debugging information, and nothing made of it.
_PLAIN: Final = ["KCFLAGS=-g0", "CONFIG_DEBUG_INFO_BTF_MODULES="]


def cached_name(source: str, name: str, directory: Path, words: list[str]) -> Path:
    """Where the cache keeps the module of a C text, there or not: for the kernel of a build tree
    and further words for make (``-B``).  An empty name stands for one that the content gives.
    Raises :class:`BuildError`.
    """
    runtime = [path.read_bytes() for path in sorted(RUNTIME.glob("*.h"))]
    parts = (source, name, runtime, identity(directory, words))
    key = blake2b(repr(parts).encode(), digest_size=16).hexdigest()
    return Path(cache.directory(), f"{name}.{key}.ko" if name else f"stap_{key}.ko")


def fill_cache(kept: Path, source: str, directory: Path, words: list[str]) -> None:
    """Make a module that the cache does not have.  Raises :class:`BuildError`."""
    work = Path(mkdtemp(prefix="stap"))
    try:
        name = kept.name.partition(".")[0]
        write_whole(kept, build_module(source, name, directory, work, words).read_bytes())
        cache.limit_size()
    finally:
        shutil.rmtree(work, ignore_errors=True)


def script_name(source: str) -> str:
    """A name for the module of a script without one."""
    return f"stap_{blake2b(source.encode(), digest_size=16).hexdigest()}"


def build_module(source: str, name: str, directory: Path, work: Path, words: list[str]) -> Path:
    """Compile C text to ``work/NAME.ko`` against the kernel headers in ``directory``.

    ``words`` are further ones for make (``-B``).  Raises :class:`BuildError`.
    """
    return build_modules({name: source}, directory, work, words)[name]


def build_modules(
    sources: dict[str, str], directory: Path, work: Path, words: list[str]
) -> dict[str, Path]:
    """Compile several modules at once; see :func:`build_module`."""
    for name, source in sources.items():
        (work / f"{name}.c").write_text(source, encoding="latin-1")
    flags = [_FLAGS, *(f"-D{feature}" for feature in found(directory, words))]
    objects = " ".join(f"{name}.o" for name in sources)
    (work / "Makefile").write_text(
        _MAKEFILE.format(objects=objects, runtime=RUNTIME, flags=" ".join(flags)),
        encoding="utf-8",
    )
    status, output = make(directory, work, [*_PLAIN, *words, "modules"])
    made = {name: work / f"{name}.ko" for name in sources}
    if status or not all(path.is_file() for path in made.values()):
        raise BuildError(explain(output, work, directory))
    return made
