"""A seed's script, what comes of it, and a smaller script of which the same comes."""

from __future__ import annotations

import random
import time
import traceback
from dataclasses import dataclass

from pystap.options import Options

from .mutate import mutated
from .seeds import seeds
from .target import random_options, run


@dataclass
class End:
    """How far a script came; of a failure also its traceback and what makes it one of a kind."""

    stage: str
    failure: str = ""
    kind: str = ""


def script_of(seed: int) -> tuple[str, Options]:
    """The script of a seed and the options it is to be run with."""
    chance = random.Random(seed)
    return mutated(seeds(), chance), random_options(chance)


def check(text: str, options: Options, passes: int = 3) -> End:
    """Run one script; an exception that is no diagnostic is a failure."""
    try:
        return End(run(text, options, passes))
    except Exception as error:  # whatever it is, it is a finding
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].name}"
        if isinstance(error, AssertionError):
            place += f" {str(error)[:30]}"
        lines = traceback.format_exception(error)
        return End("failed", "".join(lines)[-3000:], f"{type(error).__name__} in {place}")


def cut_down(text: str, options: Options, kind: str, seconds: float = 30) -> str:
    """A shorter text that fails in the same way."""
    deadline = time.monotonic() + seconds
    size = max(len(text) // 2, 1)
    while size and time.monotonic() < deadline:
        at = 0
        while at < len(text) and time.monotonic() < deadline:
            shorter = text[:at] + text[at + size :]
            if check(shorter, options).kind == kind:
                text = shorter
            else:
                at += size
        size //= 2
    return text
