"""The probe that fired, and the session it belongs to."""

from __future__ import annotations

from pystap.backend.bpf import emit, layout, strings
from pystap.backend.bpf.analysis import EVENT_INDEXES
from pystap.backend.bpf.artifact import (
    CONTROL_MODULE_NAME,
    CONTROL_NAME_WORDS,
    CONTROL_STP_PID,
    CONTROL_TARGET,
    CONTROL_TZ_NAME,
)
from pystap.backend.bpf.context_values import captured
from pystap.backend.bpf.errors import raise_error
from pystap.backend.bpf.intrinsics import long, string
from pystap.backend.bpf.layout import round_up
from pystap.backend.bpf.strings import Room, Text
from pystap.ir import errors, ops
from pystap.probes import attach
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import Value
    from pystap.ir.module import Probe


@long("target")
def _target(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.load("i64", s.control(CONTROL_TARGET))


@long("stp_pid")
def _stp_pid(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.load("i64", s.control(CONTROL_STP_PID))


@long("addr")
def _addr(s: Scope, _e: ops.Intrinsic) -> Value:
    return captured(s, "ip")


@long("user_mode")
def _user_mode(s: Scope, _e: ops.Intrinsic) -> Value:
    return captured(s, "user_mode").ne(0).zext("i64")


@long("returnval")
def _returnval(s: Scope, _e: ops.Intrinsic) -> Value:
    return captured(s, "retval")


@long("set_hook_result")
def _set_hook_result(s: Scope, e: ops.Intrinsic) -> Value:
    b = s.b
    s.need_context()
    wanted = emit.long(s, e.args[0])
    with b.if_(wanted.sgt(0) | wanted.slt(-layout.MAX_ERRNO)):
        raise_error(s, errors.HOOK_RESULT, e.pos, wanted)
    s.set_header(layout.RESULT, wanted)
    return wanted


@long("funcarg", "reg")
def _by_number(s: Scope, e: ops.Intrinsic) -> Value:
    """A register or argument; a number that is not known yet chooses among all of them."""
    b = s.b
    wanted = e.args[0]
    if isinstance(wanted, ops.Const):
        return captured(s, e.name, wanted.value)
    number = emit.long(s, wanted)
    value = b.const("i64", 0)
    for i in EVENT_INDEXES[e.name]:
        value = b.select(number.eq(i), captured(s, e.name, i), value)
    return value


# ---- texts by probe


def _choose(s: Scope, room: Room, text_of: Callable[[Probe], str]) -> None:
    """Write the text of the probe that fired, from rows of equal size."""
    b = s.b
    texts = [text_of(p).encode("latin-1") + b"\0" for p in s.u.module.probes]
    row = round_up(max(map(len, texts)))
    content = b"".join(text.ljust(row, b"\0") for text in texts)
    where = b.data(content[:row] if len(set(texts)) == 1 else content)
    if len(set(texts)) > 1:
        index = b.barrier(captured(s, "probe_id"))
        index = b.barrier(b.select(index.ult(len(texts)), index, 0))
        where = b.at(where, 0, index, scale=row)
    strings.copy(s, Text(where, row, row), room)


@string("pp")
def _pp(s: Scope, _e: ops.Intrinsic, room: Room) -> None:
    _choose(s, room, lambda probe: probe.point)


@string("pn")
def _pn(s: Scope, _e: ops.Intrinsic, room: Room) -> None:
    _choose(s, room, lambda probe: probe.name)


@string("ppfunc")
def _ppfunc(s: Scope, _e: ops.Intrinsic, room: Room) -> None:
    _choose(s, room, lambda probe: probe.function())


@string("probe_kind")
def _kind(s: Scope, _e: ops.Intrinsic, room: Room) -> None:
    _choose(s, room, lambda probe: attach.kind_of(probe.attach))


@long("is_return")
def _is_return(s: Scope, _e: ops.Intrinsic) -> Value:
    b = s.b
    flags = [int(attach.is_return(p.attach)) for p in s.u.module.probes]
    if len(set(flags)) == 1:
        return b.const("i64", flags[0])
    index = b.barrier(captured(s, "probe_id"))
    index = b.barrier(b.select(index.ult(len(flags)), index, 0))
    return b.load("i8", b.at(b.data(bytes(flags)), index)).zext("i64")


# ---- texts of the session


@string("module_name", "tz_name")
def _session_text(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    size = 8 * CONTROL_NAME_WORDS
    where = s.control(CONTROL_TZ_NAME if e.name == "tz_name" else CONTROL_MODULE_NAME)
    strings.copy(s, Text(where, size, size), room)
