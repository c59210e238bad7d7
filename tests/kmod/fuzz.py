"""Random programs as modules: what the interpreter makes of them, found outside of the machine."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import inprocess
from fuzz.programs import random_program
from fuzz.tree import text_of
from lab import kernels
from stap import Done

from . import batch

_SECONDS = 60.0  # for one program


class Programs(batch.Batch):
    """The random programs of seeds."""

    maker = "kmod.fuzz"

    def __init__(self, seeds: Sequence[int]) -> None:
        super().__init__([[str(seed)] for seed in seeds])


def difference(directory: Path, number: int) -> str:
    """In the machine: how a program's module differs from the interpreter, empty when not."""
    wanted = json.loads((directory / f"{number}.wanted").read_text())
    words = [os.fsdecode(word.encode("latin-1")) for word in wanted["words"]]
    done = batch.run(directory, number, words)
    out, err = (wanted[name].encode("latin-1") for name in ("out", "err"))
    expected = Done(out, err, wanted["status"])
    for name in ("status", "err", "out"):
        mine, other = getattr(done, name), getattr(expected, name)
        if mine != other:
            script = f"stap {' '.join(words)}"
            return f"{script}\n--- {name} of the interpreter\n{other}\n--- of the module\n{mine}\n"
    return ""


# --- outside -------------------------------------------------------------------------------------


def build(kernel: kernels.Kernel, words: list[str], work: Path) -> dict[str, object]:
    """Outside: run programs by the interpreter, and make modules of them."""
    runs = []
    for number, (seed,) in enumerate(json.loads(one) for one in words):
        program = random_program(int(seed))
        line = [*program.options, "-e", text_of(program.tree)]
        runs.append([os.fsdecode(word.encode("latin-1")) for word in line])
        done = inprocess.stap("--runtime=reference", *runs[-1], timeout=_SECONDS)
        wanted = {"words": line, "out": done.out, "err": done.err, "status": done.status}
        (work / f"{number}.wanted").write_text(json.dumps(wanted))
    return batch.build(kernel, [json.dumps(run) for run in runs], work)
