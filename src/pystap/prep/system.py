"""Checks of the kernel's configuration, its settings, and what this process may do."""

from __future__ import annotations

import os

from pystap.kernel.privilege import CAP_SYS_MODULE, CAPABILITY_NAMES
from pystap.prep.findings import Finding
from pystap.prep.machine import Machine
from pystap.typing import Final

_GROUP: Final = "system"
_BPF: Final = ("bpf",)
_BOTH: Final = ("bpf", "kernel")
_BTF: Final = "/sys/kernel/btf"
_MAP_BYTES: Final = 64 << 20  # a map such as large scripts have


def system_findings(machine: Machine) -> list[Finding]:
    """The checks in the order in which they are shown."""
    found = [_configuration(machine), _btf(machine)]
    if machine.live:
        found.append(_tracefs())
    if not machine.root:
        found.append(_privilege(machine))
    found.append(_lockdown(machine))
    found += _settings(machine)
    if machine.live:
        found.append(_memlock(machine))
    return found


def _configuration(machine: Machine) -> Finding:
    if machine.config is not None:
        path = machine.config.path.removeprefix(machine.root)
        return Finding(_GROUP, "configuration", "ok", path)
    places = f"/boot/config-{machine.release}, /lib/modules/{machine.release}"
    if machine.live:
        places = f"/proc/config.gz, {places}"
    return Finding(
        _GROUP, "configuration", "limited", f"not found ({places})",
        "nothing to do, but reasons cannot be told below",
    )  # fmt: skip


def _btf(machine: Machine) -> Finding:
    name = "BTF"
    if not machine.live and not machine.exists(_BTF):
        return _by_options(machine, name, ("CONFIG_DEBUG_INFO_BTF",), _BPF)
    from pystap.debuginfo import btffile

    path = f"{machine.root}{_BTF}/vmlinux"
    try:
        size = btffile.size_of(path)
        btffile.sections(btffile.read(path), path)
    except btffile.BtfError as problem:
        return Finding(
            _GROUP, name, "missing", str(problem),
            "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, or --runtime=kernel", _BPF,
        )  # fmt: skip
    modules = [m for m in machine.names(_BTF) if m != "vmlinux"]
    loaded = machine.names("/sys/module") and machine.read("/proc/modules")
    text = f"of the kernel ({size / 1e6:.1f} MB)"
    if modules:
        return Finding(_GROUP, name, "ok", f"{text} and {len(modules)} modules")
    if not loaded:
        return Finding(_GROUP, name, "ok", f"{text}; no module is loaded")
    return Finding(
        _GROUP, name, "limited", f"{text}, but not of its modules",
        "use a kernel built with CONFIG_DEBUG_INFO_BTF_MODULES=y", _BPF,
        "variables in functions of modules",
    )  # fmt: skip


def _by_options(
    machine: Machine, name: str, options: tuple[str, ...], runtimes: tuple[str, ...]
) -> Finding:
    """What the configuration says of a kernel that does not run here."""
    if machine.config is None:
        return Finding(
            _GROUP, name, "limited", "not known: the kernel does not run here and has no"
            " configuration file", f"boot {machine.release} and run stap-prep there", runtimes,
        )  # fmt: skip
    lacks = machine.lacks(*options)
    if lacks:
        text = f"the kernel is built without {', '.join(lacks)}"
        return Finding(_GROUP, name, "missing", text, "use another kernel", runtimes)
    return Finding(_GROUP, name, "ok", f"by its configuration ({', '.join(options)})")


def _tracefs() -> Finding:
    from pystap.kernel.event_systems import read_tracefs
    from pystap.kernel.tracefs import tracefs_path

    mounted = tracefs_path()
    if mounted is not None:
        return Finding(_GROUP, "tracefs", "ok", f"mounted at {mounted}")
    if read_tracefs("available_events") is not None:
        return Finding(_GROUP, "tracefs", "ok", "not mounted; stap mounts one for itself")
    return Finding(
        _GROUP, "tracefs", "limited", "not mounted, and this process may not mount it",
        "as root: mount -t tracefs nodev /sys/kernel/tracing", _BPF,
        "systems of tracepoints (kernel.trace(\"sched:*\"))",
    )  # fmt: skip


def _privilege(machine: Machine) -> Finding:
    found = machine.privilege
    missing = found.missing_for_tracing()
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    if not missing:
        able = "with the capabilities that tracing needs"
        modules = "" if found.has(CAP_SYS_MODULE) else ", but not CAP_SYS_MODULE"
        return Finding(_GROUP, "privilege", "ok", f"{who} {able}{modules}")
    names = " and ".join(CAPABILITY_NAMES[c] for c in missing)
    if found.own_user_namespace:
        return Finding(
            _GROUP, "privilege", "missing",
            f"{who} in a user namespace (a rootless container), where {names} do not count",
            "run stap outside of the container", _BOTH,
        )  # fmt: skip
    return Finding(
        _GROUP, "privilege", "missing", f"{who} without {names}",
        "run stap as root (sudo stap ...); in a container, start it privileged", _BOTH,
    )  # fmt: skip


def _lockdown(machine: Machine) -> Finding:
    level = machine.privilege.lockdown
    if level in (None, "", "none"):
        return Finding(_GROUP, "lockdown", "ok", "the kernel is not locked down")
    if level == "integrity":
        return Finding(
            _GROUP, "lockdown", "limited", "integrity: only signed modules are loaded",
            "sign modules, or boot without Secure Boot; eBPF needs neither", ("kernel",),
            "unsigned modules",
        )  # fmt: skip
    return Finding(
        _GROUP, "lockdown", "missing", f"{level}: programs may not read kernel memory",
        "boot with lockdown=integrity, or without Secure Boot", _BOTH,
    )  # fmt: skip


def _settings(machine: Machine) -> list[Finding]:
    """Settings that restrict users without privilege, or hide addresses."""
    found = []
    privilege = machine.privilege
    paranoid = privilege.perf_event_paranoid
    if paranoid is not None:
        text = f"{paranoid}; does not matter with CAP_PERFMON or as root"
        found.append(Finding(_GROUP, "perf_event_paranoid", "ok", text))
    restrict = privilege.kptr_restrict
    if restrict is not None:
        found.append(_kptr_restrict(machine, restrict))
    return found


def _kptr_restrict(machine: Machine, restrict: int) -> Finding:
    name = "kptr_restrict"
    shown = restrict < 2
    if machine.live:
        first = (machine.read("/proc/kallsyms") or "").partition(" ")[0]
        shown = first.strip("0") != ""
    if shown:
        return Finding(_GROUP, name, "ok", f"{restrict}; addresses of the kernel can be read")
    todo = "as root: sysctl kernel.kptr_restrict=1"
    if restrict < 2:
        todo = "run stap as root"
    return Finding(
        _GROUP, name, "limited", f"{restrict}; addresses of the kernel are hidden", todo, _BOTH,
        "names of kernel addresses (symname, kernel stacks)",
    )  # fmt: skip


def _memlock(machine: Machine) -> Finding:
    """The limit of locked memory counts for maps on kernels without accounting by group."""
    import resource

    from pystap.kernel import bpf, maps

    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY:
        return Finding(_GROUP, "memlock", "ok", "unlimited")
    text = f"{soft >> 10} kB"
    if soft > _MAP_BYTES or machine.privilege.missing_for_tracing():
        return Finding(_GROUP, "memlock", "ok", text)
    try:
        elements = max(soft * 2 // 4096, 1)
        maps.create_map(bpf.MAP_TYPE_ARRAY, 4, 4096, elements).close()
    except OSError as problem:
        return Finding(
            _GROUP, "memlock", "limited", f"{text}; the kernel refuses larger maps"
            f" ({problem.strerror})", "ulimit -l unlimited", _BPF, "large arrays",
        )  # fmt: skip
    return Finding(_GROUP, "memlock", "ok", f"{text}; the kernel does not count maps")
