"""Nodes that only the translator makes: raw context values, memory loads and intrinsics.

Context-variable expansion yields ordinary syntax nodes built from these, so that type inference,
folding and lowering treat ``$next->pid`` like any other expression.
"""

from __future__ import annotations

from pystap.lang.ast import Binary, Expr, Number, Unary
from pystap.records import dataclass, field
from pystap.typing import Final, Literal


@dataclass(slots=True, kw_only=True)
class CoreContext(Expr):
    """Becomes ``ir.ContextValue(kind, index)``; type long."""

    kind: Literal["arg", "sysarg", "sysnr", "sysret", "reg", "funcarg", "retval", "ip", "probe_id"]
    index: int = 0


@dataclass(slots=True, kw_only=True)
class CoreLoad(Expr):
    """Becomes ``ir.Load``; type long."""

    addr: Expr
    space: Literal["kernel", "user"]
    size: int
    signed: bool
    bit_offset: int = 0
    bit_size: int = 0


@dataclass(slots=True, kw_only=True)
class CoreIntrinsic(Expr):
    """Becomes ``ir.Intrinsic``; ``type`` is set by its maker."""

    name: str
    args: list[Expr] = field(default_factory=list)
    const: tuple[int | str, ...] = ()


_REGISTERS: Final = ("reg", "funcarg", "retval", "sysarg", "sysret")


def register_of(expr: Expr) -> tuple[CoreContext, int] | None:
    """The register that holds a value, and in how many of its low bits; None when none does."""
    match expr:
        case CoreContext(kind=kind) if kind in _REGISTERS:
            return expr, 64
        case Unary(op="+", operand=operand):
            return register_of(operand)
        case Binary(op="&", left=left, right=Number(value=mask)) if mask > 0 == mask & mask + 1:
            return _low(left, mask.bit_length())
        case Binary(
            op=">>" | ">>>",
            left=Binary(op="<<", left=left, right=Number(value=up)),
            right=Number(value=down),
        ) if up == down:
            return _low(left, 64 - up)
    return None


def _low(expr: Expr, bits: int) -> tuple[CoreContext, int] | None:
    return (expr, bits) if isinstance(expr, CoreContext) and expr.kind in _REGISTERS else None
