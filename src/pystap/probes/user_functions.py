"""Functions of an ELF file by name pattern or address."""

from __future__ import annotations

from fnmatch import fnmatchcase

from pystap.lang.tokens import Token
from pystap.probes.programs import Program
from pystap.probes.shapes import bad_point, has_wildcard
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.debuginfo.elf import Elf, Symbol

# Names that several symbols of one address are ranked by: these are rarely what a person means.
_MOST_NOTED: Final = 3


class Place(NamedTuple):
    """A function: its name, and where its first instruction is in the file."""

    symbol: str
    offset: int


def find_functions(
    program: Program, wanted: str | int, exported: bool, lenient: bool, tok: Token
) -> tuple[list[Place], list[str]]:
    """The functions that a pattern or an address stands for, by address, and notes.

    With ``lenient`` (a glob of programs) a file that cannot be used, or without such a function,
    gives nothing instead of an error.
    """
    from pystap.debuginfo.elf import Elf, ElfError

    try:
        with Elf(program.path) as elf:
            elf.require_machine()
            if isinstance(wanted, int):
                return [_at_address(elf, wanted, program, tok)], []
            return _by_name(elf, wanted, exported, program, lenient, tok)
    except ElfError as problem:
        if lenient:
            return [], []
        raise bad_point(str(problem), tok) from None


def _at_address(elf: Elf, address: int, program: Program, tok: Token) -> Place:
    offset = elf.file_offset(address) if address >= 0 else None
    if offset is None:
        raise bad_point(f"address {address:#x} is not in {program.name}", tok)
    around = [s for s in elf.functions() if s.value <= address < s.value + max(s.size, 1)]
    return Place(min(around, key=_rank).name if around else "", offset)


def _by_name(
    elf: Elf, pattern: str, exported: bool, program: Program, lenient: bool, tok: Token
) -> tuple[list[Place], list[str]]:
    if "@" in pattern:
        raise bad_point(
            f"'{pattern}': source files and lines need debuginfo, which is not read for user"
            " programs",
            tok,
            hint=f'use .function("{pattern.partition("@")[0]}")',
        )
    symbols = _functions(elf, exported)
    wild = has_wildcard(pattern)
    fitting = [s for s in symbols if s.name == pattern or (wild and fnmatchcase(s.name, pattern))]
    indirect = [symbol for symbol in fitting if symbol.kind == _ifunc()]
    usable = [symbol for symbol in fitting if symbol.kind != _ifunc()]
    places = _places(elf, usable)
    if not places and not lenient and not wild:
        raise _not_found(elf, pattern, symbols, indirect, program, tok)
    return places, _notes(indirect)


def _functions(elf: Elf, exported: bool) -> list[Symbol]:
    from pystap.debuginfo.elf import STB_LOCAL

    symbols = elf.functions()
    return [s for s in symbols if s.binding != STB_LOCAL] if exported else symbols


def _ifunc() -> int:
    from pystap.debuginfo.elf import STT_GNU_IFUNC

    return STT_GNU_IFUNC


def _places(elf: Elf, symbols: list[Symbol]) -> list[Place]:
    """One place for each address, under the best of its names."""
    best: dict[int, Symbol] = {}
    for symbol in symbols:
        known = best.get(symbol.value)
        if known is None or _rank(symbol) < _rank(known):
            best[symbol.value] = symbol
    places = []
    for value, symbol in sorted(best.items()):
        offset = elf.file_offset(value)
        if offset is not None:
            places.append(Place(symbol.name, offset))
    return places


def _rank(symbol: Symbol) -> tuple[bool, bool, int, str]:
    """Public names first, those without leading underscores, short ones."""
    name = symbol.name
    return symbol.binding == 0, name.startswith("_"), len(name), name


def _notes(indirect: list[Symbol]) -> list[str]:
    names = sorted({symbol.name for symbol in indirect})
    if not names:
        return []
    more = f" and {len(names) - _MOST_NOTED} more" if len(names) > _MOST_NOTED else ""
    return [f"skipped, chosen at run time (IFUNC): {', '.join(names[:_MOST_NOTED])}{more}"]


def _not_found(
    elf: Elf,
    name: str,
    symbols: list[Symbol],
    indirect: list[Symbol],
    program: Program,
    tok: Token,
) -> Exception:
    from pystap.diag.suggest import suggest

    if indirect:
        return bad_point(
            f"'{name}' of {program.name} is an indirect function (IFUNC)",
            tok,
            hint=f'the implementation is chosen at run time: try .function("*{name}_*")',
        )
    near = suggest(name, sorted({symbol.name for symbol in symbols}))
    hint = f"did you mean {' or '.join(near)}?" if near else None
    if not near and elf.is_stripped:
        hint = "the file is stripped: only functions it exports are known"
    return bad_point(f"no function '{name}' in {program.name}", tok, hint)
