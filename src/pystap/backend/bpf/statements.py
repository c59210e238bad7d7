"""Plain statements: assignment to locals, branches, ways to leave."""

from __future__ import annotations

from pystap.backend.bpf import emit, layout, strings
from pystap.backend.bpf.errors import raise_error
from pystap.backend.bpf.expressions import condition, discard
from pystap.backend.bpf.layout import round_up
from pystap.backend.bpf.strings import Room
from pystap.ir import errors, ops
from pystap.ir.types import LocalVar, Ty
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope


def local_room(s: Scope, var: LocalVar) -> Room:
    """Memory of a string local."""
    limit = min(var.bound or s.u.limits.maxstringlen, s.u.limits.maxstringlen)
    return Room(s.local(var), round_up(limit), limit)


def clear_local(s: Scope, var: LocalVar) -> None:
    """Zero or empty."""
    s.b.store(0, s.local(var))


@emit.emits_statement(ops.SetLocal)
def _set_local(s: Scope, e: ops.SetLocal) -> None:
    if e.var.ty is Ty.STR:
        strings.assign(s, e.value, local_room(s, e.var))
    else:
        value = emit.long(s, e.value)
        s.b.store(value, s.local(e.var))


@emit.emits_statement(ops.SetContext)
def _set_context(s: Scope, e: ops.SetContext) -> None:
    """What a call remembers; other values of events cannot be changed by BPF."""
    from pystap.backend.bpf.uprobe_programs import remember

    assert e.kind == "saved"
    remember(s.b, emit.long(s, e.value))


@emit.emits_statement(ops.If)
def _if(s: Scope, e: ops.If) -> None:
    cond = condition(s, e.cond)
    if not e.orelse:
        with s.b.if_(cond):
            emit.statements(s, e.then)
        return
    with s.b.if_else(cond) as (then, orelse):
        with then:
            emit.statements(s, e.then)
        with orelse:
            emit.statements(s, e.orelse)


@emit.emits_statement(ops.Eval)
def _eval(s: Scope, e: ops.Eval) -> None:
    discard(s, e.value)


@emit.emits_statement(ops.Break)
def _break(s: Scope, _e: ops.Break) -> None:
    s.leave("break")


@emit.emits_statement(ops.Continue)
def _continue(s: Scope, _e: ops.Continue) -> None:
    s.leave("continue")


@emit.emits_statement(ops.Next)
def _next(s: Scope, _e: ops.Next) -> None:
    s.leave("next")


@emit.emits_statement(ops.Return)
def _return(s: Scope, e: ops.Return) -> None:
    if e.value is not None and s.body.result >= 0:
        if ops.type_of(e.value) is Ty.STR:
            limit = s.body.result_bound
            room = Room(s.slot(s.body.result), round_up(limit), limit)
            emit.string_into(s, e.value, room)
        else:
            value = emit.long(s, e.value)
            s.b.store(value, s.slot(s.body.result))
    s.leave("return")


@emit.emits_statement(ops.Action)
def _action(s: Scope, e: ops.Action) -> None:
    if not s.body.counts_actions:
        return
    total = s.header(layout.ACTIONS) + e.count
    s.set_header(layout.ACTIONS, total)
    with s.b.if_(total.ugt(s.u.limits.maxaction)):
        raise_error(s, errors.MAXACTION_EXCEEDED, e.pos)


@emit.emits_statement(ops.Try)
def _try(s: Scope, e: ops.Try) -> None:
    from pystap.backend.bpf.catching import emit_try

    emit_try(s, e)
