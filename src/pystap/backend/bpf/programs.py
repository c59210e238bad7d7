"""Programs: how a handler is entered and left, for each way of attaching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystap.backend.bpf import emit, helpers, layout, output
from pystap.backend.bpf.artifact import CONTROL_STATE, LEVELS, STATE_RUNNING
from pystap.backend.bpf.errors import report
from pystap.backend.bpf.scope import Body, Scope
from pystap.backend.bpf.statements import clear_local

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value
    from pystap.ir.module import Handler


def find_context(unit: Unit, b: FunctionBuilder, index: Value) -> Value:
    """Emit the look-up of a context by its index; the function ends when there is none."""
    key = b.alloca("i32")
    b.store(index.trunc("i32"), key)
    context = b.helper(helpers.MAP_LOOKUP, "ptr", b.map_fd(unit.context_map()), key)
    with b.if_(context.eq(0)):
        b.ret(0)
    return context


def runtime_scope(unit: Unit, b: FunctionBuilder, index: Value) -> Scope:
    """The scope of a run-time function that works in the context ``index``.

    Its temporaries are on a frame of its own.
    """
    frame = unit.frames.get(b.name) or unit.frame(b.name)
    return Scope(unit, Body(frame, False), b, find_context(unit, b, index))


class Entry:
    """What a program does before and after a handler's body."""

    __slots__ = ("b", "context", "level", "unit")

    def __init__(self, unit: Unit, b: FunctionBuilder, level: int) -> None:
        self.unit = unit
        self.b = b
        self.level = level

    def check_running(self) -> None:
        """Do nothing unless the session runs."""
        b = self.b
        from pystap.backend.bpf.unit import control_word

        state = b.load("i64", control_word(b, self.unit, CONTROL_STATE), volatile=True)
        with b.if_(state.ne(STATE_RUNNING)):
            b.ret(0)

    def take_context(self) -> Value:
        """Find the context of this cpu and level and mark it busy, or count a skipped hit."""
        b = self.b
        cpu = b.helper(helpers.GET_SMP_PROCESSOR_ID, "i64") & 0xFFFF
        index = cpu * LEVELS + self.level
        context = find_context(self.unit, b, index)
        busy = b.atomic_rmw("xchg", context, 1)
        with b.if_(busy.ne(0)):
            skipped = b.at(context, layout.SKIP_REENTRANT)
            b.atomic_rmw("add", skipped, 1, order="monotonic")
            b.ret(0)
        b.store(index, context, layout.INDEX)
        self.context = context
        return context


def emit_handler(
    unit: Unit, b: FunctionBuilder, handler: Handler, entry: Entry, probe: Operand
) -> None:
    """Emit a handler between the taking and the giving back of its context."""
    context = entry.take_context()
    b.store(probe, context, layout.PROBE)
    counts = unit.analysis.counts_actions(handler)
    if counts:
        b.store(0, context, layout.ACTIONS)
    body = Body(unit.frame(b.name), counts)
    s = Scope(unit, body, b, context, entry.level)
    for var in handler.locals:
        clear_local(s, var)
    failed, back, gone = s.new_exit("error"), s.new_exit("return"), s.new_exit("next")
    emit.statements(s, handler.body)
    b.jump(back.label)
    if failed.used:
        b.place(failed.label)
        b.call(report(unit), s.header(layout.INDEX))
        b.jump(back.label)
    b.place(gone.label)
    b.jump(back.label)
    b.place(back.label)
    if failed.used or unit.analysis.facts(handler).prints:
        output.flush(s)
    b.store(0, context, volatile=True)
    b.ret(0)


def report_without_context(s: Scope, message: int, pos: int, values: tuple[Operand, ...]) -> None:
    """Report an error of a handler that runs without context."""
    raise NotImplementedError
