"""The table of processes that probes are about, kept by programs in the kernel.

One element for each such process, by process id: which program it runs, and whether it belongs to
the target.  The kernel has thrown the program's file away when an exiting process is reported,
and a process whose parent has ended no longer shows where it descends from: the table knows both.
"""

from __future__ import annotations

from pystap.backend.bpf import helpers
from pystap.backend.bpf.artifact import CONTROL_TARGET, CONTROL_UNWATCHED
from pystap.backend.bpf.facts import CompileError
from pystap.backend.bpf.unit import control_word
from pystap.ir import ops
from pystap.ir.walk import owners, walk_body
from pystap.probes.attach import ProcessEvent, of_target
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value
    from pystap.ir.module import Module

# An element: the inode number of the program, and its device with flags.
INODE: Final = 0
STATE: Final = 8
DEVICE: Final = 0xFFFF_FFFF
TARGET: Final = 1 << 32  # is target() or was started by it or by a descendant of it
PENDING: Final = 1 << 33  # began before the session did; the handler of its begin has yet to run
ENDED: Final = 1 << 34
HELD: Final = 1 << 35  # the command of -c before it runs: still a part of the session's program

_ELEMENT: Final = 16
_PROCESSES: Final = "processes"
_THREADS: Final = "threads"
_ENTRIES: Final = 65_536
_ANCESTORS: Final = 64  # generations that are searched for the target when the session begins
_NOT_USERS: Final = 0x0020_4010  # PF_KTHREAD, PF_USER_WORKER, PF_IO_WORKER of <linux/sched.h>


class Identity(NamedTuple):
    """A file as the kernel tells it apart: number of the inode and of its device."""

    inode: int
    device: int


class Watched(NamedTuple):
    """Which processes have an element: all, the target's, by number, by program."""

    everyone: bool
    target: bool
    pids: tuple[int, ...]
    programs: tuple[Identity, ...]

    def __bool__(self) -> bool:
        return self.everyone or self.target or bool(self.pids or self.programs)


class Subject(NamedTuple):
    """A process in question; ``target`` is TARGET or 0."""

    tgid: Value
    inode: Value
    device: Value
    target: Value


def watched(module: Module) -> Watched:
    """What the probes and handlers of a module need in the table."""
    events = [p.attach for p in module.probes if isinstance(p.attach, ProcessEvent)]
    programs = {identity(e.path): None for e in events if e.path}
    return Watched(
        any(not (e.path or e.pid or e.target_only) for e in events),
        _needs_target(module),
        tuple(sorted({e.pid for e in events if e.pid})),
        tuple(programs),
    )


def _needs_target(module: Module) -> bool:
    if any(of_target(probe.attach) for probe in module.probes):
        return True
    return any(
        isinstance(node, ops.Intrinsic) and node.name == "in_target"
        for owner in owners(module)
        for node in walk_body(owner.body)
    )


def identity(path: str) -> Identity:
    """How a process that runs a file shows it.

    stat(2) tells another device than the kernel itself uses on some file systems (btrfs,
    overlayfs).  Raises :class:`CompileError`.
    """
    from pystap.kernel.procs import file_identity

    try:
        return Identity(*file_identity(path))
    except OSError as error:
        raise CompileError(f"cannot look at the program '{path}': {error.strerror}") from error


class Table:
    """Emits accesses to the table in one function."""

    __slots__ = ("_element", "_key", "_word", "b", "u", "watched")

    def __init__(self, unit: Unit, b: FunctionBuilder, wanted: Watched) -> None:
        self.u = unit
        self.b = b
        self.watched = wanted
        self._word = b.alloca("i64")
        self._key = b.alloca("i64")
        self._element = b.alloca(f"[{_ELEMENT} x i8]", align=8)

    # ---- kernel memory

    def read(self, address: Value, size: int = 8) -> Value:
        """A number in kernel memory, 0 where there is none."""
        b = self.b
        b.store(0, self._word)
        b.helper(helpers.PROBE_READ_KERNEL, "i64", self._word, size, address)
        return b.load("i64", self._word)

    def field(self, task: Value, name: str, size: int = 8) -> Value:
        """A member of a task."""
        return self.read(task + self.u.facts.offset("task_struct", name), size)

    def is_users(self, task: Value) -> Value:
        """``i1``: a task runs a program of user space (what ends no longer does)."""
        return (self.field(task, "flags", 4) & _NOT_USERS).eq(0)

    def subject(self, tgid: Value, task: Value, target: Value) -> Subject:
        """A process by one of its tasks, which must not be ending."""
        b, facts = self.b, self.u.facts
        if not self.watched.programs:
            return Subject(tgid, b.const("i64", 0), b.const("i64", 0), target)
        mm = self.field(task, "mm")
        file = self.read(mm + facts.offset("mm_struct", "exe_file"))
        inode = self.read(file + facts.offset("file", "f_inode"))
        number = self.read(inode + facts.offset("inode", "i_ino"))
        system = self.read(inode + facts.offset("inode", "i_sb"))
        device = self.read(system + facts.offset("super_block", "s_dev"), 4)
        return Subject(tgid, number, device, target)

    def is_target(self, tgid: Value) -> Value:
        """``i1``: a process is target() itself."""
        target = self.b.load("i64", control_word(self.b, self.u, CONTROL_TARGET))
        return tgid.eq(target) & target.ne(0)

    # ---- elements

    def find(self, tgid: Value) -> Value:
        """Address of the element of a process, or null."""
        return self.b.helper(helpers.MAP_LOOKUP, "ptr", self._processes(), self._at_key(tgid))

    def known(self, tgid: Value, element: Value) -> Subject:
        """A process as its element has it."""
        state = self.b.load("i64", element, STATE, volatile=True)
        return Subject(
            tgid, self.b.load("i64", element, INODE), state & DEVICE, state & TARGET
        )  # fmt: skip

    def wants(self, who: Subject) -> Value:
        """``i1``: a process is to have an element."""
        b, w = self.b, self.watched
        wanted = b.const("i1", int(w.everyone))
        if w.everyone:
            return wanted
        if w.target:
            wanted = wanted | who.target.ne(0)
        for pid in w.pids:
            wanted = wanted | who.tgid.eq(pid)
        for program in w.programs:
            wanted = wanted | self.runs(who, program)
        return wanted

    def runs(self, who: Subject, program: Identity) -> Value:
        """``i1``: a process runs a program."""
        return who.inode.eq(program.inode) & who.device.eq(program.device)

    def put(self, who: Subject, flags: Value, how: int = 0) -> None:
        """Make or replace an element (with ``helpers.NOEXIST``: only make); a table that is full
        is counted."""
        b = self.b
        b.store(who.inode, self._element, INODE)
        b.store(who.device | who.target | flags, self._element, STATE)
        self._count_failure(
            b.helper(
                helpers.MAP_UPDATE, "i64", self._processes(), self._at_key(who.tgid),
                self._element, how,
            )
        )  # fmt: skip

    def drop(self, tgid: Value) -> None:
        """Remove the element of a process if there is one."""
        self.b.helper(helpers.MAP_DELETE, "i64", self._processes(), self._at_key(tgid))

    # ---- threads that were there when the session began

    def await_thread(self, tid: Value) -> None:
        """The handler of a thread's begin has yet to run."""
        b = self.b
        b.store(0, self._element)
        self._count_failure(
            b.helper(
                helpers.MAP_UPDATE, "i64", self._threads(), self._at_key(tid), self._element, 0
            )
        )

    def take_thread(self, tid: Value) -> Value:
        """``i1``: the handler of a thread's begin had yet to run; it no longer has."""
        result = self.b.helper(helpers.MAP_DELETE, "i64", self._threads(), self._at_key(tid))
        return result.trunc("i32").eq(0)

    def _at_key(self, number: Value) -> Value:
        self.b.store(number, self._key)
        return self._key

    def _processes(self) -> Value:
        return self.b.map_fd(_add(self.u, _PROCESSES, _ELEMENT))

    def _threads(self) -> Value:
        return self.b.map_fd(_add(self.u, _THREADS, 8))

    def _count_failure(self, result: Value) -> None:
        b = self.b
        code = result.trunc("i32")
        with b.if_(code.slt(0) & code.ne(helpers.EEXIST)):
            b.atomic_rmw("add", control_word(b, self.u, CONTROL_UNWATCHED), 1, order="monotonic")


def _add(unit: Unit, name: str, size: int) -> int:
    return unit.add_map(name, name, helpers.MAP_HASH, 8, size, _ENTRIES, preallocated=False)


def belongs_to_target(unit: Unit, b: FunctionBuilder, tgid: Operand) -> Value:
    """Emit the test whether a process belongs to the target: 1 or 0."""

    def emit_test(inner: FunctionBuilder) -> None:
        table = Table(unit, inner, Watched(False, True, (), ()))
        element = table.find(inner.args[0])
        with inner.if_(element.eq(0)):
            inner.ret(0)
        state = inner.load("i64", element, STATE, volatile=True)
        inner.ret((state & (TARGET | HELD)).eq(TARGET).zext("i64"))

    return b.call(unit.function("in_target", ["tgid"], emit_test), tgid)


def runs_program(unit: Unit, b: FunctionBuilder, path: str) -> Value:
    """Emit the test whether the current process runs the program at ``path``: 1 or 0."""
    program = identity(path)

    def emit_test(inner: FunctionBuilder) -> None:
        table = Table(unit, inner, Watched(False, False, (), (program,)))
        nothing = inner.const("i64", 0)
        task = inner.helper(helpers.GET_CURRENT_TASK, "i64")
        who = table.subject(nothing, task, nothing)
        inode, device = inner.args
        inner.ret((who.inode.eq(inode) & who.device.eq(device)).zext("i64"))

    function = unit.function("runs_program", ["inode", "device"], emit_test)
    return b.call(function, program.inode, program.device)


def descends(unit: Unit, b: FunctionBuilder, task: Value) -> Value:
    """Emit the search of a task's ancestors, itself included, for target(): 1 or 0."""

    def emit_search(inner: FunctionBuilder) -> None:
        table = Table(unit, inner, Watched(False, True, (), ()))
        here = inner.var("i64", inner.args[0])
        with inner.for_range(0, _ANCESTORS):
            tgid = table.field(here.get(), "tgid", 4)
            with inner.if_(tgid.eq(0)):
                inner.ret(0)
            with inner.if_(table.is_target(tgid)):
                inner.ret(1)
            here.set(table.field(here.get(), "real_parent"))
        inner.ret(0)

    return b.call(unit.function("descends", ["task"], emit_search), task)
