"""Groups of the last match of a regular expression."""

from __future__ import annotations

from pystap.backend.bpf import emit, helpers
from pystap.backend.bpf.bounds import clamp
from pystap.backend.bpf.errors import raise_error
from pystap.backend.bpf.intrinsics import long, string
from pystap.backend.bpf.matching import groups, most_groups, registers, subject
from pystap.backend.bpf.strings import fill_zero
from pystap.ir import errors
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.bpf.strings import Room
    from pystap.backend.llvm.builder import Value
    from pystap.ir import ops


@long("ngroups")
def _ngroups(s: Scope, e: ops.Intrinsic) -> Value:
    count = _count(s)
    with s.b.if_(count.eq(0)):
        raise_error(s, errors.MATCH_FAILED, e.pos)
    return count


@string("matched")
def _matched(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    b = s.b
    group = emit.long(s, e.args[0])
    count = _count(s)
    with b.if_(count.eq(0)):
        raise_error(s, errors.MATCH_FAILED, e.pos)
    with b.if_(group.uge(count)):
        raise_error(s, errors.MATCH_GROUP, e.pos, group)
    if room.pad:
        fill_zero(s, room.ptr, room.size)
    place = b.at(registers(s), 0, clamp(s, group, max(most_groups(s.u) - 1, 0)), scale=16)
    begin, end = b.load("i64", place), b.load("i64", place, 8)
    length = b.select(b.either(begin.slt(0), end.slt(0)), 0, end - begin)
    text = subject(s)
    size = clamp(s, length, room.limit - 1) + 1
    source = b.at(text.ptr, clamp(s, begin, text.limit - 1))
    b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", room.ptr, size, source)


def _count(s: Scope) -> Value:
    """The number of groups, 0 when there is no match; never any where no pattern has groups."""
    if not most_groups(s.u):
        return s.b.const("i64", 0)
    return s.b.load("i64", groups(s))
