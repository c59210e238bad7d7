"""The debug information of programs, as probe families and casts ask for it."""

from __future__ import annotations

from pystap.lang.tokens import Token
from pystap.probes.base import ProbeEnv
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.debuginfo.debugfiles import DebugFiles, DebugInfo, MissingDebugInfo

_MOST_PLACES: Final = 4  # of those looked at, in a message


def debug_files(env: ProbeEnv) -> DebugFiles:
    """The session's debug information, opened so far or later."""
    if env.debug is None:
        from pystap.debuginfo.debugfiles import DebugFiles

        env.debug = DebugFiles(env.index_directory, env.sysroot)
    return env.debug


def debug_info(path: str, env: ProbeEnv) -> DebugInfo | None:
    """The debug information of the program at ``path``; None when there is none."""
    from pystap.debuginfo.debugfiles import MissingDebugInfo

    try:
        return debug_files(env).of(path)
    except MissingDebugInfo:
        return None


def required_debug_info(
    path: str, env: ProbeEnv, tok: Token, what: str = "", instead: str = ""
) -> DebugInfo:
    """The same, with a diagnostic when there is none or it is damaged.

    ``what`` is what was asked for, ``instead`` what does without it.
    """
    from pystap.debuginfo.debugfiles import MissingDebugInfo
    from pystap.debuginfo.libdw import DwarfError
    from pystap.probes.shapes import bad_point

    try:
        return debug_files(env).of(path)
    except MissingDebugInfo as problem:
        raise _missing(problem, tok, what, instead) from None
    except DwarfError as problem:
        raise bad_point(str(problem), tok) from None


def _missing(problem: MissingDebugInfo, tok: Token, what: str, instead: str) -> Exception:
    """The error for what only debug information tells."""
    from pystap.diag.diagnostic import Diagnostic, DiagnosticError

    notes = []
    files = [place for place in problem.looked if place.startswith("/")]
    if files:
        notes.append(f"looked for {', '.join(files[:_MOST_PLACES])}")
    notes += [f"asked {place}" for place in problem.looked if not place.startswith("/")]
    if problem.build_id:
        notes.append(f"its build id is {problem.build_id}")
    if instead:
        notes.append(f"without it, use {instead}")
    wanted = f"{what}: " if what else ""
    return DiagnosticError(
        Diagnostic(
            "semantic error",
            f"{wanted}missing debuginfo for {problem.path} [man warning::debuginfo]",
            tok,
            notes=notes,
            hint=_how_to_get(problem.path),
        )
    )


def _how_to_get(path: str) -> str:
    """The command that installs a program's debug information, as far as can be told."""
    import os

    from pystap.debuginfo.distribution import distribution

    here = distribution()
    package = _package(path, here.family)
    command = here.program_debuginfo(package) if package else ""
    first = f"install it: {command}" if command else "build it with -g"
    if os.environ.get("DEBUGINFOD_URLS", "").strip():
        return first
    return f"{first}, or set DEBUGINFOD_URLS={here.server}"


def _package(path: str, family: str) -> str:
    """The package a file is from; empty when that cannot be told."""
    import os
    import subprocess

    commands = {"debian": "dpkg-query -S", "ubuntu": "dpkg-query -S"}
    commands.update(dict.fromkeys(("redhat", "suse"), "rpm -qf --qf %{NAME}:"))
    if family not in commands:
        return ""
    for name in dict.fromkeys((path, os.path.realpath(path), path.removeprefix("/usr"))):
        words = [*commands[family].split(), name]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        if done.returncode == 0 and done.stdout:
            return done.stdout.partition(":")[0].partition(",")[0]
    return ""
