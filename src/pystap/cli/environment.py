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
        kernel_release=_release(options) or uname.release,
        arch=_ARCHITECTURES.get(uname.machine, uname.machine),
        compatible=options.compatible or LANGUAGE_VERSION,
        runtime="kernel" if options.runtime == "kernel" else "bpf",
        guru=options.guru,
        config=_config_reader(),
        args=options.args,
    )


def _release(options: Options) -> str:
    """The release that ``-r`` means; empty without it, or when its directory does not tell."""
    if not options.release:
        return ""
    from pystap.debuginfo.kernelfiles import release_of

    return release_of(options.release)[0]


def make_probe_env(options: Options, diags: Diagnostics) -> ProbeEnv:
    """What probe families ask about the session."""
    from pystap.probes.base import ProbeEnv

    btf = _btf_opener(index_directory(), options)
    modules = options.runtime == "kernel"
    return ProbeEnv(
        btf=btf,
        diags=diags,
        has_feature=None if modules else _feature_reader(btf),  # of BPF, here
        runtime="kernel" if modules else "bpf",
        guru=options.guru,
        target_command=options.cmd,
        target_pid=options.target_pid,
        skip_badvars=options.skip_badvars,
        sysroot=options.sysroot,
        release=options.release,
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


def _btf_opener(directory: str, options: Options) -> Callable[[], Btf]:
    """Opens it when first asked; that there is none is found out once, too."""
    opened: list[Btf | Exception] = []

    def open_btf() -> Btf:
        if not opened:
            from pystap.debuginfo.btffile import BtfError

            try:
                opened.append(_open_btf(directory, options))
            except (BtfError, OSError) as problem:
                opened.append(problem)
        if isinstance(opened[0], Exception):
            raise opened[0]
        return opened[0]

    return open_btf


def _open_btf(directory: str, options: Options) -> Btf:
    from pathlib import Path

    from pystap.debuginfo.btf import Btf

    path = _other_btf(directory, options) if options.release else ""
    return Btf.open(Path(directory), path) if path else Btf.open(Path(directory))


def _other_btf(directory: str, options: Options) -> str:
    """A file with the BTF of a kernel that does not run; empty when it is the one that does."""
    from pystap.debuginfo.debugfiles import DebugFiles
    from pystap.debuginfo.kernelbtf import types_of
    from pystap.debuginfo.kernelfiles import KernelFiles, release_of

    release, build = release_of(options.release)
    files = KernelFiles(DebugFiles(directory, options.sysroot), release, build, options.sysroot)
    return "" if files.running else types_of(files, directory)


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
