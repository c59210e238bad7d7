"""Recursive functions: a machine runs the states of a group of them, one a round of a bpf_loop.

Each active call has a frame on the machine's stack, an area of the context.  A frame begins with
the state that goes on when the function it belongs to has made a call.
"""

from __future__ import annotations

from pystap.backend.bpf import emit, helpers, layout
from pystap.backend.bpf.calls import (
    Compiled,
    call_target,
    enter_call,
    evaluate_arguments,
    leave_call,
    pass_arguments,
    place_interface,
    take_string,
)
from pystap.backend.bpf.catching import take_message
from pystap.backend.bpf.errors import leave_after_call, raise_error
from pystap.backend.bpf.expressions import condition
from pystap.backend.bpf.flatten import (
    BeginBuckets,
    BeginForeach,
    Branch,
    Enter,
    Flattener,
    Goto,
    Leave,
    State,
    VisitBucket,
    VisitForeach,
)
from pystap.backend.bpf.foreach import (
    Slots,
    allocate_slots,
    bucket_rounds,
    collect,
    load_element,
    prepare,
    release,
    store_bucket,
)
from pystap.backend.bpf.layout import TOKEN, Frame
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.scope import Body, Scope, begin_block, find_context
from pystap.backend.bpf.statements import clear_local, local_room
from pystap.ir import errors, ops
from pystap.ir.types import Ty
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value
    from pystap.ir.module import Function

# Words before the stack: number of frames below the active one, and the state to run next.
_DEPTH, _STATE, _STACK = 0, 8, 16
_RESUME: Final = 0  # offset in a frame


class Machine:
    """Runs the functions of one group."""

    __slots__ = (
        "area", "bodies", "flat", "frame_token", "frames", "group", "name", "slots", "u",
    )  # fmt: skip

    def __init__(self, u: Unit, group: list[Function]) -> None:
        self.u = u
        self.group = group
        self.name = u.fresh("machine")
        u.frame(self.name)  # empty; functions called from states come behind the machine's callers
        self.area = f"stack.{self.name}"
        self.frame_token = f"{TOKEN}size.{self.name}{TOKEN}"
        self.frames: list[Frame] = []
        self.bodies: dict[int, Body] = {}
        self.slots: dict[int, Slots] = {}  # of foreach loops, by identity of their beginning
        self.flat = Flattener(group, nests=u.analysis.deep)

    @property
    def depth_limit(self) -> int:
        """Most frames on the stack."""
        return self.u.limits.maxnesting + 1

    def place(self, numbers: dict[str, int]) -> None:
        """The size of a frame is known: make room for the stack."""
        size = max(frame.size for frame in self.frames)
        numbers[f"size.{self.name}"] = size
        self.u.area(self.area, _STACK + self.depth_limit * size)

    def word(self, s: Scope, offset: int) -> Value:
        """Address of one of the words before the stack."""
        return s.b.at(s.area(self.area, 0), offset)

    def frame_at(self, b: FunctionBuilder, context: Value, depth: Value) -> Value:
        """Address of a frame; the verifier knows that it is one."""
        from pystap.backend.bpf.unit import area

        depth = b.barrier(depth)
        last = self.depth_limit - 1
        depth = b.barrier(b.select(depth.ult(last), depth, last))
        stack = b.at(area(b, context, self.u.area(self.area, 0)), _STACK)
        offset = b.emit("i64", f"mul i64 {depth.text}, {self.frame_token}")
        return b.at(stack, offset)


class _MachineBody(Body):
    """A function whose frame is the active one of a machine's stack."""

    __slots__ = ("machine",)

    def __init__(self, machine: Machine, counts_actions: bool) -> None:
        super().__init__(Frame(machine.name), counts_actions)
        self.machine = machine

    def locate(self, b: FunctionBuilder, context: Value) -> Value:
        from pystap.backend.bpf.unit import area

        machine = self.machine
        base = area(b, context, machine.u.area(machine.area, 0))
        return machine.frame_at(b, context, b.load("i64", base, _DEPTH, volatile=True))


def compile_group(u: Unit, group: list[Function]) -> None:
    """Emit the machine of a group of mutually recursive functions."""
    machine = Machine(u, group)
    u.machines.append(machine)
    for f in group:
        body = _MachineBody(machine, u.counts_actions)
        body.frame.allocate(8)  # the state to resume at
        place_interface(u, f, body)
        machine.frames.append(body.frame)
        machine.bodies[id(f)] = body
        _place_loops(machine, f, body)
        state = machine.flat.entries[id(f)].number
        u.functions[id(f)] = Compiled(machine.name, body, inline=False, state=state)
    u.function(machine.name, ["index"], lambda b: _emit_machine(machine, b))


def _place_loops(machine: Machine, f: Function, body: _MachineBody) -> None:
    for state in machine.flat.states:
        for stmt in state.body if state.function is f else ():
            if isinstance(stmt, BeginForeach):
                slots = allocate_slots(machine.u, body.frame, stmt.loop.var)
                machine.slots[id(stmt)] = slots


def _slots_of(s: Scope, begin: BeginForeach) -> Slots:
    assert isinstance(s.body, _MachineBody)
    return s.body.machine.slots[id(begin)]


@emit.emits_statement(BeginForeach)
def _begin_foreach(s: Scope, begin: BeginForeach) -> None:
    slots = _slots_of(s, begin)
    limit = prepare(s, begin.loop, slots)
    s.b.store(collect(s, begin.loop, slots, limit), s.local(begin.rounds))
    s.b.store(0, s.local(begin.index))


@emit.emits_statement(VisitForeach)
def _visit_foreach(s: Scope, visit: VisitForeach) -> None:
    begin = visit.begin
    index = s.b.load("i64", s.local(begin.index))
    load_element(s, begin.loop, _slots_of(s, begin), index)


@emit.emits_statement(BeginBuckets)
def _begin_buckets(s: Scope, begin: BeginBuckets) -> None:
    s.b.store(bucket_rounds(s, begin.loop), s.local(begin.rounds))
    s.b.store(0, s.local(begin.index))


@emit.emits_statement(VisitBucket)
def _visit_bucket(s: Scope, visit: VisitBucket) -> None:
    begin = visit.begin
    store_bucket(s, begin.loop, s.b.load("i64", s.local(begin.index)))


def start(s: Scope, callee: Compiled) -> None:
    """Set the machine up for a call from outside of its group; the arguments come next."""
    assert isinstance(callee.body, _MachineBody)
    machine = callee.body.machine
    s.b.store(0, machine.word(s, _DEPTH))
    s.b.store(callee.state, machine.word(s, _STATE))


def _emit_machine(machine: Machine, b: FunctionBuilder) -> None:
    u = machine.u
    body = Body(u.frames[machine.name], machine.u.counts_actions)
    s = Scope(u, body, b, find_context(u, b, b.args[0]))
    failed = s.new_exit("error")
    rounds = run_loop(s, helpers.MAX_LOOPS, lambda inner, _: _emit_round(machine, inner), "states")
    with b.if_(rounds.uge(helpers.MAX_LOOPS)):
        raise_error(s, errors.MAXACTION_EXCEEDED, -1)
    b.jump(failed.label)
    b.place(failed.label)
    b.ret(0)


def _emit_round(machine: Machine, s: Scope) -> None:
    """Run the present state."""
    b = s.b
    stop, again = s.exits["break"], s.exits["continue"]
    labels = [b.new_label("state") for _ in machine.flat.states]
    number = b.load("i64", machine.word(s, _STATE), volatile=True)
    cases = " ".join(f"i64 {i}, label %{label}" for i, label in enumerate(labels))
    b.out.append(f"switch i64 {number.text}, label %{s.exit_to('break')} [{cases}]")
    first = True
    for state, label in zip(machine.flat.states, labels):
        if first:
            b.place(label)
        else:
            begin_block(b, label)
        first = False
        body = machine.bodies[id(state.function)]
        inner = Scope(machine.u, body, b, s.context, s.level)
        inner.exits = {"break": stop, "continue": again}
        _State(machine, inner, state).emit()
    b.out.append("unreachable")
    b.place(b.new_label("dead"), live=False)


class _State:
    """Emits one state."""

    __slots__ = ("b", "leave_round", "machine", "s", "state", "stop")

    def __init__(self, machine: Machine, s: Scope, state: State) -> None:
        self.machine = machine
        self.s = s
        self.b = s.b
        self.state = state
        self.stop = s.exits["break"]
        self.leave_round = s.exits["continue"]

    def emit(self) -> None:
        """The statements of the state, its ending, and the other ways to leave it."""
        s, state = self.s, self.state
        s.exits = {}
        failed, back, gone = s.new_exit("error"), s.new_exit("return"), s.new_exit("next")
        broken, repeated = s.new_exit("break"), s.new_exit("continue")
        self._begin()
        emit.statements(s, state.body)
        self._end()
        for exit_, target in (
            (failed, state.caught), (broken, state.on_break), (repeated, state.on_continue)
        ):  # fmt: skip
            if exit_.used:
                begin_block(self.b, exit_.label)
                if target is not None:
                    self._go_to(target)
                else:
                    self._pop()
        if gone.used:
            begin_block(self.b, gone.label)
            s.set_header(layout.UNWIND, layout.UNWIND_NEXT)
            self._pop()
        if back.used:
            begin_block(self.b, back.label)
            self._pop()

    def _begin(self) -> None:
        s, state = self.s, self.state
        body = s.body
        if state.is_entry:
            f = state.function
            params = {id(p) for p in f.params}
            for var in (*f.locals, *self.machine.flat.temporaries.get(id(f), ())):
                if id(var) not in params:
                    clear_local(s, var)
            if body.result >= 0:
                self.b.store(0, s.slot(body.result))
        if state.catching is not None:
            s.leave_if(s.header(layout.ERROR).slt(0), "error")
            if state.catching.var is not None:
                take_message(s, state.catching.var)
            s.set_header(layout.ERROR, 0)
        if state.arrive is not None:
            self._arrive()

    def _arrive(self) -> None:
        """Take the result of a call, or go on with the next overload."""
        s, b = self.s, self.b
        arrive = self.state.arrive
        assert arrive is not None
        leave_call(s)
        leave_after_call(s, arrive.call.pos)
        if s.u.analysis.facts(arrive.target).nexts:
            self._unless_gave_way(arrive.otherwise, arrive.call.pos)
        if arrive.result is None:
            return
        body = self.machine.bodies[id(arrive.target)]
        frame = self._neighbour()
        if arrive.result.ty is Ty.STR:
            take_string(s, body, frame, local_room(s, arrive.result))
        elif body.result >= 0:
            b.store(b.load("i64", frame, body.result), s.local(arrive.result))

    def _end(self) -> None:
        s, b = self.s, self.b
        if not b.live:
            return
        match self.state.ending:
            case Goto(target):
                self._go_to(target)
            case Branch(cond, yes, no):
                with b.if_else(condition(s, cond)) as (then, orelse):
                    with then:
                        self._go_to(yes)
                    with orelse:
                        self._go_to(no)
            case Enter() as enter:
                self._enter(enter)
            case Leave(value):
                if value is not None:
                    emit.statement(s, ops.Return(value))
                self._pop()

    # ---- what ends a round

    def _set_state(self, state: State) -> None:
        self.b.store(state.number, self.machine.word(self.s, _STATE))

    def _finish_round(self) -> None:
        self.leave_round.used = True
        self.b.terminate(f"br label %{self.leave_round.label}")

    def _go_to(self, state: State) -> None:
        self._give_back([held for held in self.state.holds if held not in state.holds])
        self._set_state(state)
        self._finish_round()

    def _give_back(self, loops: list[BeginForeach]) -> None:
        for begin in reversed(loops):
            release(self.s, begin.loop.var, _slots_of(self.s, begin))

    def _neighbour(self) -> Value:
        """The frame above the active one."""
        s = self.s
        depth = s.b.load("i64", self.machine.word(s, _DEPTH), volatile=True)
        return self.machine.frame_at(s.b, s.need_context(), depth + 1)

    def _enter(self, enter: Enter) -> None:
        s, b = self.s, self.b
        if id(enter.target) not in self.machine.bodies:
            self._call_outside(enter)
            return
        arguments = evaluate_arguments(s, enter.call.args)
        enter_call(s, enter.call.pos)
        depth_word = self.machine.word(s, _DEPTH)
        depth = b.load("i64", depth_word, volatile=True)
        body = self.machine.bodies[id(enter.target)]
        frame = self.machine.frame_at(b, s.need_context(), depth + 1)
        pass_arguments(s, enter.target, arguments, body, frame)
        b.store(enter.resume.number, s.slot(_RESUME))
        b.store(depth + 1, depth_word)
        self._set_state(self.machine.flat.entries[id(enter.target)])
        self._finish_round()

    def _call_outside(self, enter: Enter) -> None:
        """An overload that is not part of the group is called as usual."""
        s = self.s
        call = ops.Call([enter.target], enter.call.args, enter.call.pos)
        call_target(s, call, enter.result)
        if s.u.analysis.facts(enter.target).nexts:
            self._unless_gave_way(enter.otherwise, enter.call.pos)
        assert isinstance(enter.resume.ending, Goto)
        self._go_to(enter.resume.ending.state)

    def _unless_gave_way(self, otherwise: State | None, pos: int) -> None:
        """Go on here unless the function called last ended by ``next``."""
        s, b = self.s, self.b
        gave_way, stays = b.new_label("w"), b.new_label("s")
        b.branch_if(s.header(layout.UNWIND).eq(layout.UNWIND_NEXT), gave_way, stays)
        b.place(gave_way)
        s.set_header(layout.UNWIND, 0)
        if otherwise is not None:
            self._go_to(otherwise)
        else:
            raise_error(s, errors.FUNCTIONS_EXHAUSTED, pos)
        begin_block(b, stays)

    def _pop(self) -> None:
        """Return to the caller: the state below, or the end of the machine."""
        s, b = self.s, self.b
        self._give_back(list(self.state.holds))
        depth_word = self.machine.word(s, _DEPTH)
        depth = b.load("i64", depth_word, volatile=True)
        below, last = b.new_label("p"), b.new_label("l")
        b.branch_if(depth.eq(0), last, below)
        b.place(last)
        self.stop.used = True
        b.terminate(f"br label %{self.stop.label}")
        begin_block(b, below)
        b.store(depth - 1, depth_word)
        frame = self.machine.frame_at(b, s.need_context(), depth - 1)
        b.store(b.load("i64", frame, _RESUME), self.machine.word(s, _STATE))
        self._finish_round()
