"""Nodes that only the translator makes: raw context values, memory loads and intrinsics.

Context-variable expansion yields ordinary syntax nodes built from these, so that type inference,
folding and lowering treat ``$next->pid`` like any other expression.
"""

from __future__ import annotations

from pystap.lang.ast import Expr
from pystap.records import dataclass, field
from pystap.typing import Literal


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
