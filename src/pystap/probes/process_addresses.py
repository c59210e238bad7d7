"""``process(PID).statement(ADDRESS).absolute[.return]``: an address in the memory of a process."""

from __future__ import annotations

import os

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.attach import Uprobe
from pystap.probes.base import Match, ProbeEnv
from pystap.probes.programs import memory_of_pid
from pystap.probes.shapes import ShapeMatch, bad_point
from pystap.probes.user_functions import FunctionContext
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.kernel.procs import MapEntry


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


def _mapping_at(pid: int, address: int, tok: Token) -> MapEntry:
    places = memory_of_pid(pid, tok)
    place = next((p for p in places if p.start <= address < p.end), None)
    if place is None:
        raise bad_point(f"process {pid} has no memory at {address:#x}", tok)
    if not place.executable:
        raise bad_point(f"process {pid} has no code at {address:#x}", tok)
    if not place.path.startswith("/"):
        what = place.path or "memory of its own"
        raise bad_point(f"process {pid} has {what} at {address:#x}: only files can be probed", tok)
    return place


def _file_of(pid: int, place: MapEntry) -> str:
    """The file mapped there, also when another has its name by now."""
    link = f"/proc/{pid}/map_files/{place.start:x}-{place.end:x}"
    if place.deleted:
        return link
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
