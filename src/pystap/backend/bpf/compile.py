"""Pass 4 of the eBPF runtime: an IR module becomes loadable programs."""

from __future__ import annotations

import struct

from pystap.backend.bpf.analysis import Analysis
from pystap.backend.bpf.artifact import Artifact, GlobalInfo, ProgramSpec
from pystap.backend.bpf.attachments import Entry, emit_programs
from pystap.backend.bpf.edges import separate_calls
from pystap.backend.bpf.stack import Misfit, extent
from pystap.backend.bpf.timing import hits_map
from pystap.backend.bpf.twins import without_twins
from pystap.backend.bpf.unit import Unit
from pystap.backend.llvm import guarded
from pystap.backend.llvm.object import RODATA, BpfObject, LinkedProgram
from pystap.kernel.btfwriter import LINKAGE_GLOBAL, LINKAGE_STATIC, BtfWriter, pack_func_info
from pystap.probes.attach import Uprobe
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.facts import KernelFacts
    from pystap.backend.bpf.uprobe_sessions import Pair
    from pystap.ir.module import Module

_INSN = struct.Struct("<BBhi")
_KERNEL_CALL = 2 << 4  # source register of a call of the kernel's own functions


def compile_module(module: Module, kernel: KernelFacts) -> Artifact:
    """Compile a module for a kernel.

    Raises :class:`~pystap.backend.bpf.facts.CompileError` when the kernel lacks what it needs,
    and :class:`~pystap.diag.diagnostic.DiagnosticError` when the script is too large for BPF.
    """
    paired = _pairs(module, kernel)
    artifact, misfit = _attempt(module, kernel, paired, deep=False)
    if misfit is not None:
        from pystap.backend.bpf import oversize

        oversize.deepen(module)
        artifact, misfit = _attempt(module, kernel, paired, deep=True)
        if misfit is not None:
            raise oversize.refusal(artifact, misfit)
    return artifact


def _pairs(module: Module, kernel: KernelFacts) -> list[Pair]:
    """Probes at the entry and the return of functions that one program serves."""
    if not any(isinstance(p.attach, Uprobe) and p.attach.is_return for p in module.probes):
        return []
    from pystap.backend.bpf.uprobe_sessions import pair_probes

    return pair_probes(module, kernel)


def _attempt(
    module: Module, kernel: KernelFacts, paired: list[Pair], *, deep: bool
) -> tuple[Artifact, Misfit | None]:
    """Compile; the artifact, and which of its programs needs more stack than there is."""
    unit = Unit(module, kernel, Analysis(module, deep=deep))
    unit.paired = paired
    unit.context_map()
    unit.output_map()  # a session always has one, whatever handlers print
    if module.limits.timing:
        hits_map(unit)
    entries = emit_programs(unit)
    for late in unit.late:  # may grow meanwhile
        late()
    described = _globals(unit)
    obj = BpfObject(*_compile(unit))
    programs, misfit = _programs(unit, obj, entries)
    artifact = Artifact(
        tuple(unit.maps),
        tuple(without_twins(programs)),
        tuple(module.probes),
        tuple(unit.formats),
        tuple(module.positions),
        tuple(unit.messages),
        described,
        module.limits.maxerrors,
        module.limits.maxskipped,
        module.limits.suppress_handler_errors,
        unit.lock_names(),
        module.limits.hist_width,
        module.limits.hist_elision,
        module.limits.interruptible,
        module.limits.timing,
        module.limits.force_tty,
        module.limits.maxmemory,
        module.limits.maxstringlen,
        tuple(sorted(unit.user_parts)),
        tuple(unit.notes),
    )
    return artifact, misfit


def _compile(unit: Unit) -> list[bytes]:
    """The object files of everything emitted."""
    try:
        return guarded.compile_objects(unit.text())
    except guarded.LlvmDied as error:
        from pystap.backend.bpf import oversize

        raise oversize.not_compiled(unit, str(error)) from error


def _programs(
    unit: Unit, obj: BpfObject, entries: list[Entry]
) -> tuple[list[ProgramSpec], Misfit | None]:
    btf, types = _btf(unit, obj)
    rodata = unit.rodata_map(obj.rodata)
    kernel_functions = {n: unit.facts.function(name) for n, name in unit.kernel_calls.items()}
    linked = {name: separate_calls(obj.link(name)) for name in {e.function for e in entries}}
    extents = {name: extent(code) for name, code in linked.items()}
    programs = []
    misfit = None
    for entry in entries:
        code = linked[entry.function]
        if misfit is None and not extents[entry.function].fits:
            misfit = Misfit(entry.probes[0], extents[entry.function])
        programs.append(
            ProgramSpec(
                entry.function.replace(".", "_"),
                entry.type,
                entry.expected_attach,
                _with_numbers(code, entry.probe, kernel_functions),
                tuple((at, rodata if n == RODATA else n) for at, n in code.fixups),
                btf,
                pack_func_info((at, types[name]) for at, name in code.functions),
                entry.attach,
                entry.target,
                entry.btf_id,
                entry.sleepable,
                entry.probes,
                entry.btf_module,
            )
        )
    return programs, misfit


def _with_numbers(code: LinkedProgram, probe: int, kernel_functions: dict[int, int]) -> bytes:
    """The instructions with the index of the probe where the code asks for it, and with the
    numbers that functions of the kernel have."""
    insns = bytearray(code.insns)
    for at, wanted in code.magic_calls:
        if wanted in kernel_functions:
            patched = _INSN.pack(0x85, _KERNEL_CALL, 0, kernel_functions[wanted])
        else:
            patched = _INSN.pack(0xB7, 0, 0, probe)
        insns[at * 8 : at * 8 + 8] = patched
    return bytes(insns)


def _globals(unit: Unit) -> tuple[GlobalInfo, ...]:
    """Where the session finds each global; those that no code uses get their maps here."""
    described = []
    for var in unit.module.globals:
        if var.kind == "array":
            from pystap.backend.bpf import maps

            described.append(maps.describe(unit, var))
        elif var.stats is not None:
            from pystap.backend.bpf import stats

            described.append(stats.describe(unit, var))
        else:
            from pystap.backend.bpf import globals_

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
