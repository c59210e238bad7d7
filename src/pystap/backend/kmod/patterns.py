"""Regular expressions as C tables."""

from __future__ import annotations

from collections.abc import Iterable

from pystap.ir.module import Module
from pystap.ir.regex import Dfa, TaggedDfa
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.kmod.unit import Unit


def declare(unit: Unit) -> list[str]:
    """Lines that declare the tables of every regular expression."""
    lines: list[str] = []
    for index, regex in enumerate(unit.module.regexes):
        lines.append(
            f"/* {regex.pattern.replace('*/', '* /').encode('ascii', 'replace').decode()} */"
        )
        if isinstance(regex.dfa, TaggedDfa):
            lines += _tagged(f"{unit.prefix}regex{index}", regex.dfa)
        elif isinstance(regex.dfa, Dfa):
            lines += _plain(f"{unit.prefix}regex{index}", regex.dfa)
    return lines


def most_registers(module: Module) -> int:
    """Registers that a search needs at most."""
    found = [r.dfa.registers for r in module.regexes if isinstance(r.dfa, TaggedDfa)]
    return max([1, *found])


def _numbers(kind: str, name: str, values: Iterable[int]) -> str:
    return f"static const {kind} {name}[] = {{ {', '.join(map(str, values))} }};"


def _plain(name: str, dfa: Dfa) -> list[str]:
    return [
        _numbers("u8", f"{name}_class_of", dfa.class_of),
        _numbers("u16", f"{name}_table", dfa.table),
        _numbers("u8", f"{name}_at_end", map(int, dfa.at_end)),
        f"static const struct stap_dfa {name} = {{ {name}_class_of, {name}_table, {name}_at_end, "
        f"{dfa.classes}, {dfa.start} }};",
    ]


def _tagged(name: str, dfa: TaggedDfa) -> list[str]:
    begins, at = [], 0
    for moves in dfa.moves:
        begins.append(at)
        at += len(moves)
    begins.append(at)
    rows = ", ".join(f"{{ {to}, {source} }}" for moves in dfa.moves for to, source in moves)
    return [
        _numbers("u8", f"{name}_class_of", dfa.class_of),
        _numbers("u16", f"{name}_table", dfa.table),
        _numbers("u16", f"{name}_actions", dfa.actions),
        _numbers("s16", f"{name}_accept", dfa.accept),
        _numbers("s16", f"{name}_at_end", dfa.at_end),
        _numbers("u16", f"{name}_moves_at", begins),
        f"static const s16 {name}_moves[][2] = {{ {rows or '{ 0, 0 }'} }};",
        f"static const struct stap_tagged_dfa {name} = {{ {name}_class_of, {name}_table, "
        f"{name}_actions, {name}_accept, {name}_at_end, {name}_moves_at, {name}_moves, "
        f"{dfa.classes}, {dfa.start}, {dfa.start_moves}, {dfa.groups} }};",
    ]
