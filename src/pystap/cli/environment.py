"""What the machine tells the passes: release, configuration, BTF, programs on the path."""

from __future__ import annotations

import os

from pystap.lang.environment import LANGUAGE_VERSION, Environment
from pystap.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.bpf.facts import KernelFacts
    from pystap.debuginfo.btf import Btf
    from pystap.diag.diagnostic import Diagnostics
    from pystap.kernel.features import Features
    from pystap.probes.base import ProbeEnv

# uname's machine names as SystemTap spells the architecture
_ARCHITECTURES = {"aarch64": "arm64", "i686": "i386", "ppc64le": "powerpc", "s390x": "s390"}


def make_environment(options: Options) -> Environment:
    """What pass 1 asks about the session."""
    uname = os.uname()
    return Environment(
        kernel_release=uname.release,
        arch=_ARCHITECTURES.get(uname.machine, uname.machine),
        compatible=options.compatible or LANGUAGE_VERSION,
        runtime="kernel" if options.runtime == "kernel" else "bpf",
        guru=options.guru,
        config=_config_reader(),
        args=options.args,
    )


def make_probe_env(options: Options, diags: Diagnostics) -> ProbeEnv:
    """What probe families ask about the session."""
    from pystap.probes.base import ProbeEnv

    btf = _btf_opener(index_directory())
    return ProbeEnv(
        btf=btf,
        diags=diags,
        has_feature=_feature_reader(btf),
        guru=options.guru,
        target_command=options.cmd,
        target_pid=options.target_pid,
        skip_badvars=options.skip_badvars,
        sysroot=options.sysroot,
        index_directory=index_directory(),
    )


def kernel_facts(env: ProbeEnv) -> KernelFacts:
    """What pass 4 asks about the kernel."""
    from pystap.backend.bpf.facts import KernelFacts
    from pystap.kernel.cpu import possible_cpus

    return KernelFacts(max(possible_cpus()) + 1, env.btf, env.has_feature)


def index_directory() -> str:
    """Where indexes of BTF and of the tapset and the formatter's machine code are kept.

    They depend on the kernel and on pystap, not on scripts: --disable-cache does not concern
    them.
    """
    from pystap.session import cache

    return cache.directory()


def _btf_opener(directory: str) -> Callable[[], Btf]:
    opened: list[Btf] = []

    def open_btf() -> Btf:
        if not opened:
            from pathlib import Path

            from pystap.debuginfo.btf import Btf

            opened.append(Btf.open(Path(directory)))
        return opened[0]

    return open_btf


def _feature_reader(btf: Callable[[], Btf]) -> Callable[[str], bool]:
    """What the kernel can do, remembered between runs; asked for few programs only."""

    def has(feature: str) -> bool:
        if not made:
            from pathlib import Path

            from pystap.kernel.features import Features

            made.append(Features(Path(index_directory()) / "features", btf))
        return made[0].has(feature)

    made: list[Features] = []
    return has


def _config_reader() -> Callable[[str], str]:
    def read(option: str) -> str:
        from pystap.kernel.cpu import kernel_config

        config = kernel_config()
        return (config.get(option) or "") if config else ""

    return read
