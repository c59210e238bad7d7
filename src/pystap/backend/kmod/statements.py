"""Statements as C."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pystap.backend.kmod import aggregates, keys, loops, printing
from pystap.backend.kmod.expressions import long_of, text_into, text_of, values_of
from pystap.backend.kmod.writer import Place, Writer, number
from pystap.ir import ops
from pystap.ir.types import Global, Ty
from pystap.ir.walk import walk
from pystap.typing import Any, Final

_REGISTERS: Final = {
    "reg": "stap_event_set_register(c, {0}, {1}, {2})",
    "funcarg": "stap_event_set_argument(c, {0}, {1}, {2})",
    "sysarg": "stap_event_set_syscall_argument(c, {0}, {1}, {2})",
    "retval": "stap_event_set_result(c, {1}, {2})",
    "sysret": "stap_event_set_result(c, {1}, {2})",
}
_LOCKS: Final = {
    "read": "STAP_LOCK_READER",
    "update": "STAP_LOCK_ADDER",
    "write": "STAP_LOCK_WRITER",
}


def statements(w: Writer, body: Sequence[ops.Stmt]) -> None:
    """A list of statements."""
    for stmt in body:
        _COMPILERS[type(stmt)](w, stmt)
        w.statement_ends()


# --- variables -----------------------------------------------------------------------------------


def _set_local(w: Writer, stmt: ops.SetLocal) -> None:
    to = w.variable(stmt.var)
    if stmt.var.ty is Ty.LONG:
        w.line(f"{to} = {long_of(w, stmt.value)};")
        return
    reads = any(isinstance(n, ops.Local) and n.var is stmt.var for n in walk(stmt.value))
    _set_text(w, to, stmt.value, reads)


def _set_text(w: Writer, to: str, value: ops.Expr, reads: bool) -> None:
    if reads or isinstance(value, (ops.Local, ops.GlobalGet, ops.StrConst, ops.MapGet)):
        w.line(f"stap_copy_string({to}, {text_of(w, value)}, sizeof({to}));")
    else:
        text_into(w, value, to, f"sizeof({to})")


def _set_global(w: Writer, stmt: ops.SetGlobal) -> None:
    to = w.unit.global_name(stmt.var)
    if stmt.var.value is Ty.LONG:
        w.line(f"atomic64_set(&{to}, {long_of(w, stmt.value)});")
        return
    # A fault in between must not leave half of a text.
    w.line(f"stap_copy_string({to}, {text_of(w, stmt.value)}, sizeof({to}));")


def _add_global(w: Writer, stmt: ops.AddGlobal) -> None:
    w.line(f"atomic64_add({long_of(w, stmt.delta)}, &{w.unit.global_name(stmt.var)});")


def _set_map(w: Writer, stmt: ops.SetMap) -> None:
    name = w.unit.global_name(stmt.var)
    key, _ = keys.make_key(w, stmt.var, stmt.keys)
    if stmt.var.value is Ty.LONG:
        value = w.temp(long_of(w, stmt.value))
        to = w.temp(f"stap_map_obtain(&{name}, {key})", "s64 *")
        keys.overflow(w, stmt.var, f"!{to}", stmt.pos)
        w.line(f"*{to} = {value};")
    else:
        text = text_of(w, stmt.value)
        to = w.temp(f"stap_map_obtain(&{name}, {key})", "char *")
        keys.overflow(w, stmt.var, f"!{to}", stmt.pos)
        w.line(f"stap_copy_string({to}, {text}, {w.unit.size_of(stmt.var)});")


def _add_map(w: Writer, stmt: ops.AddMap) -> None:
    key, _ = keys.make_key(w, stmt.var, stmt.keys)
    delta = long_of(w, stmt.delta)
    done = w.temp(f"stap_map_add(&{w.unit.global_name(stmt.var)}, {key}, {delta})", "bool")
    keys.overflow(w, stmt.var, f"!{done}", stmt.pos)


def _delete_global(w: Writer, stmt: ops.DeleteGlobal) -> None:
    name = w.unit.global_name(stmt.var)
    if stmt.var.kind == "array":
        w.line(f"stap_map_clear(&{name});")
    elif stmt.var.stats is not None:
        w.line(f"stap_scalar_stat_clear(&{name});")
    elif stmt.var.value is Ty.LONG:
        w.line(f"atomic64_set(&{name}, 0);")
    else:
        w.line(f"*{name} = 0;")


def _store(w: Writer, stmt: ops.Store) -> None:
    address, value = values_of(w, (stmt.addr, stmt.value))
    user = "true" if stmt.space == "user" else "false"
    w.line(f"stap_memory_store(c, {address}, {stmt.size}, {value}, {user}, {stmt.pos});")
    w.check()


def _set_context(w: Writer, stmt: ops.SetContext) -> None:
    mask = number((1 << stmt.bits) - 1) if stmt.bits < 64 else "-1"
    value = f"({long_of(w, stmt.value)} & {mask})"
    w.line(f"{_REGISTERS[stmt.kind].format(stmt.index, value, stmt.pos)};")
    w.check()


# --- control -------------------------------------------------------------------------------------


def _if(w: Writer, stmt: ops.If) -> None:
    cond = long_of(w, stmt.cond)
    w.statement_ends()
    with w.block(f"if ({cond})"):
        statements(w, stmt.then)
    if stmt.orelse:
        w.lines[-1] += " else {"
        with w.rest():
            statements(w, stmt.orelse)


def _return(w: Writer, stmt: ops.Return) -> None:
    if stmt.value is not None:
        if ops.type_of(stmt.value) is Ty.STR:
            w.line(f"stap_copy_string(result, {text_of(w, stmt.value)}, result_size);")
        else:
            w.line(f"result = {long_of(w, stmt.value)};")
    w.finish()


def _next(w: Writer, _stmt: ops.Next) -> None:
    if w.is_function:
        w.line("c->passed = 1;")
    w.finish()


def _try(w: Writer, stmt: ops.Try) -> None:
    caught, done = w.label("caught"), w.label("tried")
    order = w.temp("c->order_used", "u32")
    w.places.append(Place("try", fault=caught))
    with w.block(""):
        statements(w, stmt.body)
    w.places.pop()
    w.line(w.goto(done))
    w.put_label(caught)
    # What is no fault cannot be caught.
    w.line(f"if (c->ending != STAP_FAULT) {w.goto(w.fault_label())}")
    w.line("c->ending = STAP_RUNNING_ON;")
    w.line(f"c->order_used = {order};")
    if stmt.var is not None:
        to = w.variable(stmt.var)
        w.line(f"stap_copy_string({to}, c->message, sizeof({to}));")
    with w.block(""):
        statements(w, stmt.handler)
    w.put_label(done)


def _locked(w: Writer, stmt: ops.Locked) -> None:
    with held(w, stmt.locks):
        statements(w, stmt.body)


@contextmanager
def held(w: Writer, locks: Sequence[tuple[Global, ops.LockMode]]) -> Iterator[None]:
    """Emit what happens with locks taken, in this order."""
    failed, done = w.label("unlock"), w.label("unlocked")
    takes = [f"stap_lock_take({w.unit.lock_name(g)}, {_LOCKS[mode]})" for g, mode in locks]
    drops = [f"stap_lock_drop({w.unit.lock_name(g)}, {_LOCKS[mode]});" for g, mode in locks]
    for index, take in enumerate(takes):
        with w.block(f"if (unlikely(!{take}))"):
            for drop in drops[:index]:
                w.line(drop)
            w.line("c->ending = STAP_SKIPPED;")
            w.line(w.goto(w.fault_label()))
    undo = " ".join(drops)
    w.places.append(Place("lock", undo=undo, fault=failed))
    with w.block(""):
        yield
    w.places.pop()
    w.line(undo)
    if failed in w.labels_used:
        w.line(w.goto(done))
        w.put_label(failed)
        w.line(undo)
        w.line(w.goto(w.fault_label()))
        w.put_label(done)


def _action(w: Writer, stmt: ops.Action) -> None:
    test = f"if (unlikely(!stap_take_actions(c, {stmt.count}, {stmt.pos})))"
    w.line(f"{test} {w.goto(w.fault_label())}")


def _eval(w: Writer, stmt: ops.Eval) -> None:
    if ops.type_of(stmt.value) is Ty.STR:
        text_of(w, stmt.value)
        return
    value = long_of(w, stmt.value)
    if value and not value.isidentifier() and not value.lstrip("-").isdigit():
        w.line(f"(void)({value});")


_COMPILERS: Final[dict[type, Callable[[Writer, Any], None]]] = {
    ops.SetLocal: _set_local,
    ops.SetGlobal: _set_global,
    ops.AddGlobal: _add_global,
    ops.SetMap: _set_map,
    ops.AddMap: _add_map,
    ops.StatAdd: aggregates.add,
    ops.DeleteGlobal: _delete_global,
    ops.DeleteMap: keys.delete,
    ops.Store: _store,
    ops.SetContext: _set_context,
    ops.If: _if,
    ops.Loop: loops.loop,
    ops.Foreach: loops.foreach,
    ops.ForeachHist: loops.foreach_bucket,
    ops.Break: lambda w, _stmt: w.leave("break"),
    ops.Continue: lambda w, _stmt: w.leave("continue"),
    ops.Return: _return,
    ops.Next: _next,
    ops.Try: _try,
    ops.Emit: printing.emit,
    ops.EmitHist: aggregates.print_histogram,
    ops.Eval: _eval,
    ops.Action: _action,
    ops.Locked: _locked,
}
