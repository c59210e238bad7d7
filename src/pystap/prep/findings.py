"""What a check says, and what follows for the runtimes."""

from __future__ import annotations

from pystap.typing import Final, Literal, NamedTuple

#: ``missing`` makes the runtimes it is needed by unusable, ``limited`` takes something from them
State = Literal["ok", "limited", "missing"]
RUNTIMES: Final = ("bpf", "kernel", "reference")


class Finding(NamedTuple):
    """The answer of one check.

    ``text`` says what there is, or why not; ``todo`` what to do about it; ``runtimes`` are those
    that the answer concerns, and ``loses`` is what they cannot do without it.
    """

    group: str
    name: str
    state: State
    text: str
    todo: str = ""
    runtimes: tuple[str, ...] = ()
    loses: str = ""


class Verdict(NamedTuple):
    """Whether a runtime can be used; ``missing`` is what it lacks, ``loses`` what it cannot do."""

    runtime: str
    ready: bool
    missing: tuple[str, ...]
    loses: tuple[str, ...]


def verdicts(findings: list[Finding]) -> list[Verdict]:
    """One for each runtime."""
    made = []
    for runtime in RUNTIMES:
        concerned = [f for f in findings if runtime in f.runtimes]
        missing = tuple(f.name for f in concerned if f.state == "missing")
        loses = tuple(f.loses for f in concerned if f.state == "limited" and f.loses)
        made.append(Verdict(runtime, not missing, missing, tuple(dict.fromkeys(loses))))
    return made


def is_ready(found: list[Verdict]) -> bool:
    """Whether scripts can be run in the kernel at all."""
    return any(v.ready for v in found if v.runtime != "reference")
