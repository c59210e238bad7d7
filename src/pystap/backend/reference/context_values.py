"""Numbers that the event brings with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pystap.backend.reference.faults import InterpreterError
from pystap.backend.reference.longs import wrap
from pystap.ir import ops
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.reference.compiler import Scope
    from pystap.backend.reference.state import Context, Evaluate, Frame


def compile_context_value(_scope: Scope, expr: ops.ContextValue) -> Evaluate:
    """A closure that takes the value out of the event."""
    kind, index = expr.kind, expr.index

    def get(frame: Frame) -> int:
        return read_context_value(frame.context, kind, index)

    return get


def read_context_value(context: Context, kind: str, index: int) -> int:
    """The value that a ``ContextValue`` of that kind and index stands for."""
    return wrap(_READERS[kind](context, index))


def _item(values: Sequence[int], index: int, what: str) -> int:
    if not 0 <= index < len(values):
        raise InterpreterError(f"the scripted event has no {what} {index}")
    return values[index]


def _register(context: Context, index: int) -> int:
    try:
        return context.event.registers[index]
    except KeyError:
        raise InterpreterError(f"the scripted event has no register {index}") from None


_READERS: Final[dict[str, Callable[[Context, int], int]]] = {
    "arg": lambda c, i: _item(c.event.arguments, i, "argument"),
    "sysarg": lambda c, i: _item(c.event.sysargs, i, "system-call argument"),
    "funcarg": lambda c, i: _item(c.event.funcargs, i, "function argument"),
    "reg": _register,
    "sysnr": lambda c, _: c.event.sysnr,
    "sysret": lambda c, _: c.event.sysret,
    "retval": lambda c, _: c.event.retval,
    "ip": lambda c, _: c.event.ip,
    "probe_id": lambda c, _: c.probe_index,
}
