"""Checks of what scripts in kernel modules need: headers, a compiler, leave to load."""

from __future__ import annotations

import re
import shutil
import subprocess

from pystap.kernel.privilege import CAP_SYS_MODULE
from pystap.prep.findings import Finding
from pystap.prep.machine import Machine
from pystap.typing import Final

_GROUP: Final = "kernel modules"
_KERNEL: Final = ("kernel",)
_PROBES: Final = {
    "CONFIG_KPROBES": "functions of the kernel",
    "CONFIG_KRETPROBES": "returns of kernel functions",
    "CONFIG_TRACEPOINTS": "tracepoints",
    "CONFIG_PERF_EVENTS": "perf.*, timer.profile",
    "CONFIG_KALLSYMS": "names of kernel addresses",
}
_ENFORCED: Final = "/sys/module/module/parameters/sig_enforce"
_DISABLED: Final = "/proc/sys/kernel/modules_disabled"
_GCC: Final = re.compile(r"gcc\S* .*?(\d+)\.\d+(?:\.\d+)?")


def module_findings(machine: Machine) -> list[Finding]:
    """The checks in the order in which they are shown."""
    return [_loadable(machine), _headers(machine), _compiler(machine), _signing(machine),
            *_probes(machine)]  # fmt: skip


def _loadable(machine: Machine) -> Finding:
    name = "loading"
    if machine.lacks("CONFIG_MODULES") or (machine.live and not machine.exists("/proc/modules")):
        return Finding(
            _GROUP, name, "missing", "the kernel is built without CONFIG_MODULES",
            "use another kernel, or the bpf runtime", _KERNEL,
        )  # fmt: skip
    if machine.read(_DISABLED) == "1":
        return Finding(
            _GROUP, name, "missing", "loading has been switched off (kernel.modules_disabled)",
            "reboot; nothing else switches it on again", _KERNEL,
        )  # fmt: skip
    if machine.live and not machine.privilege.has(CAP_SYS_MODULE):
        return Finding(
            _GROUP, name, "missing", "this process does not have CAP_SYS_MODULE",
            "run stap as root, outside of a container", _KERNEL,
        )  # fmt: skip
    return Finding(_GROUP, name, "ok", "the kernel takes modules")


def _headers(machine: Machine) -> Finding:
    release = machine.release
    places = [f"/lib/modules/{release}/build", f"/usr/src/linux-headers-{release}"]
    for place in places:
        if machine.exists(f"{place}/Makefile"):
            return Finding(_GROUP, "headers", "ok", place)
    command = machine.distribution.headers(release)
    todo = machine.packaged(command) if command else f"install the headers of {release}"
    text = f"not in {' nor '.join(places)}"
    return Finding(_GROUP, "headers", "missing", text, todo, _KERNEL)


def _compiler(machine: Machine) -> Finding:
    name = "compiler"
    if machine.root:
        lacks = [c for c in ("gcc", "make") if not machine.exists(f"/usr/bin/{c}")]
    else:
        lacks = [c for c in ("gcc", "make") if shutil.which(c) is None]
    if lacks:
        command = machine.distribution.compiler or f"install {' and '.join(lacks)}"
        text = f"{' and '.join(lacks)} {'are' if len(lacks) > 1 else 'is'} not installed"
        return Finding(_GROUP, name, "missing", text, command, _KERNEL)
    if machine.root:
        return Finding(_GROUP, name, "ok", "gcc and make are installed")
    words = ["gcc", "--version"]
    first = subprocess.run(words, capture_output=True, text=True).stdout.partition("\n")[0]
    built = (machine.config and machine.config.get("CONFIG_CC_VERSION_TEXT")) or ""
    ours, theirs = _GCC.search(first), _GCC.search(built)
    if ours and theirs and ours[1] != theirs[1]:
        return Finding(
            _GROUP, name, "limited", f"{first}; the kernel was built with {built}",
            f"if modules do not build: install gcc-{theirs[1]}, and stap -B CC=gcc-{theirs[1]}",
            _KERNEL,
        )  # fmt: skip
    return Finding(_GROUP, name, "ok", first)


def _signing(machine: Machine) -> Finding:
    """Whether the kernel loads modules that nobody signed."""
    name = "signing"
    forced = machine.config is not None and not machine.lacks("CONFIG_MODULE_SIG_FORCE")
    enforced = machine.read(_ENFORCED) == "Y"
    lockdown = machine.privilege.lockdown in ("integrity", "confidentiality")
    if not (forced or enforced or lockdown):
        return Finding(_GROUP, name, "ok", "not enforced")
    why = "CONFIG_MODULE_SIG_FORCE" if forced else _ENFORCED if enforced else "lockdown"
    return Finding(
        _GROUP, name, "missing", f"enforced ({why}): unsigned modules are refused",
        "stap --sign-module and enroll the key (mokutil --import), or boot without Secure Boot",
        _KERNEL,
    )  # fmt: skip


def _probes(machine: Machine) -> list[Finding]:
    if machine.config is None:
        return []
    found = []
    for option, loses in _PROBES.items():
        if machine.lacks(option):
            text = f"the kernel is built without {option}"
            finding = Finding(
                _GROUP, option.removeprefix("CONFIG_").lower(), "limited", text,
                "use another kernel", _KERNEL, loses,
            )  # fmt: skip
            found.append(finding)
    return found
