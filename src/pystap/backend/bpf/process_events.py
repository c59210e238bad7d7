"""Begin and end of processes and threads: programs on the scheduler's raw tracepoints.

A process begins when it is forked and when it executes a program; it ends with its last thread.
Those that are there when the session begins are entered in the table by a program that the kernel
runs once for every task; the handlers of their begins run when they next leave a CPU.  All these
programs work from before the session runs, so no process is missed or told twice.

A fork is reported before the child can run, in its parent: the handler gets the child's task, and
``pid()`` and the like give the child's numbers.  Everything else the two have in common then.
"""

from __future__ import annotations

from pystap.backend.bpf import helpers
from pystap.backend.bpf.artifact import (
    CONTROL_HELD,
    CONTROL_STATE,
    STATE_RUNNING,
    STATE_STARTING,
)
from pystap.backend.bpf.levels import level_of
from pystap.backend.bpf.process_table import (
    ENDED,
    HELD,
    PENDING,
    STATE,
    TARGET,
    Identity,
    Subject,
    Table,
    Watched,
    descends,
    identity,
    watched,
)
from pystap.backend.bpf.programs import emit_handler
from pystap.backend.bpf.unit import control_word
from pystap.probes.attach import ProcessEvent
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value
    from pystap.ir.module import Probe

TASK_ITERATOR: Final = "bpf_iter_task"  # the kernel function whose BTF id names it
_TASK_ARGUMENT: Final = 8  # second argument of sched_process_fork and of the iterator
_EXITING: Final = 4  # PF_EXITING of <linux/sched.h>


class Program(NamedTuple):
    """An emitted program: its function and tracepoint (the iterator when ``target`` is that)."""

    function: str
    target: str


class _Group:
    """Probes with the same handler, of which a process can hit one at most."""

    __slots__ = ("identities", "members", "probe")

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.members: list[tuple[int, ProcessEvent]] = []
        self.identities: set[Identity] = set()


_Groups = dict[str, list[_Group]]


def emit_process_programs(unit: Unit) -> list[Program]:
    """Emit the programs that the module's probes of processes need; the iterator comes last.

    Raises :class:`~pystap.backend.bpf.facts.CompileError` when a program's file is gone.
    """
    wanted = watched(unit.module)
    if not wanted:
        return []
    groups: _Groups = {edge: _group(unit, edge) for edge in _EDGES}
    made = []
    for function, target, emit, needed in _PROGRAMS:
        if needed(wanted, groups):
            with unit.m.function(function, "i64", [("ptr", "event")]) as b:
                emit(_Emission(unit, b, wanted, groups))
            made.append(Program(function, target))
    return made


_EDGES: Final = ("begin", "end", "thread.begin", "thread.end")


def _group(unit: Unit, edge: str) -> list[_Group]:
    groups: list[_Group] = []
    for index, probe in enumerate(unit.module.probes):
        if not isinstance(probe.attach, ProcessEvent) or probe.attach.edge != edge:
            continue
        known = {identity(probe.attach.path)} if probe.attach.path else set()
        for group in groups:
            same = (group.probe.handler, group.probe.condition) == (probe.handler, probe.condition)
            if same and known and group.identities and not known & group.identities:
                break
        else:
            group = _Group(probe)
            groups.append(group)
        group.members.append((index, probe.attach))
        group.identities |= known
    return groups


class _Emission:
    """One program that is being emitted."""

    __slots__ = ("b", "groups", "table", "u", "watched")

    def __init__(self, unit: Unit, b: FunctionBuilder, wanted: Watched, groups: _Groups) -> None:
        self.u = unit
        self.b = b
        self.watched = wanted
        self.groups = groups
        self.table = Table(unit, b, wanted)

    def state(self) -> Value:
        """The session's state; the program ends unless it is starting or running."""
        b = self.b
        state = b.load("i64", control_word(b, self.u, CONTROL_STATE), volatile=True)
        with b.if_(state.ugt(STATE_RUNNING)):
            b.ret(0)
        return state

    def current(self) -> tuple[Value, Value, Value]:
        """Process id, thread id and task of the current task."""
        b = self.b
        both = b.helper(helpers.GET_CURRENT_PID_TGID, "i64")
        return both >> 32, both & 0xFFFF_FFFF, b.helper(helpers.GET_CURRENT_TASK, "i64")

    def argument(self) -> Value:
        """The address of the task that is the event's second argument, as a plain number."""
        return self.table.read(self.b.args[0].to_int() + _TASK_ARGUMENT)

    def fire(self, edge: str, who: Subject, task: Value | int = 0) -> None:
        """Run the handlers that want an event of a process; ``task`` when that is not current."""
        b = self.b
        for group in self.groups[edge]:
            index = b.const("i64", -1)
            for number, event in group.members:
                index = b.select(self._fits(event, who), number, index)
            with b.if_(index.ne(-1)):
                b.call(_handler(self.u, group), index, task)

    def _fits(self, event: ProcessEvent, who: Subject) -> Value:
        b = self.b
        if event.path:
            return self.table.runs(who, identity(event.path))
        if event.pid:
            return who.tgid.eq(event.pid)
        return who.target.ne(0) if event.target_only else b.const("i1", 1)

    def admit(self, who: Subject, state: Value) -> None:
        """Enter a process that begins now; the program ends when no probe is about it."""
        b = self.b
        with b.if_(self.table.wants(who) ^ 1):
            self.table.drop(who.tgid)
            b.ret(0)
        self.table.put(who, b.select(state.eq(STATE_STARTING), PENDING, b.const("i64", 0)))

    def fire_pending(self, element: Value, who: Subject) -> None:
        """Run the handlers of a begin before the session's, unless that was done."""
        b = self.b
        if not self.groups["begin"]:
            return
        state = b.load("i64", element, STATE, volatile=True)
        with b.if_((state & PENDING).ne(0)):
            before = b.atomic_rmw("and", b.at(element, STATE), ~PENDING)
            with b.if_((before & PENDING).ne(0)):
                self.fire("begin", who)

    def fire_pending_thread(self, who: Subject, tid: Value) -> None:
        """The same of a thread that is not its process' first."""
        if self.groups["thread.begin"]:
            with self.b.if_(tid.ne(who.tgid)), self.b.if_(self.table.take_thread(tid)):
                self.fire("thread.begin", who)


def _handler(unit: Unit, group: _Group) -> str:
    """The function that runs the handler of a group: of the probe's index and a task or 0."""
    probe = group.probe

    def make(b: FunctionBuilder) -> None:
        level = level_of(probe.attach)
        emit_handler(unit, b, "process", b.args[1].to_ptr(), probe, b.args[0], level)
        b.ret(0)

    return unit.function(f"process.{group.members[0][0]}", ["probe", "task"], make)


# ---- programs


def _emit_exec(e: _Emission) -> None:
    """sched_process_exec: the current task runs the new program already."""
    b, table = e.b, e.table
    state = e.state()
    tgid, _, task = e.current()
    target = b.var("i64", b.select(table.is_target(tgid), TARGET, b.const("i64", 0)))
    before = table.find(tgid)
    with b.if_(before.ne(0)):
        target.set(target.get() | (b.load("i64", before, STATE, volatile=True) & TARGET))
    who = table.subject(tgid, task, target.get())
    e.admit(who, state)
    with b.if_(state.eq(STATE_RUNNING)):
        e.fire("begin", who)
    b.ret(0)


def _emit_fork(e: _Emission) -> None:
    """sched_process_fork(parent, child): the parent is current, the child cannot run yet."""
    b, table = e.b, e.table
    state = e.state()
    child = e.argument()
    tgid, tid = table.field(child, "tgid", 4), table.field(child, "pid", 4)
    with b.if_(tgid.ne(tid)):
        _emit_new_thread(e, state, child, tgid, tid)
        b.ret(0)
    with b.if_(table.is_users(child) ^ 1):
        b.ret(0)
    with b.if_(table.field(child, "mm").eq(0)):
        b.ret(0)
    parent, _, _ = e.current()
    target = b.var("i64", 0)
    element = table.find(parent)
    with b.if_(element.ne(0)):
        target.set(b.load("i64", element, STATE, volatile=True) & TARGET)
    who = table.subject(tgid, child, target.get())
    e.admit(who, state)
    with b.if_(state.eq(STATE_RUNNING)):
        e.fire("begin", who, child)
    b.ret(0)


def _emit_new_thread(e: _Emission, state: Value, child: Value, tgid: Value, tid: Value) -> None:
    b, table = e.b, e.table
    if not e.groups["thread.begin"]:
        return
    element = table.find(tgid)
    with b.if_(element.eq(0)):
        b.ret(0)
    with b.if_(table.is_users(child) ^ 1):
        b.ret(0)
    with b.if_else(state.eq(STATE_RUNNING)) as (running, starting):
        with running:
            table.take_thread(tid)  # left by one of the same number
            e.fire("thread.begin", table.known(tgid, element), child)
        with starting:
            table.await_thread(tid)


def _emit_exit(e: _Emission) -> None:
    """sched_process_exit: the current task ends; its memory may be gone already."""
    b, table = e.b, e.table
    state = e.state()
    tgid, tid, task = e.current()
    element = table.find(tgid)
    with b.if_(element.eq(0)):
        b.ret(0)
    with b.if_(table.is_users(task) ^ 1):
        b.ret(0)
    who = table.known(tgid, element)
    with b.if_(state.eq(STATE_RUNNING)):
        e.fire_pending(element, who)
        e.fire_pending_thread(who, tid)
        if e.groups["thread.end"]:
            with b.if_(tid.ne(tgid)):
                e.fire("thread.end", who)
    live = table.read(
        table.field(task, "signal") + e.u.facts.offset("signal_struct", "live"), 4
    )  # fmt: skip
    with b.if_(live.eq(0)):
        # two threads that end at the same time may both see that none is left
        before = b.atomic_rmw("or", b.at(element, STATE), ENDED)
        with b.if_((before & ENDED).eq(0) & state.eq(STATE_RUNNING)):
            e.fire("end", who)
    b.ret(0)


def _emit_free(e: _Emission) -> None:
    """sched_process_free: nobody, not even a thread that was slow to end, asks any more."""
    b, table = e.b, e.table
    e.state()
    task = table.read(b.args[0].to_int())
    tgid, tid = table.field(task, "tgid", 4), table.field(task, "pid", 4)
    with b.if_(tgid.ne(tid)):
        b.ret(0)
    element = table.find(tgid)
    with b.if_(element.eq(0)):
        b.ret(0)
    # without the flag it belongs to a new process of the same number
    with b.if_((b.load("i64", element, STATE, volatile=True) & ENDED).ne(0)):
        table.drop(tgid)
    b.ret(0)


def _emit_switch(e: _Emission) -> None:
    """sched_switch: the current task is the one that leaves the CPU."""
    b, table = e.b, e.table
    with b.if_(e.state().ne(STATE_RUNNING)):
        b.ret(0)
    tgid, tid, _ = e.current()
    element = table.find(tgid)
    with b.if_(element.eq(0)):
        b.ret(0)
    who = table.known(tgid, element)
    e.fire_pending(element, who)
    e.fire_pending_thread(who, tid)
    b.ret(0)


def _emit_iterator(e: _Emission) -> None:
    """Once for each task there is, when the session begins."""
    b, table = e.b, e.table
    task = e.argument()
    with b.if_(task.eq(0)):
        b.ret(0)
    with b.if_(table.is_users(task) ^ 1):
        b.ret(0)
    ending = (table.field(task, "flags", 4) & _EXITING).ne(0)
    with b.if_(ending | table.field(task, "mm").eq(0)):
        b.ret(0)
    tgid, tid = table.field(task, "tgid", 4), table.field(task, "pid", 4)
    target = b.const("i64", 0)
    if e.watched.target:
        target = b.select(descends(e.u, b, task).ne(0), TARGET, target)
    who = table.subject(tgid, task, target)
    with b.if_(table.wants(who) ^ 1):
        b.ret(0)
    # the command of -c has not begun: it is held
    held = b.load("i64", control_word(b, e.u, CONTROL_HELD)).ne(0) & table.is_target(tgid)
    table.put(who, b.select(held, HELD, b.const("i64", PENDING)), helpers.NOEXIST)
    if e.groups["thread.begin"]:
        with b.if_(tid.ne(tgid)):
            table.await_thread(tid)
    b.ret(0)


def _always(_wanted: Watched, _groups: _Groups) -> bool:
    return True


def _for_execs(wanted: Watched, groups: _Groups) -> bool:
    # the target's for the end of HELD
    return bool(wanted.programs or wanted.target or groups["begin"] or groups["end"])


def _for_begins(_wanted: Watched, groups: _Groups) -> bool:
    return bool(groups["begin"] or groups["thread.begin"])


_PROGRAMS: Final[
    tuple[tuple[str, str, Callable[[_Emission], None], Callable[[Watched, _Groups], bool]], ...]
] = (
    ("process_exec", "sched_process_exec", _emit_exec, _for_execs),
    ("process_fork", "sched_process_fork", _emit_fork, _always),
    ("process_exit", "sched_process_exit", _emit_exit, _always),
    ("process_free", "sched_process_free", _emit_free, _always),
    ("process_switch", "sched_switch", _emit_switch, _for_begins),
    ("process_iterator", TASK_ITERATOR, _emit_iterator, _always),
)
