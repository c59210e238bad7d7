"""Look-ups in the named tables."""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.reference.faults import InterpreterError
from pystap.ir.tables import TABLES, FlagTable, NameTable
from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystap.backend.reference.state import Context
    from pystap.ir.ops import Intrinsic


def _names(op: Intrinsic) -> NameTable:
    table = TABLES.get(str(op.const[0]))
    if not isinstance(table, NameTable):
        raise InterpreterError(f"there is no table of names {op.const[0]}")
    return table


def _table_str(_context: Context, op: Intrinsic, number: int) -> str:
    return _names(op).name(number)


def _table_num(_context: Context, op: Intrinsic, name: str) -> int:
    return _names(op).number(name)


def _flags_str(_context: Context, op: Intrinsic, value: int) -> str:
    table = TABLES.get(str(op.const[0]))
    if not isinstance(table, FlagTable):
        raise InterpreterError(f"there is no table of flags {op.const[0]}")
    return table.text(value)


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "table_str": _table_str,
    "table_num": _table_num,
    "flags_str": _flags_str,
}
