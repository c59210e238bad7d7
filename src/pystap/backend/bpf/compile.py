"""Pass 4 of the eBPF runtime: an IR module becomes loadable programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pystap.backend.bpf import (
    catching,
    calls,
    expressions,
    foreach,
    format,
    globals_,
    histograms,
    layout,
    loops,
    maps,
    output,
    statements,
    stats,
    strings,
)
from pystap.backend.bpf.analysis import Analysis
from pystap.backend.bpf.artifact import LEVEL_SESSION, Artifact, GlobalInfo, ProgramSpec
from pystap.backend.bpf.programs import Entry, emit_handler
from pystap.backend.bpf.unit import Unit
from pystap.backend.llvm import binding
from pystap.backend.llvm.object import RODATA, BpfObject
from pystap.kernel.btfwriter import LINKAGE_GLOBAL, LINKAGE_STATIC, BtfWriter, pack_func_info
from pystap.probes.attach import SessionEvent

if TYPE_CHECKING:
    from pystap.backend.bpf.facts import KernelFacts
    from pystap.ir.module import Module, Probe

_CONSTRUCTS: Final = (
    catching, calls, expressions, foreach, format, globals_, histograms, loops, maps, output, statements, stats,
    strings,
)  # fmt: skip

_SYSCALL: Final = 31


def compile_module(module: Module, kernel: KernelFacts) -> Artifact:
    """Compile a module for a kernel.

    Raises :class:`~pystap.backend.bpf.facts.CompileError` when the kernel lacks what it needs.
    """
    unit = Unit(module, kernel, Analysis(module))
    entries = []
    for index, probe in enumerate(module.probes):
        if isinstance(probe.attach, SessionEvent):
            name = f"probe.{index}"
            with unit.m.function(name, "i64", [("ptr", "event")]) as b:
                entry = Entry(unit, b, LEVEL_SESSION)
                emit_handler(unit, b, module.handlers[probe.handler], entry, index)
            entries.append((name, index))
    for late in unit.late:  # may grow meanwhile
        late()
    described = _globals(unit)
    obj = BpfObject(binding.compile_object(unit.text()))
    btf, types = _btf(unit, obj)
    rodata = unit.rodata_map(obj.rodata)
    programs = []
    for name, index in entries:
        linked = obj.link(name)
        fixups = tuple((at, rodata if n == RODATA else n) for at, n in linked.fixups)
        info = pack_func_info((at, types[f]) for at, f in linked.functions)
        programs.append(
            ProgramSpec(
                name, _SYSCALL, 0, linked.insns, fixups, btf, info, "session", "", 0, True, (index,)
            )
        )
    return Artifact(
        tuple(unit.maps),
        tuple(programs),
        tuple(module.probes),
        tuple(unit.formats),
        tuple(module.positions),
        tuple(unit.messages),
        described,
        module.limits.maxerrors,
        module.limits.maxskipped,
        module.limits.suppress_handler_errors,
    )


def _globals(unit: Unit) -> tuple[GlobalInfo, ...]:
    described = []
    for var in unit.module.globals:
        if var.kind == "array":
            described.append(maps.describe(unit, var))
        elif var.stats is not None:
            described.append(stats.describe(unit, var))
        else:
            described.append(globals_.describe(unit, var))
    return tuple(described)


def _btf(unit: Unit, obj: BpfObject) -> tuple[bytes, dict[str, int]]:
    """Types of all functions of the object, and their ids by name."""
    writer = BtfWriter()
    long = writer.integer("long", 8, 1)
    plain = writer.prototype(long)
    prototypes: dict[int, int] = {}
    types: dict[str, int] = {}
    for name in obj.function_names():
        safe = "".join(c if c.isalnum() else "_" for c in name)
        count = unit.prototypes.get(name)
        if count is None:
            types[name] = writer.function(safe, plain, LINKAGE_STATIC)
            continue
        if count not in prototypes:
            params = [(f"a{i}", long) for i in range(count)]
            prototypes[count] = writer.prototype(long, params)
        types[name] = writer.function(safe, prototypes[count], LINKAGE_GLOBAL)
    return writer.blob(), types


_ = layout
