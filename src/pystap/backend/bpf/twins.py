"""Programs that came out the same and learn which probe they serve from the cookie are one.

A handler with variables is made anew for each function of a pattern, for each may keep them
elsewhere; mostly they do not.  A program and a link for each of thousands would take minutes.
"""

from __future__ import annotations

from pystap.backend.bpf.artifact import ProgramSpec
from pystap.typing import Final

_TOLD_APART: Final = frozenset(
    f"{kind}{many}" for kind in ("uprobe", "uretprobe", "kprobe", "kretprobe")
    for many in ("", "_multi")
) | {"uprobe_session"}  # fmt: skip
_INFO: Final = 8  # bytes that tell a function's offset and type
_OFFSET: Final = 4


def without_twins(programs: list[ProgramSpec]) -> list[ProgramSpec]:
    """The programs in their order, the first of several twins with the probes of all."""
    kept: dict[object, ProgramSpec] = {}
    probes: dict[object, list[int]] = {}
    for number, spec in enumerate(programs):
        key: object = number
        if spec.attach in _TOLD_APART:
            key = (
                spec.insns, spec.fixups, _places(spec.func_info), spec.attach, spec.type,
                spec.expected_attach, spec.sleepable,
            )  # fmt: skip
        kept.setdefault(key, spec)
        probes.setdefault(key, []).extend(spec.probes)
    return [spec._replace(probes=tuple(probes[key])) for key, spec in kept.items()]


def _places(func_info: bytes) -> tuple[bytes, ...]:
    """Where functions begin: their names may differ."""
    return tuple(func_info[at : at + _OFFSET] for at in range(0, len(func_info), _INFO))
