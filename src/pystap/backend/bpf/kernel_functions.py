"""Programs at kernel functions: by which of the kernel's mechanisms each probe is served.

Trampolines (fentry, fexit) cost least, lose no hit and know arguments at the return, but take a
program for each function and show no registers.  One link of kprobe.multi holds any number of
functions.  kprobes work everywhere, and inside of functions.
"""

from __future__ import annotations

from pystap.backend.bpf import helpers
from pystap.backend.bpf.attachments import Entry, shared_function
from pystap.backend.bpf.facts import CompileError
from pystap.backend.bpf.levels import level_of
from pystap.backend.bpf.programs import check_running, emit_handler
from pystap.probes.attach import KernelFunction
from pystap.typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.ir.module import Probe

_KPROBE, _TRACING = 2, 26  # enum bpf_prog_type
_TRACE_FENTRY, _TRACE_FEXIT, _KPROBE_MULTI = 24, 25, 42  # enum bpf_attach_type
_MOST_TRAMPOLINES: Final = 16
# Values of an event that only registers tell; "ip" at a return is where the function returns to.
_FROM_REGISTERS: Final = frozenset(("reg", "user_mode"))
# Functions that the kernel lets no trampoline be put on: the programs' own entry uses them.
_DENIED: Final = frozenset(
    (
        "migrate_disable", "migrate_enable", "rcu_read_unlock_strict", "preempt_count_add",
        "preempt_count_sub", "__rcu_read_lock", "__rcu_read_unlock",
    )
)  # fmt: skip

Mechanism = Literal["trampoline", "multi", "kprobe"]


def emit_kernel_functions(unit: Unit) -> list[Entry]:
    """Emit the programs of all probes at kernel functions.

    Raises :class:`CompileError` when the kernel cannot probe its functions.
    """
    groups: dict[tuple[int, int, bool, Mechanism], list[int]] = {}
    shared: dict[tuple[int, int, bool], list[int]] = {}
    for index, probe in enumerate(unit.module.probes):
        where = probe.attach
        if isinstance(where, KernelFunction):
            key = (probe.handler, probe.condition, where.is_return)
            shared.setdefault(key, []).append(index)
    for key, indexes in shared.items():
        for index in indexes:
            mechanism = _mechanism(unit, unit.module.probes[index], len(indexes))
            groups.setdefault((*key, mechanism), []).append(index)
    entries: list[Entry] = []
    for (_, _, _, mechanism), indexes in groups.items():
        if mechanism == "trampoline":
            entries += [_trampoline(unit, index) for index in indexes]
        else:
            entries.append(_kprobes(unit, indexes, mechanism))
    return entries


def _mechanism(unit: Unit, probe: Probe, together: int) -> Mechanism:
    """The best that serves a probe which shares its handler with ``together`` in all."""
    where = probe.attach
    assert isinstance(where, KernelFunction)
    has = unit.facts.has
    if together <= _MOST_TRAMPOLINES and _fits_trampoline(unit, probe, where):
        return "trampoline"
    if not where.offset and not where.address and together > 1 and has("kprobe_multi"):
        return "multi"
    if has("kprobe"):
        return "kprobe"
    if not where.offset and not where.address and has("kprobe_multi"):
        return "multi"
    raise CompileError(
        f"this kernel cannot probe its functions ({probe.point}): it was built without"
        " CONFIG_KPROBES, or this user may not use them"
    )


def _fits_trampoline(unit: Unit, probe: Probe, where: KernelFunction) -> bool:
    if where.words < 0 or where.symbol in _DENIED or where.offset or where.address:
        return False
    captured = {
        name for name, _ in unit.analysis.facts(unit.module.handlers[probe.handler]).captured
    }
    if captured & _FROM_REGISTERS or (where.is_return and "ip" in captured):
        return False
    return unit.facts.has("fexit" if where.is_return else "fentry")


def _trampoline(unit: Unit, index: int) -> Entry:
    probe = unit.module.probes[index]
    where = probe.attach
    assert isinstance(where, KernelFunction)
    kind: Literal["fentry", "fexit"] = "fexit" if where.is_return else "fentry"
    function = shared_function(unit, kind, index, probe, check=True)
    attach_type = _TRACE_FEXIT if where.is_return else _TRACE_FENTRY
    btf_id = unit.facts.function(where.symbol, where.module)
    return Entry(
        function, _TRACING, kind, (index,), index, attach_type, where.symbol, btf_id, where.module
    )


def _kprobes(unit: Unit, indexes: list[int], mechanism: Mechanism) -> Entry:
    """One program for many places, told apart by the cookie."""
    probe = unit.module.probes[indexes[0]]
    assert isinstance(probe.attach, KernelFunction)
    kind: Literal["kprobe", "kretprobe"] = "kretprobe" if probe.attach.is_return else "kprobe"
    name = f"probe.{indexes[0]}"
    with unit.m.function(name, "i64", [("ptr", "event")]) as b:
        check_running(unit, b)
        number = b.helper(helpers.GET_ATTACH_COOKIE, "i64", b.args[0])
        emit_handler(unit, b, kind, b.args[0], probe, number, level_of(probe.attach))
        b.ret(0)
    if mechanism == "multi":
        return Entry(name, _KPROBE, f"{kind}_multi", tuple(indexes), expected_attach=_KPROBE_MULTI)
    return Entry(name, _KPROBE, kind, tuple(indexes))
