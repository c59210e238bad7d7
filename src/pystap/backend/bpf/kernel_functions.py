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
_FROM_REGISTERS: Final = frozenset(("reg", "user_mode", "stack"))
# Functions that the kernel lets no trampoline be put on: the programs' own entry uses them.
_DENIED: Final = frozenset(
    (
        "migrate_disable", "migrate_enable", "rcu_read_unlock_strict", "preempt_count_add",
        "preempt_count_sub", "__rcu_read_lock", "__rcu_read_unlock",
    )
)  # fmt: skip

# Nor on the return of those that never return.
_ENDLESS: Final = frozenset(
    (
        "do_exit", "do_group_exit", "do_task_dead", "kthread_exit", "kthread_complete_and_exit",
        "make_task_dead", "rewind_stack_and_make_dead", "__module_put_and_kthread_exit",
    )
)  # fmt: skip

Mechanism = Literal["trampoline", "multi", "kprobe"]
_SHOWN: Final[dict[Mechanism, str]] = {
    "trampoline": "fentry/fexit",
    "multi": "kprobe.multi",
    "kprobe": "kprobe",
}


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
    chosen: dict[tuple[Mechanism, str], list[int]] = {}
    for key, indexes in shared.items():
        for index in indexes:
            mechanism, why = _mechanism(unit, unit.module.probes[index], len(indexes))
            groups.setdefault((*key, mechanism), []).append(index)
            chosen.setdefault((mechanism, why), []).append(index)
    _tell(unit, chosen)
    entries: list[Entry] = []
    for (_, _, _, mechanism), indexes in groups.items():
        if mechanism == "trampoline":
            entries += [_trampoline(unit, index) for index in indexes]
        else:
            entries.append(_kprobes(unit, indexes, mechanism))
    return entries


def _tell(unit: Unit, chosen: dict[tuple[Mechanism, str], list[int]]) -> None:
    """What -v says about the choice."""
    for (mechanism, why), indexes in chosen.items():
        first = unit.module.probes[indexes[0]].point
        more = f" and {len(indexes) - 1} more" if len(indexes) > 1 else ""
        unit.notes.append(f"{first}{more}: {_SHOWN[mechanism]}, {why}")


def _mechanism(unit: Unit, probe: Probe, together: int) -> tuple[Mechanism, str]:
    """The best that serves a probe which shares its handler with ``together`` in all; and why."""
    where = probe.attach
    assert isinstance(where, KernelFunction)
    has = unit.facts.has
    against = _against_trampoline(unit, probe, where, together)
    if not against:
        bound = ", and no return is missed whatever maxactive says" if where.maxactive else ""
        return "trampoline", f"which costs least{bound}"
    at_entry = not where.offset and not where.address
    single = where.later or where.maxactive
    if at_entry and not single and together > 1 and has("kprobe_multi"):
        return "multi", f"one link for all: {against}"
    if has("kprobe"):
        return "kprobe", against
    if at_entry and has("kprobe_multi"):
        return "multi", against
    raise CompileError(
        f"this kernel cannot probe its functions ({probe.point}): it was built without"
        " CONFIG_KPROBES, or this user may not use them"
    )


def _against_trampoline(unit: Unit, probe: Probe, where: KernelFunction, together: int) -> str:
    """Why no trampoline will do, empty when one does."""
    if where.later:
        return f"module {where.module} is not loaded yet"
    if where.offset or where.address:
        return "the place is not the start of a function"
    if together > _MOST_TRAMPOLINES:
        return f"there are {together} functions"
    handler = unit.module.handlers[probe.handler]
    captured = {name for name, _ in unit.analysis.facts(handler).captured}
    if captured & _FROM_REGISTERS or (where.is_return and "ip" in captured):
        return "the handler looks at registers"
    if where.words < 0:
        return "BTF does not tell arguments that a trampoline could pass"
    if where.symbol in _DENIED or (where.is_return and where.symbol in _ENDLESS):
        return "the kernel allows no trampoline there"
    if not unit.facts.has("fexit" if where.is_return else "fentry"):
        return "the kernel has no trampolines"
    return ""


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
        number = b.helper(helpers.GET_ATTACH_COOKIE, "i64", b.args[0], pure=True)
        emit_handler(unit, b, kind, b.args[0], probe, number, level_of(probe.attach))
        b.ret(0)
    if mechanism == "multi":
        return Entry(name, _KPROBE, f"{kind}_multi", tuple(indexes), expected_attach=_KPROBE_MULTI)
    return Entry(name, _KPROBE, kind, tuple(indexes))
