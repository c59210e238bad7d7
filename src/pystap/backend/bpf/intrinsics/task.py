"""The current task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pystap.backend.bpf import helpers, layout, memory, strings
from pystap.backend.bpf.artifact import CONTROL_TARGET
from pystap.backend.bpf.facts import X86_PT_REGS
from pystap.backend.bpf.intrinsics import long, string
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.strings import Room, Text
from pystap.ir import ops

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value

COMM_SIZE: Final = 16  # TASK_COMM_LEN


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
    if room.size >= COMM_SIZE:
        if room.pad:  # not every kernel fills the rest with zeros
            strings.fill_zero(s, room.ptr, room.size)
        b.helper(helpers.GET_CURRENT_COMM, "i64", room.ptr, COMM_SIZE)
        return
    comm = b.alloca(f"[{COMM_SIZE} x i8]", align=8)
    b.helper(helpers.GET_CURRENT_COMM, "i64", comm, COMM_SIZE)
    strings.copy(s, Text(comm, COMM_SIZE, COMM_SIZE), room)


@long("uaddr")
def _uaddr(s: Scope, _e: ops.Intrinsic) -> Value:
    """Program counter of the current task in user space, 0 for a kernel thread."""
    b = s.b
    task = b.helper(helpers.GET_CURRENT_TASK, "i64")
    has_memory = read_kernel(s, task + s.u.facts.offset("task_struct", "mm")).ne(0)
    current = b.helper(helpers.GET_CURRENT_TASK_BTF, "ptr")
    registers = b.helper(helpers.TASK_PT_REGS, "i64", current)
    counter = read_kernel(s, registers + X86_PT_REGS[16])
    return b.select(has_memory, counter, 0)


def read_kernel(s: Scope, address: Value, size: int = 8) -> Value:
    """A number in kernel memory, 0 where there is none."""
    failed, word = memory.read_bytes(s, "kernel", size, address)
    return s.b.select(failed.eq(0), word, 0)


_ANCESTORS: Final = 64  # generations that are searched for the target


@long("in_target")
def _in_target(s: Scope, _e: ops.Intrinsic) -> Value:
    """Whether the current process or one it descends from is the target."""
    u = s.u
    name = u.function("in_target", ["index"], lambda b: _emit_in_target(u, b))
    return s.b.call(name, s.header(layout.INDEX))


def _emit_in_target(u: Unit, b: FunctionBuilder) -> None:
    from pystap.backend.bpf.programs import runtime_scope

    s = runtime_scope(u, b, b.args[0])
    tgid_at = u.facts.offset("task_struct", "tgid")
    parent_at = u.facts.offset("task_struct", "real_parent")
    task_at, found_at = layout.SCRATCH, layout.SCRATCH + 8
    s.set_header(task_at, b.helper(helpers.GET_CURRENT_TASK, "i64"))
    s.set_header(found_at, 0)

    def step(inner: Scope, _index: Value) -> None:
        task = inner.header(task_at)
        tgid = read_kernel(inner, task + tgid_at, 4)
        target = inner.b.load("i64", inner.control(CONTROL_TARGET))
        inner.leave_if(tgid.ult(1), "break")
        with inner.b.if_(tgid.eq(target)):
            inner.set_header(found_at, 1)
            inner.leave("break")
        inner.set_header(task_at, read_kernel(inner, task + parent_at))

    run_loop(s, _ANCESTORS, step, "ancestors")
    b.ret(s.header(found_at))
