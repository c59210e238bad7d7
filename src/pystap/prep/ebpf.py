"""Checks of what scripts on eBPF need: each mechanism is tried where the kernel runs here."""

from __future__ import annotations

from pystap.kernel.features import Features
from pystap.prep.findings import Finding, State
from pystap.prep.machine import Machine
from pystap.typing import Final, NamedTuple

_GROUP: Final = "eBPF"
_BPF: Final = ("bpf",)


class _Mechanism(NamedTuple):
    """Something the kernel has or not: all of ``features`` work, or it is built with all of
    ``options``.  ``loses`` is empty for what nothing works without."""

    name: str
    features: tuple[str, ...]
    options: tuple[str, ...]
    loses: str
    without: str = ""  # what serves in its place


_MECHANISMS: Final = (
    _Mechanism("programs", ("bpf", "mmapable_array", "ring_buffer", "syscall_program",
                            "bpf_loop", "for_each_map_elem"),
               ("CONFIG_BPF_SYSCALL", "CONFIG_BPF_EVENTS"), ""),
    _Mechanism("tracepoints", ("tp_btf",),
               ("CONFIG_TRACEPOINTS", "CONFIG_BPF_EVENTS", "CONFIG_DEBUG_INFO_BTF"),
               "kernel.trace, syscall.*, process.begin"),
    _Mechanism("clocks", ("perf_clock", "perf_cookie"), ("CONFIG_PERF_EVENTS",),
               "timer.us, timer.profile, perf.*"),
    _Mechanism("uprobes", ("uprobe",), ("CONFIG_UPROBES", "CONFIG_UPROBE_EVENTS"),
               "functions, statements and marks of programs"),
    _Mechanism("sleepable uprobes", ("sleepable_uprobe",), (), "",
               "memory of programs that is not loaded yet reads as a fault"),
    _Mechanism("uprobe.multi", ("uprobe_multi",), (), "",
               "many user functions are attached and detached one by one, slowly"),
    _Mechanism("kprobes", ("kprobe",), ("CONFIG_KPROBES", "CONFIG_KPROBE_EVENTS"),
               "kernel functions by address or inside, and their registers"),
    _Mechanism("fentry, fexit", ("fentry", "fexit"),
               ("CONFIG_FUNCTION_TRACER", "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
                "CONFIG_DEBUG_INFO_BTF"), "",
               "kernel functions are probed by kprobes, which cost more"),
    _Mechanism("kprobe.multi", ("kprobe_multi",), ("CONFIG_FPROBE",), "",
               "many kernel functions are attached and detached one by one, slowly"),
    _Mechanism("netfilter hooks", ("netfilter",), ("CONFIG_NETFILTER_BPF_LINK",), "",
               "packets are seen at kernel functions, where these can be probed"),
)  # fmt: skip
_HARDWARE: Final = "/sys/bus/event_source/devices/cpu"
_LSM: Final = "/sys/kernel/security/lsm"


def ebpf_findings(machine: Machine) -> list[Finding]:
    """The checks in the order in which they are shown."""
    tried = Features() if machine.live else None
    found = [_mechanism(machine, mechanism, tried) for mechanism in _MECHANISMS]
    found.append(_kernel_functions(found))
    found += [_lsm(machine), _hardware(machine), _compiler()]
    return found


def _mechanism(machine: Machine, mechanism: _Mechanism, tried: Features | None) -> Finding:
    if tried is None:
        return _by_configuration(machine, mechanism)
    failed = [name for name in mechanism.features if not tried.has(name)]
    if not failed:
        return Finding(_GROUP, mechanism.name, "ok", "tried")
    lacks = machine.lacks(*mechanism.options)
    problem = tried.errors.get(failed[0])
    if machine.privilege.missing_for_tracing():
        text, todo = "cannot be tried without privilege", "run stap-prep as root"
    elif lacks:
        text, todo = f"the kernel is built without {', '.join(lacks)}", _other(mechanism)
    elif problem is None:
        text, todo = "the kernel does not have it", _other(mechanism)
    else:
        text = f"the kernel refuses it ({', '.join(failed)}: {problem.strerror})"
        todo = _other(mechanism)
        if machine.privilege.seccomp:
            todo = "a filter of system calls is in force: run stap outside of the container"
    return Finding(_GROUP, mechanism.name, _state(mechanism), text, todo, _BPF, mechanism.loses)


def _by_configuration(machine: Machine, mechanism: _Mechanism) -> Finding:
    name = mechanism.name
    if machine.config is None or not mechanism.options:
        text = "not known: the kernel does not run here"
        return Finding(_GROUP, name, "limited", text, f"run stap-prep on {machine.release}", _BPF)
    lacks = machine.lacks(*mechanism.options)
    if not lacks:
        return Finding(_GROUP, name, "ok", "by its configuration")
    text = f"the kernel is built without {', '.join(lacks)}"
    return Finding(_GROUP, name, _state(mechanism), text, _other(mechanism), _BPF, mechanism.loses)


def _state(mechanism: _Mechanism) -> State:
    return "limited" if mechanism.loses or mechanism.without else "missing"


def _other(mechanism: _Mechanism) -> str:
    return mechanism.without or "use another kernel"


def _kernel_functions(found: list[Finding]) -> Finding:
    """Whether functions of the kernel can be probed at all."""
    states = {finding.name: finding.state for finding in found}
    serving = [n for n in ("fentry, fexit", "kprobe.multi", "kprobes") if states[n] == "ok"]
    if serving:
        return Finding(_GROUP, "kernel functions", "ok", f"by {', '.join(serving)}")
    return Finding(
        _GROUP, "kernel functions", "limited", "nothing serves them here",
        "use a kernel with CONFIG_KPROBES=y; tracepoints and programs can be probed", _BPF,
        "kernel.function, kprobe.*",
    )  # fmt: skip


def _lsm(machine: Machine) -> Finding:
    """Programs at security hooks: built in, and chosen at boot."""
    name, loses = "lsm", "kernel.lsm"
    lacks = machine.lacks("CONFIG_BPF_LSM")
    if lacks:
        text = f"the kernel is built without {lacks[0]}"
        return Finding(_GROUP, name, "limited", text, "use another kernel", _BPF, loses)
    chosen = machine.read(_LSM)
    if chosen is None and machine.config is not None:
        chosen = machine.config.get("CONFIG_LSM") or ""
    if chosen is None:
        return Finding(_GROUP, name, "limited", "not known", "", _BPF, loses)
    if "bpf" in chosen.split(","):
        return Finding(_GROUP, name, "ok", "chosen at boot")
    words = f"lsm={chosen},bpf" if chosen else "lsm=...,bpf"
    return Finding(
        _GROUP, name, "limited", "built in, but not chosen at boot",
        f"boot with {words}", _BPF, loses,
    )  # fmt: skip


def _hardware(machine: Machine) -> Finding:
    name = "hardware counters"
    if not machine.live:
        return Finding(_GROUP, name, "ok", "a matter of the processor")
    if machine.exists(_HARDWARE) or machine.names("/sys/bus/event_source/devices/cpu_core"):
        return Finding(_GROUP, name, "ok", "the processor has them")
    return Finding(
        _GROUP, name, "limited", "the processor shows none (as in most virtual machines)",
        "perf.sw.* events count without them", _BPF, "perf.hw.*",
    )  # fmt: skip


def _compiler() -> Finding:
    """The translator's own code generator."""
    from importlib.metadata import PackageNotFoundError, version

    from pystap.backend.llvm import binding

    try:
        found = version("llvmlite")
        binding.load()
    except (PackageNotFoundError, ImportError):
        text, todo = "the Python package llvmlite is not installed", "pip install llvmlite"
    except binding.LlvmError as problem:
        text, todo = str(problem), "pip install -U llvmlite"
    else:
        return Finding(_GROUP, "LLVM", "ok", f"llvmlite {found}")
    return Finding(_GROUP, "LLVM", "missing", text, todo, _BPF)
