"""Small systems of files for stap-prep to look at."""

from __future__ import annotations

import subprocess
from pathlib import Path

RELEASE = "6.1.0-13-amd64"
#: of Debian 12's kernel, what matters
CONFIG = """\
CONFIG_CC_VERSION_TEXT="gcc-12 (Debian 12.2.0-14) 12.2.0"
CONFIG_BPF_EVENTS=y
CONFIG_BPF_LSM=y
CONFIG_BPF_SYSCALL=y
CONFIG_DEBUG_INFO_BTF=y
CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y
CONFIG_FUNCTION_TRACER=y
CONFIG_KALLSYMS=y
CONFIG_KPROBES=y
CONFIG_KPROBE_EVENTS=y
CONFIG_KRETPROBES=y
CONFIG_LSM="landlock,lockdown,yama,loadpin,safesetid,integrity,apparmor,selinux,smack,tomoyo,bpf"
CONFIG_MODULES=y
CONFIG_NETFILTER_BPF_LINK=y
CONFIG_PERF_EVENTS=y
CONFIG_TRACEPOINTS=y
CONFIG_UPROBES=y
CONFIG_UPROBE_EVENTS=y
# CONFIG_FPROBE is not set
# CONFIG_MODULE_SIG_FORCE is not set
"""
DEBIAN = 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'


def complete(root: Path) -> None:
    """A system that lacks nothing but kprobe.multi."""
    write(root, "etc/os-release", DEBIAN)
    write(root, f"boot/config-{RELEASE}", CONFIG)
    write(root, f"lib/modules/{RELEASE}/build/Makefile", "")
    debug = root / f"usr/lib/debug/boot/vmlinux-{RELEASE}"
    debug.parent.mkdir(parents=True)
    program = ["gcc", "-g", "-o", str(debug), "-x", "c", "-"]
    subprocess.run(program, input=b"int main(void) { return 0; }", check=True)
    write(root, f"var/lib/dpkg/info/linux-image-{RELEASE}.list", "")
    for tool in ("gcc", "make"):
        write(root, f"usr/bin/{tool}", "")
    write(root, "proc/sys/kernel/kptr_restrict", "0\n")
    write(root, "proc/sys/kernel/perf_event_paranoid", "3\n")
    write(root, "proc/sys/kernel/modules_disabled", "0\n")
    write(root, "sys/kernel/security/lockdown", "[none] integrity confidentiality\n")
    write(root, "sys/module/module/parameters/sig_enforce", "N\n")


def write(root: Path, name: str, text: str) -> None:
    """Make a file and the directories above it."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
