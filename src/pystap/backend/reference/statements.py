"""Statements compiled to Python closures over a frame.

A closure gives how its statement ended: :data:`NORMAL` (0) or one of the ways to leave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pystap.backend.reference import access
from pystap.backend.reference.expressions import (
    compile_expr,
    compile_histogram,
    compile_key,
    compile_list,
    compile_pattern,
)
from pystap.backend.reference.faults import InterpreterError, RuntimeFault, Skipped
from pystap.backend.reference.longs import MASK, wrap
from pystap.backend.reference.loops import compile_foreach, compile_foreach_hist, compile_loop
from pystap.backend.reference.memory import MemoryFault
from pystap.backend.reference.outcome import BREAK, CONTINUE, NEXT, NORMAL, RETURN
from pystap.backend.reference.printing import apply_format
from pystap.backend.reference.state import Frame, emptied
from pystap.ir import errors, ops
from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystap.backend.reference.compiler import Scope
    from pystap.backend.reference.state import Evaluate


def compile_block(scope: Scope, body: Sequence[ops.Stmt]) -> Evaluate:
    """A closure that runs statements until one leaves."""
    steps = [compile_stmt(scope, stmt) for stmt in body]
    if len(steps) == 1:
        return steps[0]

    def run(frame: Frame) -> int:
        for step in steps:
            outcome: int = step(frame)
            if outcome:
                return outcome
        return NORMAL

    return run


def compile_stmt(scope: Scope, stmt: ops.Stmt) -> Evaluate:
    """A closure that runs one statement."""
    compile_one = _COMPILERS.get(type(stmt))
    if compile_one is None:
        raise InterpreterError(f"unknown statement {type(stmt).__name__}")
    return compile_one(scope, stmt)


# --- variables -----------------------------------------------------------------------------------


def _set_local(scope: Scope, stmt: ops.SetLocal) -> Evaluate:
    slot, value = scope.slot(stmt.var), compile_expr(scope, stmt.value)
    bound, name = stmt.var.bound, stmt.var.name

    def run(frame: Frame) -> int:
        new = value(frame)
        access.check_bound(new, bound, name)
        frame.variables[slot] = new
        return NORMAL

    return run


def _set_global(scope: Scope, stmt: ops.SetGlobal) -> Evaluate:
    var, value = stmt.var, compile_expr(scope, stmt.value)

    def run(frame: Frame) -> int:
        new = value(frame)
        access.check_write(frame.context, var)
        access.check_bound(new, var.bound, var.name)
        frame.context.state.globals[var.index] = new
        return NORMAL

    return run


def _add_global(scope: Scope, stmt: ops.AddGlobal) -> Evaluate:
    var, delta = stmt.var, compile_expr(scope, stmt.delta)

    def run(frame: Frame) -> int:
        change = delta(frame)
        access.check_update(frame.context, var)
        values = frame.context.state.globals
        values[var.index] = wrap(values[var.index] + change)
        return NORMAL

    return run


def _set_map(scope: Scope, stmt: ops.SetMap) -> Evaluate:
    key, value = compile_key(scope, stmt.keys), compile_expr(scope, stmt.value)

    def run(frame: Frame) -> int:
        element = key(frame)
        access.set_element(frame.context, stmt.var, element, value(frame), stmt.pos)
        return NORMAL

    return run


def _add_map(scope: Scope, stmt: ops.AddMap) -> Evaluate:
    var = stmt.var
    key, delta = compile_key(scope, stmt.keys), compile_expr(scope, stmt.delta)

    def run(frame: Frame) -> int:
        element, change = key(frame), delta(frame)
        total = access.add_to_element(frame.context, var, element, change, stmt.pos)
        frame.context.state.array(var).set(element, wrap(total))
        return NORMAL

    return run


def _stat_add(scope: Scope, stmt: ops.StatAdd) -> Evaluate:
    key, value = compile_key(scope, stmt.keys), compile_expr(scope, stmt.value)

    def run(frame: Frame) -> int:
        context = frame.context
        element, sample = key(frame), value(frame)
        aggregate = access.sample_target(context, stmt.var, element, stmt.pos)
        aggregate.add(context.event.cpu, sample)
        return NORMAL

    return run


def _delete_global(_scope: Scope, stmt: ops.DeleteGlobal) -> Evaluate:
    var = stmt.var

    def run(frame: Frame) -> int:
        access.check_write(frame.context, var)
        state = frame.context.state
        if var.kind == "array":
            state.array(var).clear()
        else:
            state.globals[var.index] = emptied(var)
        return NORMAL

    return run


def _delete_map(scope: Scope, stmt: ops.DeleteMap) -> Evaluate:
    pattern = compile_pattern(scope, stmt.keys)

    def run(frame: Frame) -> int:
        elements = pattern(frame)
        access.check_write(frame.context, stmt.var)
        frame.context.state.array(stmt.var).delete(elements)
        return NORMAL

    return run


def _store(scope: Scope, stmt: ops.Store) -> Evaluate:
    address, value = compile_expr(scope, stmt.addr), compile_expr(scope, stmt.value)
    kernel = stmt.space == "kernel"
    message = errors.KERNEL_WRITE_FAULT if kernel else errors.USER_WRITE_FAULT

    def run(frame: Frame) -> int:
        environment = frame.context.state.environment
        memory = environment.kernel if kernel else environment.user
        at, new = address(frame) & MASK, value(frame)
        data = (new & MASK).to_bytes(8, "little")[: stmt.size]
        try:
            memory.write(at, data)
        except MemoryFault:
            raise frame.context.fault(message % at, stmt.pos) from None
        return NORMAL

    return run


# --- control -------------------------------------------------------------------------------------


def _if(scope: Scope, stmt: ops.If) -> Evaluate:
    cond = compile_expr(scope, stmt.cond)
    then, orelse = scope.block(stmt.then), scope.block(stmt.orelse)
    return lambda frame: then(frame) if cond(frame) else orelse(frame)


def _leave(outcome: int) -> Callable[[Scope, ops.Stmt], Evaluate]:
    return lambda _scope, _stmt: lambda _frame: outcome


def _return(scope: Scope, stmt: ops.Return) -> Evaluate:
    if stmt.value is None:
        return lambda _frame: RETURN
    value = compile_expr(scope, stmt.value)

    def run(frame: Frame) -> int:
        frame.result = value(frame)
        return RETURN

    return run


def _try(scope: Scope, stmt: ops.Try) -> Evaluate:
    body, handler = scope.block(stmt.body), scope.block(stmt.handler)
    slot = None if stmt.var is None else scope.slot(stmt.var)

    def run(frame: Frame) -> Any:
        try:
            return body(frame)
        except RuntimeFault as fault:
            message = fault.message[: frame.context.state.module.limits.maxstringlen - 1]
        if slot is not None:
            frame.variables[slot] = message
        return handler(frame)

    return run


def _locked(scope: Scope, stmt: ops.Locked) -> Evaluate:
    body = scope.block(stmt.body)
    wanted = [(var.index, var.name, mode) for var, mode in stmt.locks]

    def run(frame: Frame) -> Any:
        held = frame.context.held
        fails = frame.context.state.environment.lock_fails
        taken = []
        try:
            for index, name, mode in wanted:
                if held and index <= max(held):
                    raise InterpreterError(f"lock of {name} is taken out of order")
                if fails is not None and fails(name):
                    raise Skipped
                held[index] = mode
                taken.append(index)
            return body(frame)
        finally:
            for index in taken:
                del held[index]

    return run


def _action(_scope: Scope, stmt: ops.Action) -> Evaluate:
    count, position = stmt.count, stmt.pos

    def run(frame: Frame) -> int:
        context = frame.context
        context.actions_left -= count
        if context.actions_left < 0:  # stays so: nothing that counts runs after it, caught or not
            raise context.fault(errors.MAXACTION_EXCEEDED, position)
        return NORMAL

    return run


# --- effects -------------------------------------------------------------------------------------


def _emit(scope: Scope, stmt: ops.Emit) -> Evaluate:
    args = compile_list(scope, stmt.args)
    fmt = stmt.format

    def run(frame: Frame) -> int:
        frame.context.state.print(apply_format(fmt, args(frame)))
        return NORMAL

    return run


def _emit_hist(scope: Scope, stmt: ops.EmitHist) -> Evaluate:
    text = compile_histogram(scope, stmt)

    def run(frame: Frame) -> int:
        frame.context.state.print(text(frame))
        return NORMAL

    return run


def _eval(scope: Scope, stmt: ops.Eval) -> Evaluate:
    value = compile_expr(scope, stmt.value)

    def run(frame: Frame) -> int:
        value(frame)
        return NORMAL

    return run


_COMPILERS: Final[dict[type, Callable[[Scope, Any], Evaluate]]] = {
    ops.SetLocal: _set_local,
    ops.SetGlobal: _set_global,
    ops.AddGlobal: _add_global,
    ops.SetMap: _set_map,
    ops.AddMap: _add_map,
    ops.StatAdd: _stat_add,
    ops.DeleteGlobal: _delete_global,
    ops.DeleteMap: _delete_map,
    ops.Store: _store,
    ops.If: _if,
    ops.Loop: compile_loop,
    ops.Foreach: compile_foreach,
    ops.ForeachHist: compile_foreach_hist,
    ops.Break: _leave(BREAK),
    ops.Continue: _leave(CONTINUE),
    ops.Return: _return,
    ops.Next: _leave(NEXT),
    ops.Try: _try,
    ops.Emit: _emit,
    ops.EmitHist: _emit_hist,
    ops.Eval: _eval,
    ops.Action: _action,
    ops.Locked: _locked,
}
