"""Loops as C; ``foreach`` goes over what an array held when it began."""

from __future__ import annotations

from pystap.backend.kmod import aggregates, keys
from pystap.backend.kmod.writer import Place
from pystap.ir import ops
from pystap.ir.types import Ty
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.kmod.writer import Writer


def loop(w: Writer, stmt: ops.Loop) -> None:
    """``while`` and ``for``."""
    from pystap.backend.kmod.expressions import long_of
    from pystap.backend.kmod.statements import statements

    done, again = w.label("done"), w.label("again")
    with w.block("for (;;)"):
        cond = long_of(w, stmt.cond)
        w.line(f"if (!{cond}) {w.goto(done)}")
        w.statement_ends()
        _round(w, stmt.body, done, again)
        statements(w, stmt.step)
    w.put_label(done)


def _round(w: Writer, body: list[ops.Stmt], done: str, again: str) -> None:
    """What a loop does each time; labels for ``break`` and, put behind it, ``continue``."""
    from pystap.backend.kmod.statements import statements

    w.places.append(Place("loop", break_to=done, continue_to=again))
    with w.block(""):
        statements(w, body)
    w.places.pop()
    w.put_label(again)


def foreach(w: Writer, stmt: ops.Foreach) -> None:
    """``foreach`` over an array."""
    from pystap.backend.kmod.expressions import long_of

    var = stmt.var
    done, again = w.label("done"), w.label("again")
    pattern, wanted = "NULL", 0
    if stmt.slice is not None:
        pattern, wanted = keys.make_key(w, var, stmt.slice)
    limit = "S64_MAX" if stmt.limit is None else w.temp(long_of(w, stmt.limit))
    w.statement_ends()
    order = w.temp("c->order + c->order_used", "struct stap_sorted *")
    count = w.temp(
        f"stap_order_elements(&{_ordering(w, stmt)}, {order}, {pattern}, {wanted:#x}, {limit})",
        "u32",
    )
    index = w.empty_temp("u32")
    give_back = f"c->order_used -= {count};"
    w.line(f"c->order_used += {count};")
    w.places.append(Place("loop_memory", undo=give_back))
    with w.block(f"for ({index} = 0; {index} < {count}; {index}++)"):
        node = w.temp(f"{order}[{index}].node", "struct stap_map_node *")
        _set_variables(w, stmt, node)
        _round(w, stmt.body, done, again)
    w.put_label(done)
    w.places.pop()
    w.line(give_back)


def _set_variables(w: Writer, stmt: ops.Foreach, node: str) -> None:
    var = stmt.var
    key = w.temp(f"(const void *){node}->data", f"const struct {w.unit.global_name(var)}_key *")
    for index, (local, ty) in enumerate(zip(stmt.keys, var.keys)):
        to = w.variable(local)
        if ty is Ty.LONG:
            w.line(f"{to} = {key}->k{index};")
        else:
            w.line(f"stap_copy_string({to}, {key}->k{index}, sizeof({to}));")
    if stmt.value is None:
        return
    to, value = w.variable(stmt.value), f"{node}->data + {w.unit.global_name(var)}.value_at"
    if var.value is Ty.LONG:
        w.line(f"{to} = *(s64 *)({value});")
    else:
        w.line(f"stap_copy_string({to}, {value}, sizeof({to}));")


def _ordering(w: Writer, stmt: ops.Foreach) -> str:
    """The C name of how a loop is ordered, put into file scope."""
    var = stmt.var
    name = f"{w.name}_order_{w.label('at')}"
    spec = f"&{w.unit.spec_name(var)}" if var.stats is not None else "NULL"
    ty = var.keys[stmt.column - 1] if stmt.column else var.value
    text = "true" if ty is Ty.STR else "false"
    w.unit.declarations.append(
        f"static const struct stap_ordering {name} = {{ &{w.unit.global_name(var)}, {spec}, "
        f"STAP_STAT_{stmt.sort_op.upper()}, {stmt.column}, {stmt.order}, {text} }};"
    )
    return name


def foreach_bucket(w: Writer, stmt: ops.ForeachHist) -> None:
    """``foreach`` over the buckets of a histogram."""
    from pystap.backend.kmod.expressions import long_of

    done, again = w.label("done"), w.label("again")
    limit = None if stmt.limit is None else w.temp(long_of(w, stmt.limit))
    buckets = aggregates.bucket_range(w, stmt)
    w.statement_ends()
    index = w.empty_temp()
    test = f"{index} < {buckets}" + (f" && {index} < {limit}" if limit else "")
    with w.block(f"for ({index} = 0; {test}; {index}++)"):
        at = f"{buckets} - 1 - {index}" if stmt.order < 0 else index
        w.line(f"{w.variable(stmt.bucket)} = {at};")
        _round(w, stmt.body, done, again)
    w.put_label(done)
