"""Functions, statements and labels of programs that have debug information."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pystap.debuginfo import dwarfconst as c
from pystap.debuginfo.dwarfplaces import (
    NoLines,
    Pattern,
    Place,
    at_address,
    functions,
    labelled,
    parse_pattern,
    statements,
)
from pystap.lang.tokens import Token
from pystap.probes.attach import Attach, Uprobe
from pystap.probes.base import Match
from pystap.probes.programs import Program
from pystap.probes.shapes import bad_point, escaped
from pystap.probes.user_code import CalleeContext, CodeContext, ReturnContext
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.debuginfo.debugfiles import DebugInfo
    from pystap.debuginfo.elf import Elf

_WHOLE: Final = ("call", "return", "exported")  # shapes that inlined functions have not


class Target(NamedTuple):
    """What to probe in: ``text`` makes a probe point of the arguments behind the program.

    ``user`` is the path of the program whose processes count when ``program`` is a library.
    """

    program: Program
    pid: int
    target_only: bool
    text: Callable[[Iterable[str | int]], str]
    user: str = ""

    def uprobe(self, offset: int, symbol: str, is_return: bool = False) -> Uprobe:
        """An instruction by its offset in the file."""
        path = self.program.path
        return Uprobe(
            path, offset, symbol, is_return, self.pid, self.target_only, program=self.user
        )


def code_matches(
    target: Target,
    info: DebugInfo,
    elf: Elf,
    kind: str,
    args: list[str | int],
    tok: Token,
) -> list[Match]:
    """Matches for a shape (its component names behind the program, joined by dots).

    Empty when the debug information knows no such function.  Raises ``DiagnosticError`` for
    malformed patterns and lines without code.
    """
    names = kind.split(".")
    wanted = args[0]
    if isinstance(wanted, int):
        places = _at(info, wanted, names)
    else:
        pattern = parse_pattern(wanted)
        if pattern is None:
            raise bad_point(f"malformed source pattern '{wanted}'", tok, _PATTERNS)
        if names[0] == "statement":
            places = _statements(info, pattern, names[-1] == "nearest", tok)
        else:
            places = functions(info, pattern)
    places = _of_shape(places, names)
    if names[-1] == "label":
        return _label_matches(target, info, elf, places, str(args[1]))
    if names[-1] in ("callee", "callees"):
        return _callee_matches(target, info, elf, places, names, args)
    return [
        place_match(target, info, elf, place, names, args)
        for place in places
        if elf.file_offset(place.pc) is not None
    ]


def place_match(
    target: Target,
    info: DebugInfo,
    elf: Elf,
    place: Place,
    names: list[str],
    args: Sequence[str | int] = ("",),
) -> Match:
    """The match for one place; ``names`` are those of the shape's components."""
    is_return = names[-1] == "return"
    context = ReturnContext(info, place) if is_return else CodeContext(info, place)
    where = (_text(target, place, list(args)), _attach(target, elf, place, names))
    return Match([where], context)


_PATTERNS: Final = 'write "FUNCTION", "FUNCTION@FILE", "FUNCTION@FILE:LINE" or "FUNCTION@FILE+N"'


def _callee_matches(
    target: Target,
    info: DebugInfo,
    elf: Elf,
    callers: list[Place],
    names: list[str],
    args: list[str | int],
) -> list[Match]:
    """Entries of called functions, that count when they come from the caller."""
    from pystap.debuginfo.dwarfcalls import callees

    pattern, depth = "*", 1
    if len(args) > 1:
        pattern, depth = (args[1], 1) if isinstance(args[1], str) else ("*", args[1])
    matches: list[Match] = []
    seen: set[tuple[int, int]] = set()
    while callers and depth > 0:
        depth -= 1
        below: list[Place] = []
        for caller in callers:
            for place in callees(info, caller, pattern):
                offset = elf.file_offset(place.pc)
                if offset is None or (caller.entry, place.pc) in seen:
                    continue
                seen.add((caller.entry, place.pc))
                below.append(place)
                context = CalleeContext(info, place, None if place.inlined else caller)
                text = _callee_text(target, caller, place, names, args)
                matches.append(Match([(text, target.uprobe(offset, place.name))], context))
        callers = below
    return matches


def _callee_text(
    target: Target, caller: Place, place: Place, names: list[str], args: list[str | int]
) -> str:
    """The probe point of one callee; ``callees`` stands for several ``callee``."""
    if names[-1] == "callee":
        return target.text([_place_text(caller), _place_text(place)])
    text = target.text([_place_text(caller), *args[1:]])
    return f'{text[: text.rindex(".callees")]}.callee("{escaped(_place_text(place))}")'


def _place_text(place: Place) -> str:
    return place.name + (f"@{place.file}:{place.line}" if place.file else "")


def _attach(target: Target, elf: Elf, place: Place, names: list[str]) -> Attach:
    is_return = names[-1] == "return"
    start = elf.file_offset(place.entry if is_return else place.pc)
    body = elf.file_offset(place.pc)
    assert start is not None  # the caller looked
    assert body is not None
    uprobe = target.uprobe(start, place.name, is_return)
    return uprobe._replace(body=body) if is_return and body != start else uprobe


def _text(target: Target, place: Place, args: list[str | int]) -> str:
    if isinstance(args[0], int):
        return target.text(args)
    return target.text([_place_text(place), *args[1:]])


def _of_shape(places: list[Place], names: list[str]) -> list[Place]:
    last = names[-1]
    if last == "inline":
        return [place for place in places if place.inlined]
    if last in _WHOLE:
        places = [place for place in places if not place.inlined]
    if last == "exported":
        places = [place for place in places if place.function.flag(c.AT_EXTERNAL)]
    return places


def _statements(info: DebugInfo, pattern: Pattern, nearest: bool, tok: Token) -> list[Place]:
    try:
        return statements(info, pattern, nearest)
    except NoLines as problem:
        near = " or ".join(f":{line}" for line in problem.near)
        where = f"{pattern.file}:{problem.line}"
        raise bad_point(
            f"no line records for {where} [man error::dwarf] (try {near})", tok
        ) from None


def _at(info: DebugInfo, pc: int, names: list[str]) -> list[Place]:
    place = at_address(info, pc) if pc >= 0 else None
    if place is None:
        return []
    if names[0] == "statement":
        row = info.dwarf.lines(place.function.unit()).at(pc)
        if names[-1] == "nearest" and row is not None:
            return [place._replace(pc=row.address)]
        return [place]
    if names[-1] == "return":
        return [place._replace(entry=pc)]
    return [place]


def _label_matches(
    target: Target, info: DebugInfo, elf: Elf, places: list[Place], pattern: str
) -> list[Match]:
    matches = []
    for place, label in labelled(places, pattern):
        offset = elf.file_offset(place.pc)
        if offset is not None:
            uprobe = target.uprobe(offset, place.name)
            text = target.text([f"{place.name}@{place.file}:{place.line}", label])
            matches.append(Match([(text, uprobe)], CodeContext(info, place)))
    return matches
