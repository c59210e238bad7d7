"""Kernel modules for tests of the lab: built outside of the machine, by its kernel's headers.

A test file says at its top which modules its tests want::

    HELLO = Module("-e", 'probe begin { println("hello") exit() }')

    def test_hello(modules: Modules) -> None:
        assert modules.run(HELLO).out == "hello\\n"

Building them begins when the machine starts, in a process outside (``python -m lab.modules``);
what a test asks for without saying so before is built when it asks.  What was built stays in the
cache of the lab, by what it was made of.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import inprocess
from stap import Done

from . import kernels

WANTED, BUILT, LOG, GONE = "modules.wanted", "modules.built", "modules.log", "modules.gone"
_POLL = 0.05  # seconds
_SECONDS = 300.0  # that building one may take, with all that stand before it
_TOLD = ("btf", "notes")  # in /sys/kernel


@dataclass(frozen=True, init=False)
class Module:
    """A module by the words of the command line that make it: ``stap --runtime=kernel -p4`` and
    these.  Other kinds name another ``maker``: a module whose function ``build`` makes them."""

    words: tuple[str, ...]
    maker: ClassVar[str] = "lab.modules"

    def __init__(self, *words: str) -> None:
        object.__setattr__(self, "words", words)

    @property
    def key(self) -> str:
        """A name for it in files."""
        return _key(self.maker, self.words)


def _key(maker: str, words: Iterable[str]) -> str:
    return sha256(repr((maker, tuple(words))).encode()).hexdigest()[:20]


class BuildFailed(Exception):  # noqa: N818
    """A module could not be built; the text is what the command said."""


class Modules:
    """In the machine: modules and how they run."""

    def __init__(self, shared: Path, own: Path) -> None:
        """``shared`` with the process outside; ``own``, where files may stay."""
        self._shared = shared
        self._own = own

    def ask(self, modules: Iterable[Module]) -> None:
        """Have modules built that will be wanted."""
        ask(self._shared, modules)

    def build(self, module: Module) -> Path:
        """The file of a module, waited for.  Raises :class:`BuildFailed`."""
        directory = self.directory(module)
        return directory / str(json.loads((directory / "answer").read_text())["name"])

    def directory(self, module: Module) -> Path:
        """Where the files are that a module's maker made, waited for.  Raises
        :class:`BuildFailed`."""
        own = self._own / module.key
        if own.exists():
            return own
        at = self._shared / BUILT / module.key
        if not at.exists():
            ask(self._shared, [module])
        deadline = time.monotonic() + _SECONDS
        while not at.exists():
            if (self._shared / GONE).exists() or time.monotonic() > deadline:
                raise BuildFailed(f"nobody built it:\n{(self._shared / LOG).read_text()}")
            time.sleep(_POLL)
        answer = json.loads((at / "answer").read_text())
        if answer["status"]:
            raise BuildFailed(answer["err"])
        shutil.copytree(at, own)
        return own

    def run(self, module: Module, *words: str, timeout: float = 120) -> Done:
        """Run a module to its end by ``staprun`` with these words before it."""
        return staprun(*words, str(self.build(module)), timeout=timeout)


def staprun(*words: str, timeout: float = 120) -> Done:
    """Run ``staprun`` in a fork, which spares its start."""
    return started(*words).end(timeout)


def started(*words: str) -> inprocess.Run:
    """``staprun`` in a fork, running."""
    command = _imported("pystap.staprun.session", "pystap.staprun.main").main
    return inprocess.Run(*words, command=command)


def _imported(*names: str) -> Any:
    """Import modules of the package, which forks then need not do; the last one."""
    return [importlib.import_module(name) for name in names][-1]


def ask(directory: Path, modules: Iterable[Module]) -> None:
    """Ask the process outside for modules, in this order."""
    folder = directory / WANTED
    folder.mkdir(exist_ok=True)
    for number, module in enumerate(modules):
        name = f"{time.time_ns()}.{number:06}"
        (folder / f".{name}").write_text(json.dumps([module.maker, module.words]))
        (folder / f".{name}").rename(folder / name)


def declared(scopes: Iterable[dict[str, Any]]) -> list[Module]:
    """The modules among the values of test files' names."""
    values = itertools.chain.from_iterable(scope.values() for scope in scopes)
    lists = (v if isinstance(v, list | tuple) else [v] for v in values)
    found = [one for values in lists for one in values if isinstance(one, Module)]
    return list(dict.fromkeys(found))


# --- outside -------------------------------------------------------------------------------------


def serve(directory: Path, kernel: str) -> subprocess.Popen[bytes]:
    """Outside: start building what is asked for there."""
    words = ["setpriv", "--pdeathsig", "KILL", "unshare", "-m", sys.executable, "-m", __name__]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    with (directory / LOG).open("wb") as log:
        return subprocess.Popen(
            [*words, str(directory), kernel],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": paths},
        )


def serve_all(directory: Path, kernel: kernels.Kernel) -> None:
    """Outside, in a mount namespace of its own: build what is asked for until killed."""
    _pretend(kernel)
    os.environ["SYSTEMTAP_DIR"] = str(kernel.home / "systemtap")
    _imported("pystap.cli.kernel", "pystap.cli.passes", "pystap.backend.kmod.source")
    seen: set[str] = set()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        while True:
            folder = directory / WANTED
            names = sorted(os.listdir(folder)) if folder.exists() else []
            for name in names:
                if name not in seen and not name.startswith("."):
                    seen.add(name)
                    maker, words = json.loads((folder / name).read_text())
                    pool.submit(_serve_one, directory, kernel, maker, words)
            time.sleep(_POLL)


def _serve_one(directory: Path, kernel: kernels.Kernel, maker: str, words: list[str]) -> None:
    """Build a module and put it where the machine looks for it."""
    to = directory / BUILT / _key(maker, words)
    if to.exists():
        return
    work = Path(f"{to}.{time.time_ns()}")
    work.mkdir(parents=True)
    try:
        done = _imported(maker).build(kernel, words, work)
    except Exception:
        done = {"status": 1, "err": traceback.format_exc()}
    (work / "answer").write_text(json.dumps(done))
    try:
        work.rename(to)
    except OSError:  # it was asked for twice
        shutil.rmtree(work)


def build(kernel: kernels.Kernel, words: list[str], work: Path) -> dict[str, object]:
    """Build a module into a directory: its name there, or what was said instead."""
    words = ["--runtime=kernel", "-p4", "-r", str(kernel.build), *words]
    command = _imported("pystap.cli.main").main
    done = inprocess.Run(*words, directory=work, command=command).end(_SECONDS)
    if done.status:
        return {"status": done.status, "err": done.err}
    made = work / done.out.strip()
    name = made.name
    if made.parent != work:
        shutil.copy(made, work / name)
    return {"status": 0, "name": name}


def _pretend(kernel: kernels.Kernel) -> None:
    """Let this process and its children take the kernel for the other one."""
    compiler = kernels.add_compiler(kernel)
    if compiler is not None:
        os.environ["PATH"] = f"{compiler}:{os.environ['PATH']}"
    facts = kernels.facts(kernel)
    for name in _TOLD:
        subprocess.run(["mount", "--bind", facts / name, f"/sys/kernel/{name}"], check=True)
    own = os.uname()
    release = kernel.release
    names = os.uname_result((own.sysname, own.nodename, release, own.version, own.machine))
    os.uname = lambda: names


if __name__ == "__main__":
    serve_all(Path(sys.argv[1]), kernels.get(sys.argv[2]))
