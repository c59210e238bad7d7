"""The debug information of the kernel and its modules, as probe families ask for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from pystap.lang.tokens import Token
from pystap.probes.base import Context, ProbeEnv
from pystap.probes.user_debug import debug_files
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.debuginfo.debugfiles import MissingDebugInfo
    from pystap.debuginfo.functions import FunctionTable, KernelFunction
    from pystap.debuginfo.kernelfiles import KernelFiles
    from pystap.debuginfo.kernelimage import KernelImage
    from pystap.debuginfo.types import Types


def kernel_files(env: ProbeEnv) -> KernelFiles:
    """The debug information of the kernel that is translated for."""
    if env.kernel_files is None:
        from pystap.debuginfo.kernelfiles import KernelFiles, release_of

        release, build = release_of(env.release)
        env.kernel_files = KernelFiles(
            debug_files(env), release, build, env.sysroot, at_load=env.runtime == "kernel"
        )
    return env.kernel_files


def runs(env: ProbeEnv) -> bool:
    """Whether the kernel that is translated for is the one that runs."""
    return not env.release or kernel_files(env).running


def local_image(module: str, env: ProbeEnv) -> KernelImage | None:
    """The kernel's or a module's, None when this machine has none that can be used."""
    from pystap.debuginfo.debugfiles import MissingDebugInfo
    from pystap.debuginfo.libdw import DwarfError

    files = kernel_files(env)
    try:
        image = files.module(module, local=True) if module else files.kernel(local=True)
    except (MissingDebugInfo, DwarfError):
        return None
    return _with_btf(image, env)


def required_image(
    module: str, env: ProbeEnv, tok: Token, what: str, instead: Callable[[], str] = str
) -> KernelImage:
    """The same, asking servers, too; with a diagnostic when there is none.

    ``what`` cannot be told without it; ``instead`` gives what does.
    """
    from pystap.debuginfo.debugfiles import MissingDebugInfo
    from pystap.debuginfo.libdw import DwarfError
    from pystap.probes.shapes import bad_point

    files = kernel_files(env)
    try:
        return _with_btf(files.module(module) if module else files.kernel(), env)
    except MissingDebugInfo as problem:
        raise _missing(problem, files, module, tok, what, instead()) from None
    except DwarfError as problem:
        raise bad_point(str(problem), tok) from None


def _with_btf(image: KernelImage, env: ProbeEnv) -> KernelImage:
    """The same image, whose types ask BTF for what is only declared."""

    def types() -> Types | None:
        from pystap.debuginfo.btf import BtfError

        try:
            btf = env.btf()
            return btf.module(image.module) if image.module else btf
        except (BtfError, OSError):
            return None

    image.info.types.elsewhere = types
    return image


def function_table(env: ProbeEnv) -> FunctionTable:
    """The functions of the kernel that is translated for."""
    if env.functions is None:
        from pystap.debuginfo.functions import FunctionTable

        if runs(env):
            env.functions = FunctionTable()
        else:
            image = local_image("", env)
            symbols = image.code_symbols() if image is not None else _typed_functions(env)
            text = "".join(f"{address:016x} t {name}\n" for address, name in symbols)
            env.functions = FunctionTable("", lambda: None, "", text.encode("latin-1"))
    return env.functions


def has_types(env: ProbeEnv) -> bool:
    """Whether there is BTF of the kernel that is translated for."""
    from pystap.debuginfo.btf import BtfError

    try:
        env.btf()
    except (BtfError, OSError):
        return False
    return True


def _typed_functions(env: ProbeEnv) -> Iterator[tuple[int, str]]:
    """The functions that BTF knows, without addresses."""
    from pystap.debuginfo.btf import KIND_FUNC

    return ((0, name) for name, _ in env.btf().names(KIND_FUNC)) if has_types(env) else iter(())


def _missing(
    problem: MissingDebugInfo,
    files: KernelFiles,
    module: str,
    tok: Token,
    what: str,
    instead: str,
) -> Exception:
    """The error for what only debug information tells."""
    from pystap.diag.diagnostic import Diagnostic, DiagnosticError

    whose = f"module {module}" if module else "the kernel"
    under = files.build or f"/lib/modules/{files.release}/build"
    looked = problem.looked or [f"{files.sysroot}/lib/modules/{files.release}/**/{module}.ko"]
    notes = [f"{what} of {whose}: only debug information tells", f"looked for {', '.join(looked)}"]
    if problem.build_id:
        notes.append(f"its build id is {problem.build_id}")
    if instead:
        notes.append(f"without it: {instead}")
    return DiagnosticError(
        Diagnostic(
            "semantic error",
            f"missing {os.uname().machine} kernel/module debuginfo [man warning::debuginfo]"
            f" under '{under}'",
            tok,
            notes=notes,
            hint=_own_hint(module, files) or how_to_get(files.release, files.build),
        )
    )


def _own_hint(module: str, files: KernelFiles) -> str:
    """What to do about a module that is none of the kernel's packages; empty for others."""
    if "/" in module:
        return "it has none: build it with -g" if os.path.exists(module) else "it does not exist"
    if not module or module.replace("-", "_") in files.modules():
        return ""
    return f'build it with -g, and name its file: module("/path/of/{module}.ko")'


def how_to_get(release: str, build: str = "") -> str:
    """The command that installs the debug information of a kernel, for this distribution."""
    if not release:
        return f"build the kernel in {build} with CONFIG_DEBUG_INFO"
    from pystap.debuginfo.distribution import distribution

    here = distribution()
    command = here.kernel_debuginfo(release)
    first = command or f"the package with the debug information of kernel {release}"
    if os.environ.get("DEBUGINFOD_URLS", "").strip():
        return f"install it: {first}"
    return f"install it: {first}, or set DEBUGINFOD_URLS={here.server}"


def context_at(
    function: KernelFunction, offset: int, is_return: bool, env: ProbeEnv
) -> Callable[[], Context | None]:
    """What debug information knows of a function's entry, return, or an instruction of it."""

    def find() -> Context | None:
        from pystap.debuginfo.dwarfplaces import at_address, at_entry
        from pystap.debuginfo.libdw import DwarfError
        from pystap.probes.user_code import CodeContext, ReturnContext

        image = local_image(function.module, env)
        if image is None:
            return None
        starts = image.places_of(function.name)
        at = max(function.instance, 0)
        if at >= len(starts):
            return None
        try:
            place = (at_address if offset else at_entry)(image.info, starts[at] + offset)
        except DwarfError:
            return None
        if place is None:
            return None
        return ReturnContext(image.info, place) if is_return else CodeContext(image.info, place)

    return find


def address_in_file(image: KernelImage, function: KernelFunction, offset: int, tok: Token) -> int:
    """The address in its file of an instruction that runs."""
    from pystap.probes.shapes import bad_point

    starts = image.places_of(function.name)
    at = max(function.instance, 0)
    if at >= len(starts):
        raise bad_point(f"{image.info.path} has no function '{function.name}'", tok)
    return starts[at] + offset
