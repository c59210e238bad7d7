"""Many scripts in few modules: whole runs of the command with ``--runtime=kernel``.

Outside of the machine, passes 1 to 3 of each script, then the scripts with the same limits put
into one module (``pystap.backend.kmod.source.print_scripts``), and all modules of a batch built by
one make.  In the machine, a run says what these passes said, and runs its script of the module.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import inprocess
from lab import kernels
from lab.modules import Module, Modules
from stap import Done

SIZE = 48  # scripts of a batch
_SECONDS = 600.0


class Batch(Module):
    """Scripts by the words of their command lines."""

    maker = "kmod.batch"

    def __init__(self, runs: Sequence[Sequence[str]]) -> None:
        super().__init__(*(json.dumps(list(words)) for words in runs))


class Runs:
    """In the machine: runs of scripts, which are translated and built in batches outside."""

    def __init__(self, modules: Modules, wanted: Sequence[Sequence[str]]) -> None:
        self._modules = modules
        self._batch_of: dict[tuple[str, ...], tuple[Batch, int]] = {}
        batches = []
        for start in range(0, len(wanted), SIZE):
            batches.append(Batch(wanted[start : start + SIZE]))
            for number, words in enumerate(wanted[start : start + SIZE]):
                self._batch_of[tuple(words)] = batches[-1], number
        modules.ask(batches)

    def run(self, *words: str, timeout: float = 120) -> Done:
        """How the command ends with these words, which are among those wanted."""
        batch, number = self._batch_of[words]
        return run(self._modules.directory(batch), number, words, timeout)


def run(directory: Path, number: int, words: Sequence[str], timeout: float = 120) -> Done:
    """How the command ends with these words, which are those of a run of a batch."""
    made = json.loads((directory / f"{number}.json").read_text())
    if made["module"] is None:
        out, err = (made[name].encode("latin-1") for name in ("out", "err"))
        return Done(out, err, made["status"])
    return inprocess.Run(*words, command=lambda words: _run(words, made, directory)).end(timeout)


def _run(words: list[str], made: dict[str, Any], directory: Path) -> int:
    """In a fork: what the passes before said, then pass 5."""
    from pystap.cli.kernel import run_module
    from pystap.cli.parse import parse
    from pystap.cli.report import PassReport, complain
    from pystap.staprun.main import main

    complain(made["err"], end="")
    options = parse(words)

    def start(argv: list[str]) -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(main([*argv, f"stap_number={made['number']}"]))
        return pid

    module = directory / f"{made['module']}.ko"
    return run_module(options, module, PassReport(options.verbose), start)


# --- outside -------------------------------------------------------------------------------------


def build(kernel: kernels.Kernel, words: list[str], work: Path) -> dict[str, object]:
    """Outside: make the modules of a batch in a directory."""
    runs = [json.loads(one) for one in words]
    done = inprocess.Run(command=lambda _: _build(kernel, runs, work)).end(_SECONDS)
    return {"status": done.status, "err": done.err}


def _build(kernel: kernels.Kernel, runs: list[list[str]], work: Path) -> int:
    """In a fork: each script by itself, then the modules."""
    from pystap.backend.kmod.source import print_scripts
    from pystap.backend.kmod.trees import BuildError
    from pystap.probes.attach import SessionEvent

    groups: dict[str, list[tuple[int, Any]]] = {}
    made: list[dict[str, Any]] = []
    for number, words in enumerate(runs):
        ending, module = _translate(words)
        made.append({**ending, "module": None})
        if module is not None:
            alone = any(not isinstance(probe.attach, SessionEvent) for probe in module.probes)
            key = f"{module.limits} {number if alone else ''}"
            groups.setdefault(key, []).append((number, module))
    sources = {}
    for members in groups.values():
        source = print_scripts([module for _, module in members])
        name = f"batch_{blake2b(source.encode('latin-1'), digest_size=8).hexdigest()}"
        sources[name] = source
        for place, (number, _) in enumerate(members):
            made[number] |= {"module": name, "number": place}
    try:
        _build_all(kernel, sources, work)
    except BuildError as error:
        print("\n".join(error.lines), file=sys.stderr)
        return 1
    for number, answer in enumerate(made):
        (work / f"{number}.json").write_text(json.dumps(answer))
    return 0


def _translate(words: list[str]) -> tuple[dict[str, Any], Any]:
    """Passes 1 to 3 of a command line: how they ended, and the product."""
    from pystap.backend.kmod import source
    from pystap.cli.main import main

    products: list[Any] = []

    def keep(module: Any) -> str:
        products.append(module)
        return ""

    source.print_c = keep  # type: ignore[assignment]
    starts = [os.fstat(fd).st_size for fd in (1, 2)]
    status = main(["--runtime=kernel", "-p3", *words])
    sys.stdout.flush()
    out, err = (os.pread(fd, 1 << 20, at).decode("latin-1") for fd, at in zip((1, 2), starts))
    return {"status": status, "out": out, "err": err}, products[0] if products else None


def _build_all(kernel: kernels.Kernel, sources: dict[str, str], work: Path) -> None:
    """Build modules by one make, or take them from the cache."""
    from pystap.backend.kmod.build import build_modules, cached_name
    from pystap.wholefile import write_whole

    kept = {name: cached_name(text, name, kernel.build, []) for name, text in sources.items()}
    missing = {name: text for name, text in sources.items() if not kept[name].exists()}
    if missing:
        there = work / "build"
        there.mkdir()
        for name, path in build_modules(missing, kernel.build, there, []).items():
            write_whole(kept[name], path.read_bytes())
        shutil.rmtree(there)
    for name, path in kept.items():
        shutil.copy(path, work / f"{name}.ko")
