"""Scalar globals: words and string buffers of one array map that user space can map."""

from __future__ import annotations

from pystap.backend.bpf import emit, strings
from pystap.backend.bpf.artifact import GlobalInfo
from pystap.backend.bpf.layout import round_up
from pystap.backend.bpf.strings import Room
from pystap.ir import ops
from pystap.ir.types import Global, Ty
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import Value


def address(s: Scope, var: Global) -> Value:
    """Address of a scalar global."""
    return word_address(s, s.u.globals.offsets[var.index])


def word_address(s: Scope, offset: int) -> Value:
    """Address of something in the map of scalars."""
    return s.b.map_value(s.u.globals_map(), offset)


@emit.emits_long(ops.GlobalGet)
def _get(s: Scope, e: ops.GlobalGet) -> Value:
    return s.b.load("i64", address(s, e.var))


@emit.emits_statement(ops.SetGlobal)
def _set(s: Scope, e: ops.SetGlobal) -> None:
    if e.var.value is Ty.STR:
        size = strings.bound(s, ops.GlobalGet(e.var))
        room = Room(address(s, e.var), round_up(size), size)
        strings.assign(s, e.value, room)
    else:
        value = emit.long(s, e.value)
        s.b.store(value, address(s, e.var))


@emit.emits_statement(ops.AddGlobal)
def _add(s: Scope, e: ops.AddGlobal) -> None:
    delta = emit.long(s, e.delta)
    s.b.atomic_rmw("add", address(s, e.var), delta, order="monotonic")


def describe(unit: Unit, var: Global) -> GlobalInfo:
    """Where the session finds a scalar."""
    is_text = var.value is Ty.STR
    size = round_up(min(var.bound or unit.max_string, unit.max_string)) if is_text else 8
    kind = "string" if is_text else "long"
    return GlobalInfo(
        var.name, "scalar", kind, (), unit.globals_map(), unit.globals.offsets[var.index], size
    )
