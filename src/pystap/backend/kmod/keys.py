"""Elements of arrays: keys in memory, look-up, deletion."""

from __future__ import annotations

from collections.abc import Sequence

from pystap.ir import ops
from pystap.ir.types import Global, Ty
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.kmod.writer import Writer


def make_key(w: Writer, var: Global, parts: Sequence[ops.Expr | None]) -> tuple[str, int]:
    """A key in memory (its address) and which of its parts are set, as bits."""
    from pystap.backend.kmod.expressions import values_of

    values = iter(values_of(w, [part for part in parts if part is not None]))
    name = w.key(f"struct {w.unit.global_name(var)}_key")
    wanted = 0
    for index, (part, ty) in enumerate(zip(parts, var.keys)):
        if part is None:
            continue
        wanted |= 1 << index
        if ty is Ty.LONG:
            w.line(f"{name}.k{index} = {next(values)};")
        else:
            w.line(f"stap_copy_key({name}.k{index}, {next(values)}, sizeof({name}.k{index}));")
    return f"&{name}", wanted


def find(w: Writer, var: Global, parts: Sequence[ops.Expr]) -> str:
    """A C variable that points to the value of an element, NULL when absent."""
    key, _ = make_key(w, var, parts)
    kind = (
        "char" if var.value is Ty.STR else "s64" if var.stats is None else "struct stap_aggregate"
    )
    return w.temp(f"stap_map_find(&{w.unit.global_name(var)}, {key})", f"{kind} *")


def has(w: Writer, expr: ops.MapHas) -> str:
    """Whether an element is there."""
    key, wanted = make_key(w, expr.var, expr.keys)
    name = w.unit.global_name(expr.var)
    if None not in expr.keys:
        return w.temp(f"stap_map_find(&{name}, {key}) != NULL")
    return w.temp(f"stap_map_has_matching(&{name}, {key}, {wanted:#x})")


def delete(w: Writer, stmt: ops.DeleteMap) -> None:
    """Remove elements."""
    key, wanted = make_key(w, stmt.var, stmt.keys)
    name = w.unit.global_name(stmt.var)
    if None not in stmt.keys:
        w.line(f"stap_map_delete(&{name}, {key});")
    else:
        w.line(f"stap_map_delete_matching(&{name}, {key}, {wanted:#x});")


def overflow(w: Writer, var: Global, condition: str, position: int) -> None:
    """The run-time error when there was no room."""
    declared = "true" if var.capacity_declared else "false"
    with w.block(f"if (unlikely({condition}))"):
        w.line(f"stap_map_overflow(c, &{w.unit.global_name(var)}, {declared}, {position});")
        w.line(w.goto(w.fault_label()))
