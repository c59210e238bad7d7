"""The intrinsics, one topic a file.

An implementation takes the context, the operation (for its position and literals) and the
argument values; it gives an int (wrapped by the caller), a str (cut by the caller) or None.
"""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.reference.faults import InterpreterError
from pystap.typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pystap.ir.ops import Intrinsic

    Implementation: TypeAlias = Callable[..., Any]

_found: dict[str, Implementation] = {}


def implementation(op: Intrinsic) -> Callable[..., Any]:
    """What runs an intrinsic.  Raises :class:`InterpreterError` for one unknown here or applied
    to the wrong number of arguments."""
    from pystap.ir.intrinsics import INTRINSICS

    info = INTRINSICS.get(op.name)
    run = implementations().get(op.name)
    if info is None or run is None:
        raise InterpreterError(f"intrinsic {op.name} is unknown")
    if len(op.args) != len(info.args) or len(op.const) != info.consts:
        raise InterpreterError(f"intrinsic {op.name} has the wrong number of arguments")
    return run


def implementations() -> dict[str, Implementation]:
    """Every intrinsic by name."""
    if not _found:
        from pystap.backend.reference.intrinsics import (
            clocks,
            effects,
            memory,
            probe,
            stack,
            strings,
            syscalls,
            tables,
            task,
        )

        for topic in (clocks, effects, memory, probe, stack, strings, syscalls, tables, task):
            _found.update(topic.IMPLEMENTATIONS)
    return _found
