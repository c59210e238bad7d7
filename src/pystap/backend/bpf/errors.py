"""Run-time errors: raising, catching, and what is reported at the end of a handler."""

from __future__ import annotations

from pystap.backend.bpf import layout
from pystap.backend.bpf.artifact import CONTROL_ERRORS, CONTROL_STATE, STATE_ERROR
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.output.formats import ITEM_ERROR
from pystap.output.records import ERROR_TEXT, NO_ID
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value


def raise_error(s: Scope, message: str, pos: int, *values: Operand) -> None:
    """Raise the error ``message``, whose directives take ``values`` (longs, two at most)."""
    number = s.u.message(message)
    if s.context is None:
        from pystap.backend.bpf.programs import report_without_context

        report_without_context(s, number, pos, values)
    else:
        s.set_header(layout.ERROR, number + 1)
        _set_position(s, pos)
        for i, value in enumerate(values):
            s.b.store(value, s.context, layout.ERROR_VALUE + 8 * i)
    s.leave("error")


def raise_uncatchable(s: Scope, kind: int) -> None:
    """End the handler: ``layout.ERROR_ABORT`` or ``ERROR_SKIP``."""
    s.set_header(layout.ERROR, kind)
    s.leave("error")


def skip_handler(s: Scope) -> None:
    """End the handler and count it as skipped: the kernel refused to change a map."""
    if s.context is None:
        from pystap.backend.bpf.programs import skip_without_context

        skip_without_context(s)
        s.leave("error")
    else:
        raise_uncatchable(s, layout.ERROR_SKIP)


def _set_position(s: Scope, pos: int) -> None:
    s.set_header(layout.ERROR_POS, pos if pos >= 0 else NO_ID)
    s.set_header(layout.CALLS, 0)


def error_text(s: Scope) -> Value:
    """The area that holds the text of an error made by the script."""
    return s.area("error", s.u.max_string)


def raise_text(s: Scope, pos: int) -> None:
    """Raise an error whose text was written to :func:`error_text`."""
    s.set_header(layout.ERROR, layout.ERROR_IS_TEXT)
    _set_position(s, pos)
    s.leave("error")


def pending(s: Scope) -> Value:
    """``i1``: an error is on its way."""
    return s.header(layout.ERROR).ne(0)


def leave_after_call(s: Scope, pos: int) -> None:
    """After a call: if it failed, note the call site and go on unwinding."""
    b = s.b
    with b.if_(pending(s)):
        if pos >= 0:
            params = [("ptr", "context"), ("i64", "position")]
            b.call(s.u.subroutine("note_call", params, _emit_note_call), s.need_context(), pos)
        s.leave("error")


def _emit_note_call(b: FunctionBuilder) -> None:
    context, position = b.args
    count = b.load("i64", context, layout.CALLS)
    with b.if_(count.ult(layout.CALL_SLOTS)):
        index = b.barrier(count) & (layout.CALL_SLOTS - 1)
        b.store(position.trunc("i32"), b.at(context, layout.CALL_TABLE, index, scale=4))
        b.store(count + 1, context, layout.CALLS)
    b.ret(0)


def report(unit: Unit) -> str:
    """The run-time function that reports the uncaught error of a context; takes its index.

    It counts the error, appends an error item to the output, and turns the session off when there
    were too many errors.  Gives 1 when the handler was skipped instead.
    """
    return unit.function("error_report", ["index"], lambda b: _emit_report(unit, b))


def _emit_report(unit: Unit, b: FunctionBuilder) -> None:
    s = runtime_scope(unit, b, b.args[0])
    context = s.need_context()
    error = s.header(layout.ERROR)
    s.set_header(layout.ERROR, 0)
    with b.if_(error.slt(0)):
        with b.if_(error.eq(layout.ERROR_SKIP)):
            skipped = b.at(context, layout.SKIP_LOCK)
            b.atomic_rmw("add", skipped, 1, order="monotonic")
            b.ret(1)
        b.ret(0)
    s.set_header(layout.ERRORS, s.header(layout.ERRORS) + 1)
    if unit.limits.suppress_handler_errors:
        b.ret(0)
        return
    before = b.atomic_rmw("add", s.control(CONTROL_ERRORS), 1)
    emit_item(s, error)
    s.set_header(layout.WAKE, 1)
    with b.if_(before.uge(unit.limits.maxerrors)):
        b.store(STATE_ERROR, s.control(CONTROL_STATE), volatile=True)
    b.ret(0)


def emit_item(s: Scope, error: Value) -> None:
    """Append the item of an error, described by the context's header, to the output."""
    from pystap.backend.bpf import output

    b = s.b
    table = layout.CALL_SLOTS * 4
    fixed = 8 + 40 + table
    item = output.begin_item(s, fixed + 8 + s.u.max_string)
    is_text = error.eq(layout.ERROR_IS_TEXT)
    b.store(b.select(is_text, b.const("i64", ERROR_TEXT), error - 1), item, 8)
    for i in range(2):
        b.store(s.header(layout.ERROR_VALUE + 8 * i), item, 16 + 8 * i)
    b.store(s.header(layout.PROBE).trunc("i32"), item, 32)
    b.store(s.header(layout.ERROR_POS).trunc("i32"), item, 36)
    b.store(s.header(layout.CALLS).trunc("i32"), item, 40)
    b.store(layout.CALL_SLOTS, item, 44, ty="i32")
    for at in range(0, table, 8):
        b.store(s.header(layout.CALL_TABLE + at), item, 48 + at)
    end = b.var("i64", fixed + 8)
    b.store(0, item, fixed)
    with b.if_(is_text):
        end.set(
            output.append_string(s, item, b.const("i64", fixed), error_text(s), s.u.max_string)
        )
    output.end_item(s, ITEM_ERROR, item, end.get())
