"""Programs at user-space instructions: by which of the kernel's mechanisms they are attached.

One link of uprobe.multi holds any number of places of a file, and comes and goes at once; of perf
events each place takes one, and taking it away waits for all CPUs.
"""

from __future__ import annotations

from pystap.backend.bpf import faulting
from pystap.backend.bpf.attachments import Entry
from pystap.kernel.bpf import PROG_TYPE_KPROBE, TRACE_UPROBE_MULTI
from pystap.probes.attach import Uprobe
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit


def uprobe_entry(unit: Unit, function: str, indexes: list[int]) -> Entry:
    """The program made of ``function`` for the probes ``indexes``, told apart by the cookie."""
    where = unit.module.probes[indexes[0]].attach
    assert isinstance(where, Uprobe)
    kind = "uretprobe" if where.is_return else "uprobe"
    sleepable = faulting.sleeps(unit)
    against = _against_multi(unit, where)
    if against:
        return Entry(function, PROG_TYPE_KPROBE, kind, tuple(indexes), sleepable=sleepable)
    return Entry(
        function,
        PROG_TYPE_KPROBE,
        f"{kind}_multi",
        tuple(indexes),
        expected_attach=TRACE_UPROBE_MULTI,
        sleepable=sleepable,
    )


def _against_multi(unit: Unit, where: Uprobe) -> str:
    """Why not one link for all, empty when it will do."""
    if not unit.facts.has("uprobe_multi"):
        return "the kernel has no uprobe.multi"
    if where.pid and not unit.facts.has("uprobe_multi_pid"):
        return "the kernel's uprobe.multi sees only the first thread of a process"
    return ""


def tell_mechanisms(unit: Unit, entries: list[Entry]) -> None:
    """What -v says about how the probes of some programs are attached."""
    told: dict[str, list[int]] = {}
    for entry in entries:
        where = unit.module.probes[entry.probes[0]].attach
        assert isinstance(where, Uprobe)
        if entry.attach == "uprobe_session":
            how = "uprobe session, a link for the entries and returns of a file's functions"
            told.setdefault(how, []).extend(entry.probes[1::2])
            continue
        against = _against_multi(unit, where)
        how = f"uprobe, {against}" if against else "uprobe.multi, a link for all places of a file"
        told.setdefault(how, []).extend(entry.probes)
    for how, probes in told.items():
        first = unit.module.probes[probes[0]].point
        more = f" and {len(probes) - 1} more" if len(probes) > 1 else ""
        unit.notes.append(f"{first}{more}: {how}")
