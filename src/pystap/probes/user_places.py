"""Functions, statements and labels of code that has debug information: of programs, and of the
kernel and its modules (:mod:`pystap.probes.kernel_places`)."""

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
from pystap.probes.user_code import (
    CalleeContext,
    CalleeReturnContext,
    CodeContext,
    ReturnContext,
)
from pystap.typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from pystap.debuginfo.debugfiles import DebugInfo
    from pystap.debuginfo.elf import Elf

_WHOLE: Final = ("call", "return", "exported")  # shapes that inlined functions have not


class Code(Protocol):
    """Code to probe in, by what its debug information says."""

    def text(self, args: Iterable[str | int]) -> str:
        """A probe point of the arguments behind the program or module."""
        ...

    def attach(self, place: Place) -> Attach | None:
        """An instruction; None for one that cannot be probed."""
        ...

    def attach_return(self, place: Place) -> Attach | None:
        """The return of a function."""
        ...


class ProgramCode(NamedTuple):
    """The code of a program: ``elf`` is its file."""

    target: Target
    elf: Elf

    def text(self, args: Iterable[str | int]) -> str:
        """A probe point of the arguments behind the program."""
        return self.target.text(args)

    def attach(self, place: Place) -> Attach | None:
        """An instruction; None when it is not in the file."""
        offset = self.elf.file_offset(place.pc)
        return None if offset is None else self.target.uprobe(offset, place.name)

    def attach_return(self, place: Place) -> Attach | None:
        """The return of a function, entered at its beginning."""
        start, body = self.elf.file_offset(place.entry), self.elf.file_offset(place.pc)
        if start is None or body is None:
            return None
        uprobe = self.target.uprobe(start, place.name, True)
        return uprobe if body == start else uprobe._replace(body=body)


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
    code: Code,
    info: DebugInfo,
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
    if "callee" in names or "callees" in names:
        return _callee_matches(code, info, places, names, args)
    places = _of_shape(places, names)
    if names[-1] == "label":
        return _label_matches(code, info, places, str(args[1]))
    return [m for place in places if (m := place_match(code, info, place, names, args))]


def place_match(
    code: Code,
    info: DebugInfo,
    place: Place,
    names: list[str],
    args: Sequence[str | int] = ("",),
) -> Match | None:
    """The match for one place; ``names`` are those of the shape's components.

    None for a place that cannot be probed.
    """
    is_return = "return" in names
    where = code.attach_return(place) if is_return else code.attach(place)
    if where is None:
        return None
    context = ReturnContext(info, place) if is_return else CodeContext(info, place)
    return Match([(_text(code, place, list(args)), where)], context)


_PATTERNS: Final = 'write "FUNCTION", "FUNCTION@FILE", "FUNCTION@FILE:LINE" or "FUNCTION@FILE+N"'


def _callee_matches(
    code: Code,
    info: DebugInfo,
    callers: list[Place],
    names: list[str],
    args: list[str | int],
) -> list[Match]:
    """Entries (or returns) of called functions, that count when they come from the caller."""
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
            for place in _of_shape(callees(info, caller, pattern), names):
                if (caller.entry, place.pc) in seen:
                    continue
                seen.add((caller.entry, place.pc))
                match = _callee_match(code, info, caller, place, names, args)
                if match is not None:
                    below.append(place)
                    matches.append(match)
        callers = below
    return matches


def _callee_match(
    code: Code,
    info: DebugInfo,
    caller: Place,
    place: Place,
    names: list[str],
    args: list[str | int],
) -> Match | None:
    """One function called by another; inlined ones are in it: no need to look who calls."""
    is_return = names[-1] == "return"
    where = code.attach_return(place) if is_return else code.attach(place)
    if where is None:
        return None
    kind = CalleeReturnContext if is_return else CalleeContext
    context = kind(info, place, None if place.inlined else caller)
    return Match([(_callee_text(code, caller, place, names, args), where)], context)


def _callee_text(
    code: Code, caller: Place, place: Place, names: list[str], args: list[str | int]
) -> str:
    """The probe point of one callee; ``callees`` stands for several ``callee``."""
    if "callee" in names:
        return code.text([_place_text(caller), _place_text(place)])
    text = code.text([_place_text(caller), *args[1:]])
    return f'{text[: text.rindex(".callees")]}.callee("{escaped(_place_text(place))}")'


def _place_text(place: Place) -> str:
    return place.name + (f"@{place.file}:{place.line}" if place.file else "")


def _text(code: Code, place: Place, args: list[str | int]) -> str:
    if isinstance(args[0], int):
        return code.text(args)
    return code.text([_place_text(place), *args[1:]])


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


def _label_matches(code: Code, info: DebugInfo, places: list[Place], pattern: str) -> list[Match]:
    matches = []
    for place, label in labelled(places, pattern):
        where = code.attach(place)
        if where is not None:
            text = code.text([f"{place.name}@{place.file}:{place.line}", label])
            matches.append(Match([(text, where)], CodeContext(info, place)))
    return matches
