"""``process(PID).statement(ADDRESS).absolute[.return]``: an address in the memory of a process."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.attach import Uprobe
from pystap.probes.base import Match, ProbeEnv
from pystap.probes.shapes import ShapeMatch, bad_point
from pystap.probes.user_functions import FunctionContext
from pystap.typing import NamedTuple


class Mapping(NamedTuple):
    """A part of a process' memory: ``path`` is empty where no file is behind it."""

    start: int
    end: int
    executable: bool
    offset: int
    path: str


def absolute_match(found: ShapeMatch, point: ast.ProbePoint, env: ProbeEnv) -> Match:
    """The instruction at an address as one of the file that is mapped there.

    Raises ``DiagnosticError`` where there is none.
    """
    pid, address = found.args[0], found.args[1]
    assert isinstance(pid, int)  # the shape says so
    assert isinstance(address, int)
    tok = next((c.tok for c in point.components if c.arg == address), point.tok)
    place = _mapping_at(pid, address, tok)
    offset = address - place.start + place.offset
    path = _file_of(pid, place)
    is_return = found.shape.endswith(".return")
    attach = Uprobe(path, offset, _symbol_at(path, offset), is_return, pid)
    return Match([(found.text(), attach)], FunctionContext(path, is_return, env))


def _mapping_at(pid: int, address: int, tok: Token) -> Mapping:
    try:
        places = list(_mappings(pid))
    except (FileNotFoundError, ProcessLookupError):
        raise bad_point(f"no process {pid}", tok) from None
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise bad_point(f"cannot look at the memory of process {pid}: {reason}", tok) from None
    place = next((p for p in places if p.start <= address < p.end), None)
    if place is None:
        raise bad_point(f"process {pid} has no memory at {address:#x}", tok)
    if not place.executable:
        raise bad_point(f"process {pid} has no code at {address:#x}", tok)
    if not place.path.startswith("/"):
        what = place.path or "memory of its own"
        raise bad_point(f"process {pid} has {what} at {address:#x}: only files can be probed", tok)
    return place


def _mappings(pid: int) -> Iterator[Mapping]:
    """What /proc/PID/maps tells, see proc(5)."""
    with open(f"/proc/{pid}/maps", encoding="latin-1") as file:
        for line in file:
            words = line.rstrip("\n").split(maxsplit=5)
            start, _, end = words[0].partition("-")
            path = words[5] if len(words) == 6 else ""
            yield Mapping(int(start, 16), int(end, 16), "x" in words[1], int(words[2], 16), path)


def _file_of(pid: int, place: Mapping) -> str:
    """The file mapped there, also when another has its name by now."""
    link = f"/proc/{pid}/map_files/{place.start:x}-{place.end:x}"
    try:
        if os.path.samefile(place.path, link):
            return place.path
    except OSError:
        return place.path if os.path.exists(place.path) else link
    return link


def _symbol_at(path: str, offset: int) -> str:
    """The function that an instruction belongs to, empty when not known."""
    from pystap.debuginfo.elf import Elf, ElfError

    try:
        with Elf(path) as elf:
            address = elf.address_of_offset(offset)
            if address is None:
                return ""
            around = [s for s in elf.functions() if s.value <= address < s.value + s.size]
    except (ElfError, OSError):
        return ""
    return min(around, key=lambda s: (s.binding == 0, s.name)).name if around else ""
