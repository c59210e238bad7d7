"""``python -m tests.fuzz_parser N [SEED]``: N damaged scripts, numbered from SEED up.

``python -m tests.fuzz_parser --coverage N`` lets coverage of the front end guide the changes
(needs the ``fuzz`` extra).  What fails is printed and kept below ``fuzz-findings/``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

USAGE = "usage: python -m tests.fuzz_parser [--coverage] N [SEED]"
_PASSES = (3, 1, 1, 1, 2, 1, 1, 1)  # most scripts are for the parser, which is fast
FINDINGS = Path("fuzz-findings")


def main(words: list[str]) -> int:
    """Run; 1 when something else than diagnostics came of a script."""
    coverage = words[:1] == ["--coverage"]
    words = words[1:] if coverage else words
    if not 1 <= len(words) <= 2 or not all(w.isdigit() for w in words):
        print(USAGE, file=sys.stderr)
        return 2
    count = int(words[0])
    first = int(words[1]) if len(words) > 1 else time.time_ns() % 10**12
    if coverage:
        from .guided import run_guided  # before anything of pystap: it measures what it imports

        return run_guided(count, first, FINDINGS)
    return run_many(count, first)


def run_many(count: int, first: int) -> int:
    """The scripts of ``count`` seeds."""
    from .target import bounded_memory

    with bounded_memory():
        return _run_bounded(count, first)


def _run_bounded(count: int, first: int) -> int:
    from .check import check, cut_down, script_of

    print(f"{count} scripts, seeds {first} to {first + count - 1}")
    ends: dict[str, int] = {}
    kinds: set[str] = set()
    for seed in range(first, first + count):
        text, options = script_of(seed)
        end = check(text, options, _PASSES[seed % len(_PASSES)])
        ends[end.stage] = ends.get(end.stage, 0) + 1
        if end.failure and end.kind not in kinds:
            kinds.add(end.kind)
            FINDINGS.mkdir(exist_ok=True)
            small = cut_down(text, options, end.kind)
            (FINDINGS / f"{seed}.stp").write_bytes(small.encode("latin-1"))
            print(f"===== seed {seed}: {end.kind}\n{small[:2000]}\n{end.failure}", flush=True)
    print(", ".join(f"{name}: {ends[name]}" for name in sorted(ends)))
    print(f"{len(kinds)} kinds of failures")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
