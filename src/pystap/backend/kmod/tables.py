"""Tables of names and flags as C arrays at file scope."""

from __future__ import annotations

from collections.abc import Sequence

from pystap.backend.kmod.writer import number, quoted
from pystap.ir import ops
from pystap.ir.tables import TABLES, FlagTable, NameTable
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.kmod.unit import Unit


def number_call(unit: Unit, expr: ops.Intrinsic, args: Sequence[str]) -> str:
    """The call that looks a name up."""
    return f"stap_table_number({_table(unit, expr)}, {args[0]})"


def text_call(unit: Unit, expr: ops.Intrinsic, args: Sequence[str], to: str, size: str) -> str:
    """The statement that puts the name of a number, or names of flags, into memory."""
    function = "stap_flags_text" if expr.name == "flags_str" else "stap_table_text"
    return f"{function}({to}, {size}, {_table(unit, expr)}, {args[0]});"


def _table(unit: Unit, expr: ops.Intrinsic) -> str:
    return f"&{symbol_of(unit, str(expr.const[0]))}"


def symbol_of(unit: Unit, name: str) -> str:
    """The C name of a table, which is declared if it was not."""
    symbol = f"{unit.prefix}table_" + "".join(c if c.isalnum() else "_" for c in name)
    found = TABLES[name]
    if isinstance(found, NameTable):
        unit.table(symbol, _names(symbol, found))
    else:
        unit.table(symbol, _flags(symbol, found))
    return symbol


def _names(symbol: str, table: NameTable) -> list[str]:
    rows = [f"\t{{ {number(value)}, {quoted(name)} }}," for name, value in table.numbers.items()]
    shown = [f"\t{{ {number(value)}, {quoted(name)} }}," for value, name in table.names.items()]
    return [
        f"static const struct stap_name {symbol}_numbers[] = {{", *rows, "};",
        f"static const struct stap_name {symbol}_names[] = {{", *shown, "};",
        f"static const struct stap_name_table {symbol} = {{ {symbol}_names, {len(shown)}, "
        f"{symbol}_numbers, {len(rows)} }};",
    ]  # fmt: skip


def _flags(symbol: str, table: FlagTable) -> list[str]:
    rows = [f"\t{{ {f.mask:#x}ull, {f.value:#x}ull, {quoted(f.name)} }}," for f in table.flags]
    return [
        f"static const struct stap_flag {symbol}_flags[] = {{", *rows, "};",
        f"static const struct stap_flag_table {symbol} = {{ {symbol}_flags, {len(rows)}, "
        f"{quoted(table.zero or '0x0')} }};",
    ]  # fmt: skip
