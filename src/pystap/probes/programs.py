"""Finding the program that ``process(...)`` names."""

from __future__ import annotations

import glob
import os

from pystap.lang.tokens import Token
from pystap.probes.build_ids import find_build_id, is_build_id
from pystap.probes.shapes import bad_point, has_wildcard
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.kernel.procs import MapEntry

_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A command with these means more than a program and its arguments.
_SHELL_CHARACTERS: Final = frozenset("&|;<>()$`\\\"'*?[#~=%\n")
_SCRIPT_BYTES: Final = 256  # how much of a script the kernel looks at, linux/binfmts.h
_SCRIPT_DEPTH: Final = 4


class Program(NamedTuple):
    """An executable or library: ``path`` is where to probe it, ``name`` how to show it."""

    path: str
    name: str
    note: str = ""


def find_programs(name: str, sysroot: str, tok: Token) -> list[Program]:
    """What ``process("name")`` stands for: a path, a name in $PATH, a glob of paths or a build id.

    Links are followed; a script stands for its interpreter.  Raises ``DiagnosticError`` when a
    plain name leads to no usable file; files that a glob finds and nobody can probe are left out.
    """
    if not name:
        raise bad_point("process() needs the path of a program", tok)
    if is_build_id(name) and not os.path.exists(name):
        return [_of_build_id(name, sysroot, tok)]
    if not has_wildcard(name):
        return [_program(_locate(name, sysroot, tok), sysroot, tok)]
    pattern = name if "/" in name else ""
    folders = _search_path() if not pattern else [""]
    paths: dict[str, None] = {}
    for folder in folders:
        where = sysroot + (pattern or os.path.join(folder, name))
        paths.update(dict.fromkeys(sorted(glob.glob(where))))
    programs = [_program(path, sysroot, tok) for path in paths if _is_elf(path)]
    return list(dict.fromkeys(programs))


def _of_build_id(name: str, sysroot: str, tok: Token) -> Program:
    path = find_build_id(name, _search_path(), sysroot)
    if path is None:
        raise bad_point(
            f"no file has the build id {name}",
            tok,
            hint="looked among what runs now and what is installed; a path names any other",
        )
    return Program(path, path.removeprefix(sysroot) if sysroot else path)


def program_of_pid(pid: int, tok: Token) -> Program:
    """The program a process runs, found even in another mount namespace."""
    link = f"/proc/{pid}/exe"
    try:
        path = os.readlink(link)
    except FileNotFoundError:
        raise bad_point(f"no process {pid}", tok) from None
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise bad_point(f"cannot tell which program process {pid} runs: {reason}", tok) from None
    path = path.removesuffix(" (deleted)")
    try:
        same = os.path.samefile(path, link)
    except OSError:
        same = False
    return Program(path if same else link, path)


def memory_of_pid(pid: int, tok: Token) -> list[MapEntry]:
    """The memory map of a process; raises ``DiagnosticError`` where it cannot be read."""
    from pystap.kernel.procs import maps

    try:
        return maps(pid)
    except ProcessLookupError:
        raise bad_point(f"no process {pid}", tok) from None
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise bad_point(f"cannot look at the memory of process {pid}: {reason}", tok) from None


def program_of_command(command: str, sysroot: str, tok: Token) -> Program:
    """The program that ``-c COMMAND`` starts, when that can be told from its text."""
    if _SHELL_CHARACTERS.intersection(command):
        raise bad_point(
            "cannot tell which program the command of -c runs",
            tok,
            hint='name it: process("/path/of/program")',
        )
    return find_programs(command.split()[0], sysroot, tok)[0]


def _locate(name: str, sysroot: str, tok: Token) -> str:
    if "/" in name:
        path = sysroot + os.path.abspath(name) if sysroot else name
        if not os.path.exists(path):
            raise bad_point(f"cannot find '{name}': no such file", tok, _near(path))
        return path
    for folder in _search_path():
        path = sysroot + os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise bad_point(f"cannot find executable '{name}' in $PATH", tok, _near_command(name))


def _search_path() -> list[str]:
    return [folder or "." for folder in os.environ.get("PATH", _DEFAULT_PATH).split(":")]


def _near(path: str) -> str | None:
    from pystap.diag.suggest import suggest

    folder, name = os.path.split(path)
    try:
        near = suggest(name, sorted(os.listdir(folder or ".")))
    except OSError:
        return f"there is no directory '{folder}'"
    return f"did you mean {' or '.join(os.path.join(folder, n) for n in near)}?" if near else None


def _near_command(name: str) -> str | None:
    from pystap.diag.suggest import suggest

    names: set[str] = set()
    for folder in _search_path():
        if os.path.isdir(folder):
            names.update(os.listdir(folder))
    near = suggest(name, sorted(names))
    return f"did you mean {' or '.join(near)}?" if near else None


def _program(path: str, sysroot: str, tok: Token, depth: int = 0) -> Program:
    """The file itself, or for a script its interpreter."""
    real = os.path.realpath(path)
    if os.path.isdir(real):
        raise bad_point(f"'{path}' is a directory, not a program", tok)
    if not os.path.isfile(real):
        raise bad_point(f"'{path}' is no file, let alone a program", tok)
    try:
        with open(real, "rb") as file:
            head = file.read(_SCRIPT_BYTES)
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise bad_point(f"cannot read '{path}': {reason}", tok) from None
    if head[:2] != b"#!":
        return Program(real, real.removeprefix(sysroot) if sysroot else real)
    interpreter = _interpreter(head)
    if not interpreter or depth == _SCRIPT_DEPTH:
        raise bad_point(f"'{path}' is a script without a usable interpreter", tok)
    found = _program(_locate(interpreter, sysroot, tok), sysroot, tok, depth + 1)
    note = f"'{path}' is a script: its interpreter {found.name} is probed"
    return found._replace(note=note)


def _interpreter(head: bytes) -> str:
    """The program after ``#!``, or the one that env(1) would find."""
    words = head[2:].split(b"\n", 1)[0].decode("latin-1").split()
    if not words:
        return ""
    if os.path.basename(words[0]) == "env":
        rest = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        return rest[0] if rest else ""
    return words[0]


def _is_elf(path: str) -> bool:
    if not os.path.isfile(path):
        return False  # to open a pipe would wait for its other end
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False
