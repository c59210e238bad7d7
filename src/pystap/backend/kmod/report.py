"""What a module holds for the report of ``-t``."""

from __future__ import annotations

from pystap.backend.kmod.unit import Unit
from pystap.backend.kmod.writer import quoted
from pystap.typing import Final

TIMINGS: Final = ("", "cycles", "nsecs", "hits")  # by number: STAP_TIMING of timing.h


def declare(unit: Unit) -> list[str]:
    """What it says of each probe (its point, its place, where it comes from) and of each lock."""
    if not unit.module.limits.timing:
        return []
    probes = ["\t".join([p.point, p.origin, *p.derivation]) for p in unit.module.probes]
    names = [var.name for var in unit.module.globals]
    return [*_texts(f"{unit.prefix}labels", probes), *_texts(f"{unit.prefix}lock_names", names)]


def members(unit: Unit) -> list[str]:
    """The members of ``struct stap_script`` for it."""
    name = unit.prefix
    if not unit.module.limits.timing:
        return []
    return [
        f"\t.labels = {name}labels,", f"\t.lock_names = {name}lock_names,",
        f"\t.locks = {name}locks,", f"\t.lock_count = {len(unit.module.globals)},",
    ]  # fmt: skip


def _texts(name: str, texts: list[str]) -> list[str]:
    rows = [f"\t{quoted(text)}," for text in texts] or ['\t"",']
    return [f"static const char *const {name}[] = {{", *rows, "};"]
