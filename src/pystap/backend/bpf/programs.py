"""Programs: how a handler is entered and left."""

from __future__ import annotations

from pystap.backend.bpf import emit, helpers, layout, output
from pystap.backend.bpf.artifact import CONTROL_STATE, LEVEL_SESSION, LEVELS, STATE_RUNNING
from pystap.backend.bpf.context_values import Event, capture
from pystap.backend.bpf.errors import report
from pystap.backend.bpf.expressions import condition
from pystap.backend.bpf.locks import held
from pystap.backend.bpf.scope import Body, Exit, NeedsContext, Scope, find_context
from pystap.backend.bpf.statements import clear_local
from pystap.backend.bpf.timing import Stopwatch
from pystap.backend.bpf.unit import control_word
from pystap.backend.llvm.object import MAGIC_CALL
from pystap.probes.attach import LsmHook, Tracepoint
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.context_values import ProgramKind
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value
    from pystap.backend.llvm.values import Var
    from pystap.ir.module import Handler, Probe

_LIGHT_SIZE: Final = 500  # operations; more are emitted in ways that need the context

# A call that is replaced by the index of the probe when one program's code serves many.
PROBE_INDEX_CALL: Final = MAGIC_CALL + 1


def check_running(unit: Unit, b: FunctionBuilder) -> None:
    """Emit the end of the program unless the session runs."""
    state = b.load("i64", control_word(b, unit, CONTROL_STATE), volatile=True)
    with b.if_(state.ne(STATE_RUNNING)):
        b.ret(0)


def take_context(unit: Unit, b: FunctionBuilder, level: Operand, leave: str) -> Value:
    """Find the context of this cpu and level and mark it busy.

    When it is busy already, count a skipped hit and branch to ``leave``.
    """
    cpu = b.helper(helpers.GET_SMP_PROCESSOR_ID, "i64") & 0xFFFF
    index = cpu * LEVELS + level
    key = b.alloca("i32")
    b.store(index.trunc("i32"), key)
    context = b.helper(helpers.MAP_LOOKUP, "ptr", b.map_fd(unit.context_map()), key)
    _branch_if(b, context.eq(0), leave)
    free = b.new_label("f")
    busy = b.new_label("b")
    b.branch_if(b.atomic_rmw("xchg", context, 1).eq(0), free, busy)
    b.place(busy)
    b.atomic_rmw("add", b.at(context, layout.SKIP_REENTRANT), 1, order="monotonic")
    b.jump(leave)
    b.place(free)
    b.store(index, context, layout.INDEX)
    return context


def _branch_if(b: FunctionBuilder, cond: Value, label: str) -> None:
    stay = b.new_label("s")
    b.branch_if(cond, label, stay)
    b.place(stay)


def emit_handler(
    unit: Unit,
    b: FunctionBuilder,
    kind: ProgramKind,
    event: Value,
    probe: Probe,
    index: Value,
    level: int,
) -> Operand:
    """Emit everything a hit of a probe does once it is known to be one.

    ``index`` is the probe's; control goes on behind.  What comes back is the program's result: 0,
    or on a security hook what the handler says.
    """
    if level != LEVEL_SESSION and not unit.limits.timing:
        name = light_function(unit, kind, probe, level)
        if name:
            b.call(name, event, index)
            return 0
    result = b.var("i64", 0) if isinstance(probe.attach, LsmHook) else None
    done = b.new_label("d")
    known = _decide_early(unit, b, probe, index, level, done)
    handler = unit.module.handlers[probe.handler]
    s = _begin(unit, b, handler, index, level, done, result is not None)
    watch = Stopwatch(s, probe, loops=s.body.counts_actions)
    watch.start(s)
    capture(s, Event(kind, b, event, _opaque(unit, probe)), unit.analysis.facts(handler).captured)
    if unit.module.regexes:
        from pystap.backend.bpf.matching import forget

        forget(s)
    ran = b.var("i64", 0) if unit.limits.timing else None
    failed, back, gone = s.new_exit("error"), s.new_exit("return"), s.new_exit("next")
    if probe.condition >= 0 and not known:
        _leave_unless_armed(s, probe.condition)
    for var in handler.locals:
        clear_local(s, var)
    if ran is not None:
        ran.set(1)
    if unit.limits.timing != "hits":
        emit.statements(s, handler.body)
    _join(s, failed, gone, back, ran)
    if failed.used or unit.analysis.facts(handler).prints:
        output.flush(s)
    watch.stop(s, ran.get() if ran is not None else None)
    if result is not None:
        result.set(s.header(layout.RESULT))
    assert s.context is not None  # it was taken above
    s.release_store(s.context)
    b.jump(done)
    b.place(done)
    return 0 if result is None else _error_number(b, result.get())


def _error_number(b: FunctionBuilder, value: Value) -> Value:
    """0, or an error number below 0; so that the verifier sees it, too."""
    value = b.barrier(b.select(value.sgt(0), 0, value))
    return b.select(value.slt(-layout.MAX_ERRNO), 0, value)


def _begin(
    unit: Unit,
    b: FunctionBuilder,
    handler: Handler,
    index: Value,
    level: int,
    leave: str,
    hook: bool,
) -> Scope:
    """Take a context for a hit of the probe ``index``; without one go to ``leave``.

    On a ``hook`` there is a result, 0 at first.
    """
    context = take_context(unit, b, level, leave)
    b.store(index, context, layout.PROBE)
    counts = unit.analysis.counts_actions(handler)
    if counts:
        b.store(0, context, layout.ACTIONS)
    if unit.tracks_nesting:
        b.store(0, context, layout.NESTING)
    if hook:
        b.store(0, context, layout.RESULT)
    return Scope(unit, Body(unit.frame(unit.fresh(b.name)), counts), b, context, level)


def _join(s: Scope, failed: Exit, gone: Exit, back: Exit, ran: Var | None) -> None:
    """Bring together the ways out of a handler's statements; errors are reported.

    ``ran`` becomes 0 when an error says that the handler was skipped.
    """
    b = s.b
    b.jump(back.label)
    if failed.used:
        b.place(failed.label)
        skipped = b.call(report(s.u), s.header(layout.INDEX))
        if ran is not None:
            ran.set(skipped ^ 1)
        b.jump(back.label)
    b.place(gone.label)
    b.jump(back.label)
    b.place(back.label)


# ---- conditions


def _leave_unless_armed(s: Scope, index: int) -> None:
    """Evaluate a condition, under the locks it needs; "return" when it does not hold."""
    module = s.u.module
    armed = s.b.var("i64", 0)
    with held(s, module.condition_locks[index] if module.condition_locks else []):
        armed.set(condition(s, module.conditions[index]).zext("i64"))
    s.leave_if(armed.get().eq(0), "return")


def _decide_early(
    unit: Unit, b: FunctionBuilder, probe: Probe, number: Value, level: int, leave: str
) -> bool:
    """Jump to ``leave`` when the probe's condition does not hold, if that can be told without
    a context: so a probe that is not armed costs next to nothing."""
    if probe.condition < 0:
        return False
    key = (probe.condition, level)
    if key not in unit.armed:
        unit.armed[key] = _try_armed(unit, probe.condition, level)
    name = unit.armed[key]
    if name:
        _branch_if(b, b.call(name, number).eq(0), leave)
    return bool(name)


def _try_armed(unit: Unit, index: int, level: int) -> str:
    """The function ``(probe)`` that tells whether a condition holds; "" when that needs a
    context."""
    name = unit.fresh("armed")
    try:
        params = [("i64", "probe")]
        with unit.m.function(name, "i64", params, linkage="internal", attrs=["alwaysinline"]) as b:
            s = Scope(unit, Body(layout.Frame(name), False), b, None, level)
            s.probe = b.args[0]
            armed = b.var("i64", 0)
            s.exits["error"] = back = s.new_exit("return")
            _leave_unless_armed(s, index)
            armed.set(1)
            b.jump(back.label)
            b.place(back.label)
            b.ret(armed.get())
    except NeedsContext:
        return ""
    return name


def _opaque(unit: Unit, probe: Probe) -> tuple[int, ...]:
    """Arguments of a tracepoint that no program may load."""
    where = probe.attach
    if isinstance(where, LsmHook):
        return unit.facts.hook(where.name).opaque
    return unit.facts.tracepoint(where.name).opaque if isinstance(where, Tracepoint) else ()


# ---- handlers without context


def light_function(unit: Unit, kind: ProgramKind, probe: Probe, level: int) -> str:
    """The function ``(event, probe)`` of a handler that needs no context; "" when it does."""
    key = (kind, probe.handler, probe.condition, level)
    if key not in unit.light:
        unit.light[key] = _try_light(unit, kind, probe, level)
    return unit.light[key]


def _try_light(unit: Unit, kind: ProgramKind, probe: Probe, level: int) -> str:
    handler = unit.module.handlers[probe.handler]
    large = unit.analysis.facts(handler).size > _LIGHT_SIZE
    if large or handler.locals or unit.analysis.counts_actions(handler):
        return ""
    name = unit.fresh("light")
    params = [("ptr", "event"), ("i64", "probe")]
    try:
        with unit.m.function(name, "i64", params, linkage="internal", attrs=["alwaysinline"]) as b:
            s = Scope(unit, Body(layout.Frame(name), False), b, None, level)
            s.probe = b.args[1]
            wanted = set(unit.analysis.facts(handler).captured)
            capture(s, Event(kind, b, b.args[0], _opaque(unit, probe)), wanted)
            back = s.new_exit("return")
            s.exits["error"] = s.exits["next"] = back
            if probe.condition >= 0:
                _leave_unless_armed(s, probe.condition)
            emit.statements(s, handler.body)
            b.jump(back.label)
            b.place(back.label)
            b.ret(0)
    except NeedsContext:
        return ""
    return name


def report_without_context(s: Scope, message: int, pos: int, values: tuple[Operand, ...]) -> None:
    """Report an error of a handler that runs without context."""
    u, b = s.u, s.b
    assert s.probe is not None
    name = u.function(
        "report_light",
        ["where", "message", "position", "first", "second"],
        lambda fb: _emit_report_light(u, fb),
    )
    padded: list[Operand] = [*values, 0, 0][:2]
    b.call(name, s.probe | s.level << 32, message, pos, *padded)


def _emit_report_light(u: Unit, b: FunctionBuilder) -> None:
    where, message, position, first, second = b.args
    level = b.barrier((where >> 32) & 3)
    done = b.new_label("d")
    context = take_context(u, b, level, done)
    b.store(where & 0xFFFF_FFFF, context, layout.PROBE)
    s = Scope(u, Body(u.frame(b.name), False), b, context)
    s.set_header(layout.ERROR, message + 1)
    s.set_header(layout.ERROR_POS, position & 0xFFFF_FFFF)
    s.set_header(layout.ERROR_VALUE, first)
    s.set_header(layout.ERROR_VALUE + 8, second)
    s.set_header(layout.CALLS, 0)
    b.call(report(u), s.header(layout.INDEX))
    output.flush(s)
    s.release_store(context)
    b.jump(done)
    b.place(done)
    b.ret(0)


def skip_without_context(s: Scope) -> None:
    """Count a handler that runs without context as skipped."""
    u = s.u
    name = u.function("skip_light", ["level"], lambda b: _emit_skip_light(u, b))
    s.b.call(name, s.level)


def _emit_skip_light(u: Unit, b: FunctionBuilder) -> None:
    cpu = b.helper(helpers.GET_SMP_PROCESSOR_ID, "i64") & 0xFFFF
    context = find_context(u, b, cpu * LEVELS + b.args[0])
    b.atomic_rmw("add", b.at(context, layout.SKIP_LOCK), 1, order="monotonic")
    b.ret(0)
