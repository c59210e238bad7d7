"""The text of the session's files: one buffer, as the session runs one handler at a time."""

from __future__ import annotations

from pystap.backend.bpf import helpers, strings
from pystap.backend.bpf.artifact import FILE_LENGTH, FILE_TEXT
from pystap.backend.bpf.intrinsics import string
from pystap.backend.bpf.layout import round_up
from pystap.backend.bpf.strings import Room, Text
from pystap.probes.attach import ProcFile
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.bpf.unit import Unit
    from pystap.ir import ops


def text_room(u: Unit) -> int:
    """Most bytes that the handlers of a module may put together for one read."""
    sizes = [p.attach.maxsize for p in u.module.probes if isinstance(p.attach, ProcFile)]
    return max(u.limits.maxstringlen, *sizes, 0)


def file_map(u: Unit) -> int:
    """The map of the buffer; behind the most there may be, there is room for one more string."""
    size = FILE_TEXT + text_room(u) + u.max_string
    return u.add_map("file", "file", helpers.MAP_ARRAY, 4, size, 1, mmap=True)


@string("file_text")
def _text(s: Scope, _e: ops.Intrinsic, room: Room) -> None:
    most = s.u.limits.maxstringlen
    where = s.b.map_value(file_map(s.u), FILE_TEXT)
    strings.copy(s, Text(where, most, round_up(most)), room)


@string("file_set", "file_append")
def _put(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    b = s.b
    most = text_room(s.u)
    text = strings.reference(s, e.args[0])
    length = b.map_value(file_map(s.u), FILE_LENGTH)
    if e.name == "file_set":
        b.store(0, length)
    at = b.barrier(b.load("i64", length, volatile=True))
    at = b.barrier(b.select(at.ult(most), at, most))
    where = b.at(b.map_value(file_map(s.u), FILE_TEXT), at)
    taken = b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", where, text.bound, text.ptr)
    b.store(at + b.select(taken.sgt(0), taken - 1, 0), length, volatile=True)
    strings.copy(s, text, room)
