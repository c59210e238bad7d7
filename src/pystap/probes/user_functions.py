"""Functions of a program: by its debug information, or by its symbol tables."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.attach import Attach
from pystap.probes.base import Context, Match, ProbeEnv
from pystap.probes.programs import Program
from pystap.probes.shapes import bad_point, has_wildcard
from pystap.probes.user_debug import debug_info, required_debug_info
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.debuginfo.debugfiles import DebugInfo
    from pystap.debuginfo.elf import Elf, Symbol
    from pystap.probes.user_places import Target

# The shapes that symbol tables can answer.
_BY_SYMBOL: Final = (
    "function", "function.call", "function.return", "function.exported", "statement",
)  # fmt: skip

# Names that several symbols of one address are ranked by: these are rarely what a person means.
_MOST_NOTED: Final = 3


class Place(NamedTuple):
    """A function: its name, and where its first instruction is in the file."""

    symbol: str
    offset: int


def function_matches(
    target: Target, kind: str, args: list[str | int], lenient: bool, env: ProbeEnv, tok: Token
) -> list[Match]:
    """Matches for a shape (component names behind the program, joined by dots).

    With ``lenient`` (a glob of programs) a file that cannot be used, or without such a function,
    gives nothing instead of an error.
    """
    from pystap.debuginfo.elf import Elf, ElfError
    from pystap.debuginfo.libdw import DwarfError

    try:
        with Elf(target.program.path) as elf:
            elf.require_machine()
            info = debug_info(target.program.path, env)
            if info is not None:
                from pystap.probes.user_places import ProgramCode, code_matches

                matches = code_matches(ProgramCode(target, elf), info, kind, args, tok)
                if matches:
                    return matches
            return _by_symbols(target, elf, kind, args, lenient, env, tok)
    except (ElfError, DwarfError) as problem:
        if lenient:
            return []
        raise bad_point(str(problem), tok) from None


def _by_symbols(
    target: Target,
    elf: Elf,
    kind: str,
    args: list[str | int],
    lenient: bool,
    env: ProbeEnv,
    tok: Token,
) -> list[Match]:
    """What symbol tables can answer; functions that debug information has at their address."""
    names = kind.split(".")
    wanted = args[0]
    info = debug_info(target.program.path, env)
    if kind not in _BY_SYMBOL or (isinstance(wanted, str) and "@" in wanted):
        if lenient:
            return []
        if info is None:
            required_debug_info(target.program.path, env, tok)
        raise bad_point(f"no match for '{wanted}' in {target.program.name}", tok)
    if info is not None and isinstance(wanted, str) and _only_inlined(info, wanted):
        raise bad_point(
            f"'{wanted}' of {target.program.name} has no code of its own: it is only inlined",
            tok,
            hint=f'.function("{wanted}").inline',
        )
    places, notes = find_functions(
        elf, target.program, wanted, names[-1] == "exported", lenient, tok
    )
    is_return = names[-1] == "return"
    if info is not None and isinstance(wanted, str):
        described = [m for p in places for m in _described(target, elf, names, p, info)]
        if described:
            return described
    points: list[tuple[str, Attach]] = [
        (
            target.text([place.symbol if isinstance(wanted, str) else wanted]),
            target.uprobe(place.offset, place.symbol, is_return),
        )
        for place in places
    ]
    context = FunctionContext(target.program.path, is_return, env)
    return [Match(points, context, notes)] if points else []


def _only_inlined(info: DebugInfo, name: str) -> bool:
    found = info.names.functions(name)
    return bool(found) and all(die.entry_pc() is None for die in found)


def _described(
    target: Target, elf: Elf, names: list[str], place: Place, info: DebugInfo
) -> Iterator[Match]:
    """A function that debug information knows by another name than the symbol's."""
    from pystap.debuginfo.dwarfplaces import at_entry
    from pystap.probes.user_places import ProgramCode, place_match

    address = elf.address_of_offset(place.offset)
    found = None if address is None else at_entry(info, address)
    if found is not None:
        code = ProgramCode(target, elf)
        match = place_match(code, info, found._replace(name=place.symbol), names)
        if match is not None:
            yield match


class FunctionContext(Context):
    """A function known by its symbol only: there are no types, so no context variables."""

    def __init__(self, path: str, is_return: bool, env: ProbeEnv) -> None:
        self._path = path
        self._is_return = is_return
        self._env = env
        self.share_key = ("user function", is_return)

    def entry(self) -> FunctionContext | None:
        """What the entries of returns see, for ``@entry``."""
        return FunctionContext(self._path, False, self._env) if self._is_return else None

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """Refuse, and say what was looked for, where, and how to get it."""
        instead = "returnval()" if self._is_return else "int_arg(N), pointer_arg(N)"
        required_debug_info(self._path, self._env, var.tok, f"'{var.name}'", instead)
        raise bad_point(
            f"'{var.name}': the debug information of {self._path} does not know this function",
            var.tok,
        )


def find_functions(
    elf: Elf, program: Program, wanted: str | int, exported: bool, lenient: bool, tok: Token
) -> tuple[list[Place], list[str]]:
    """The functions that a pattern or an address stands for, by address, and notes.

    With ``lenient`` no such function is no error.
    """
    if isinstance(wanted, int):
        return [_at_address(elf, wanted, program, tok)], []
    return _by_name(elf, wanted, exported, program, lenient, tok)


def _at_address(elf: Elf, address: int, program: Program, tok: Token) -> Place:
    offset = elf.file_offset(address) if address >= 0 else None
    if offset is None:
        raise bad_point(f"address {address:#x} is not in {program.name}", tok)
    around = [s for s in elf.functions() if s.value <= address < s.value + max(s.size, 1)]
    return Place(min(around, key=_rank).name if around else "", offset)


def _by_name(
    elf: Elf, pattern: str, exported: bool, program: Program, lenient: bool, tok: Token
) -> tuple[list[Place], list[str]]:
    symbols = _functions(elf, exported)
    wild = has_wildcard(pattern)
    fitting = [s for s in symbols if s.name == pattern or (wild and fnmatchcase(s.name, pattern))]
    if not fitting:
        from pystap.debuginfo.qualified import fits

        fitting = [s for s in symbols if _is_mangled(s.name) and fits(s.name, s.name, pattern)]
    indirect = [symbol for symbol in fitting if symbol.kind == _ifunc()]
    usable = [symbol for symbol in fitting if symbol.kind != _ifunc()]
    places = _places(elf, usable)
    if not places and not lenient:
        raise _not_found(elf, pattern, symbols, indirect, program, tok)
    return places, _notes(indirect)


def _is_mangled(name: str) -> bool:
    """Whether a symbol's name is made from one that has scopes or types (C++, Rust)."""
    return name.startswith(("_Z", "_R"))


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
    wild = has_wildcard(name)
    near = None if wild else suggest(name, sorted({symbol.name for symbol in symbols}))
    hint = f"did you mean {' or '.join(near)}?" if near else None
    if not near and elf.is_stripped:
        hint = "the file is stripped: only functions it exports are known"
    what = f"function matching '{name}'" if wild else f"function '{name}'"
    return bad_point(f"no {what} in {program.name}", tok, hint)
