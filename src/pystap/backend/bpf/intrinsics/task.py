"""The current task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystap.backend.bpf import emit, helpers, strings
from pystap.backend.bpf.intrinsics import long, string
from pystap.backend.bpf.strings import Room, Text
from pystap.ir import ops

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import Value

COMM_SIZE = 16  # TASK_COMM_LEN


@long("pid")
def _pid(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.helper(helpers.GET_CURRENT_PID_TGID, "i64") >> 32


@long("tid")
def _tid(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.helper(helpers.GET_CURRENT_PID_TGID, "i64") & 0xFFFF_FFFF


@long("uid")
def _uid(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.helper(helpers.GET_CURRENT_UID_GID, "i64") & 0xFFFF_FFFF


@long("gid")
def _gid(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.helper(helpers.GET_CURRENT_UID_GID, "i64") >> 32


@long("cpu")
def _cpu(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.helper(helpers.GET_SMP_PROCESSOR_ID, "i64") & 0xFFFF_FFFF


@long("task_current")
def _task(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.helper(helpers.GET_CURRENT_TASK, "i64")


@long("cgroup_id")
def _cgroup(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.helper(helpers.GET_CURRENT_CGROUP_ID, "i64")


@string("execname")
def _execname(s: Scope, _e: ops.Intrinsic, room: Room) -> None:
    b = s.b
    if room.size == COMM_SIZE or (room.size > COMM_SIZE and not room.pad):
        b.helper(helpers.GET_CURRENT_COMM, "i64", room.ptr, COMM_SIZE)
        return
    comm = b.alloca(f"[{COMM_SIZE} x i8]", align=8)
    b.helper(helpers.GET_CURRENT_COMM, "i64", comm, COMM_SIZE)
    if room.size > COMM_SIZE:
        for at in range(0, COMM_SIZE, 8):
            b.store(b.load("i64", comm, at), room.ptr, at)
        strings.fill_zero(s, b.at(room.ptr, COMM_SIZE), room.size - COMM_SIZE)
    else:
        strings.copy(s, Text(comm, COMM_SIZE, COMM_SIZE), room)


_ = emit
