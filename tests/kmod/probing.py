"""Modules of ours that probe the module under test, by its debug information.

Both are made outside of the machine: what of the source is where, must be known then.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from lab import kernels, modules, sources
from lab.modules import Module
from lab.probed import PROBED

FOLDER = "probed"  # in the lab's cache, which the machine sees at the same place


class Probing(Module):
    """The module of a script in which ``M.`` stands for the module under test, ``FILE`` for the
    text that is the path of its file."""

    maker = "kmod.probing"


def build(kernel: kernels.Kernel, words: list[str], work: Path) -> dict[str, object]:
    """Outside: the module under test, then the one that probes it."""
    texts = sorted((file.name, file.read_text()) for file in PROBED.directory.iterdir())
    folder = kernel.home / FOLDER / sha256(repr(texts).encode()).hexdigest()[:20]
    if not folder.exists():
        made = work / "probed"
        made.mkdir()
        answer = sources.build(kernel, [*PROBED.words], made)
        if answer["status"]:
            return answer
        folder.parent.mkdir(exist_ok=True)
        _put(made, folder)
    file = folder / "probed.ko"
    [script] = words
    script = script.replace("M.", f'module("{file}").').replace("FILE", f'"{file}"')
    done = modules.build(kernel, ["-e", script], work)
    return {**done, "probed": str(file)}


def _put(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        if not folder.exists():  # else it was made for another script meanwhile
            raise
