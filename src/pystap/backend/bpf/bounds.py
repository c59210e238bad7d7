"""Indexes and sizes that the verifier knows the bounds of."""

from __future__ import annotations

from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import Value


def clamp(s: Scope, value: Value, most: int) -> Value:
    """The value, or ``most`` where it is more (unsigned).

    The comparison and all uses are of one register, whatever LLVM knows of the value.
    """
    value = s.b.barrier(value)
    return s.b.barrier(s.b.select(value.ult(most), value, most))
