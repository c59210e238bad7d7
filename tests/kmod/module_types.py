"""Modules of ours that probe modules of the kernel, whose types they must know when made."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import inprocess
from lab import kernels, modules
from lab.modules import Module

_NEW_MOUNTS = 0x20000  # CLONE_NEWNS, <linux/sched.h>
_SECONDS = 300.0


class WithTypesOf(Module):
    """A module made where the kernel tells the types of one of its modules, too."""

    maker = "kmod.module_types"

    def __init__(self, name: str, *words: str) -> None:
        super().__init__(name, *words)


def build(kernel: kernels.Kernel, words: list[str], work: Path) -> dict[str, object]:
    """Outside: as others are made, with more in /sys/kernel/btf."""
    name, *others = words
    types = _types(kernel, name, work)

    def made(_argv: list[str]) -> int:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_NEW_MOUNTS):
            raise OSError(ctypes.get_errno(), "unshare")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "--bind", types, "/sys/kernel/btf"], check=True)
        answer = modules.build(kernel, others, work)
        print(answer.get("name", answer.get("err")), end="")
        return int(str(answer["status"]))

    done = inprocess.Run(command=made).end(_SECONDS)
    if done.status:
        return {"status": done.status, "err": done.out + done.err}
    return {"status": 0, "name": done.out}


def _types(kernel: kernels.Kernel, name: str, work: Path) -> Path:
    """A directory with the types of the kernel and of one of its modules."""
    found = next(Path(kernel.home, "tree").rglob(f"{name}.ko*"))
    file = work / f"{name}.ko"
    unpack = ["xz", "-dc"] if found.suffix == ".xz" else ["cat"]
    file.write_bytes(subprocess.run([*unpack, found], capture_output=True, check=True).stdout)
    types = work / "btf"
    types.mkdir()
    shutil.copy(kernels.facts(kernel) / "btf/vmlinux", types)
    words = ["objcopy", "--dump-section", f".BTF={types / name}", str(file), "/dev/null"]
    subprocess.run(words, check=True)
    file.unlink()
    return types
