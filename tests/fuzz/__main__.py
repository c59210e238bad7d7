"""``python -m tests.fuzz N [SEED]``: N random programs, seeds counted up from SEED."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from .check import prepare, report

USAGE = "usage: python -m tests.fuzz N [SEED]"
_PROGRESS = 100  # programs from one line of progress to the next


def main(words: list[str]) -> int:
    """Run; 1 when something is wrong with a program."""
    if not 1 <= len(words) <= 2 or not all(w.isdigit() for w in words):
        print(USAGE, file=sys.stderr)
        return 2
    count = int(words[0])
    first = int(words[1]) if len(words) > 1 else time.time_ns() % 10**9
    print(f"{count} programs, seeds {first} to {first + count - 1}", flush=True)
    failures = 0
    with prepare():
        for done in range(count):
            text = report(first + done, shrink_seconds=60)
            if text:
                failures += 1
                print(text, flush=True)
            if done % _PROGRESS == _PROGRESS - 1:
                print(f"{done + 1} programs, {failures} failures", flush=True)
    print(f"{failures} of {count} programs failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
