"""Damaged scripts of which those are kept and changed further that reach new code.

The changes are those of :mod:`mutate`; Atheris (libFuzzer) measures what they reach and keeps the
collection.
"""

from __future__ import annotations

import random
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pystap.lang", "pystap.sema", "pystap.probes"]):
    from .check import check, cut_down

from .mutate import mutate
from .seeds import seeds
from .target import bounded_memory, random_options

_LONGEST = 20_000
_SECONDS = 300  # for one input: what takes half a second takes 30 when every line is watched


def run_guided(count: int, seed: int, findings: Path) -> int:
    """Run ``count`` scripts and leave the process by way of libFuzzer: 0 unless it was stopped.

    What fails is printed, cut down and kept in ``findings``; the collection of scripts that
    reach something new lies in ``findings/corpus``.
    """
    corpus = findings / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(seeds()):
        (corpus / f"seed{number}").write_bytes(text.encode("latin-1"))
    kinds: set[str] = set()

    def one(data: bytes) -> None:
        text = data.decode("latin-1")
        options = random_options(random.Random(len(text)))
        end = check(text, options, passes=2)
        if end.failure and end.kind not in kinds:
            kinds.add(end.kind)
            small = cut_down(text, options, end.kind)
            (findings / f"guided{len(kinds)}.stp").write_bytes(small.encode("latin-1"))
            print(f"===== {end.kind}\n{small[:2000]}\n{end.failure}", flush=True)

    def change(data: bytes, most: int, chance: int) -> bytes:
        text = mutate(data.decode("latin-1"), seeds(), random.Random(chance))
        return text.encode("latin-1")[:most]

    words = [
        f"-runs={count}",
        f"-seed={seed % 2**31 or 1}",
        f"-max_len={_LONGEST}",
        f"-timeout={_SECONDS}",
    ]
    atheris.Setup(
        ["fuzz_parser", *words, "-rss_limit_mb=0", str(corpus)],
        one,
        custom_mutator=change,
        internal_libfuzzer=True,
    )
    with bounded_memory():
        atheris.Fuzz()
    return 0
