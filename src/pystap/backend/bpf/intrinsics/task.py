"""The current task."""

from __future__ import annotations

from pystap.backend.bpf import helpers, memory, strings
from pystap.backend.bpf.context_values import captured
from pystap.backend.bpf.facts import X86_PT_REGS
from pystap.backend.bpf.intrinsics import long, string
from pystap.backend.bpf.process_table import belongs_to_target
from pystap.backend.bpf.strings import Room, Text
from pystap.ir import ops
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import Value

COMM_SIZE: Final = 16  # TASK_COMM_LEN


def _of_task(s: Scope, current: Value, member: str) -> Value:
    """A number of the current task, or of another one when the handler is about that."""
    b = s.b
    if not s.u.analysis.other_tasks:
        return current
    other = captured(s, "task")
    number = b.var("i64", current)
    with b.if_(other.ne(0)):
        number.set(read_kernel(s, other + s.u.facts.offset("task_struct", member), 4))
    return number.get()


@long("pid")
def _pid(s: Scope, _e: ops.Intrinsic) -> Value:
    return _of_task(s, s.b.helper(helpers.GET_CURRENT_PID_TGID, "i64") >> 32, "tgid")


@long("tid")
def _tid(s: Scope, _e: ops.Intrinsic) -> Value:
    current = s.b.helper(helpers.GET_CURRENT_PID_TGID, "i64") & 0xFFFF_FFFF
    return _of_task(s, current, "pid")


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
    current = s.b.helper(helpers.GET_CURRENT_TASK, "i64")
    if not s.u.analysis.other_tasks:
        return current
    other = captured(s, "task")
    return s.b.select(other.ne(0), other, current)


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


@long("in_target")
def _in_target(s: Scope, e: ops.Intrinsic) -> Value:
    """Whether the current process is the target or descends from it."""
    return belongs_to_target(s.u, s.b, _pid(s, e))
