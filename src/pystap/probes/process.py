"""``process(...)``: functions of user programs by their symbol tables, and process life cycle."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.attach import ProcessEvent, Uprobe
from pystap.probes.base import Match, NoContext, ProbeEnv
from pystap.probes.programs import (
    Program,
    find_programs,
    program_of_command,
    program_of_pid,
)
from pystap.probes.shapes import (
    Arg,
    ShapeMatch,
    bad_point,
    has_wildcard,
    match_shapes,
    point_text,
)
from pystap.probes.unsupported import refuse_unsupported
from pystap.typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pystap.probes.user_functions import Place

_ROOTS: Final = ("process", "process(string)", "process(number)")
_EVENTS: Final[dict[str, Literal["begin", "end", "thread.begin", "thread.end"]]] = {
    "begin": "begin",
    "end": "end",
    "thread.begin": "thread.begin",
    "thread.end": "thread.end",
}
_FUNCTIONS: Final = (
    "function(string)", "function(string).call", "function(string).return",
    "function(string).exported", "function(number)", "function(number).call",
    "function(number).return", "statement(number)",
)  # fmt: skip
# What there is in the language but needs more than symbol tables.
_NEED_DEBUGINFO: Final = (
    "function(string).inline", "function(string).label(string)",
    "function(string).callee(string)", "function(string).callees",
    "function(string).callees(number)", "statement(string)", "statement(string).nearest",
    "statement(number).nearest",
)  # fmt: skip
_SHAPES: Final = tuple(f"{root}.{rest}" for root in _ROOTS for rest in (*_EVENTS, *_FUNCTIONS))
_REFUSED: Final = tuple(f"{root}.{rest}" for root in _ROOTS for rest in _NEED_DEBUGINFO)


class Processes:
    """Probe points in user programs."""

    roots = ("process",)

    def resolve(self, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
        """One match for each program and shape; functions of a program are alike in context."""
        refuse_unsupported(point)
        matches = []
        for found in match_shapes(point, (*_SHAPES, *_REFUSED)):
            if found.shape in _REFUSED:
                if len(point.components) == len(found.args):
                    raise _needs_debuginfo(found, point.components[-1].tok)
                continue
            rest = found.shape.partition(".")[2]
            if rest in _EVENTS:
                matches += _event_matches(found, _EVENTS[rest], point, env)
            else:
                matches += _function_matches(found, point, env)
        return matches

    def patterns(self) -> Iterable[str]:
        """The shapes that can be attached."""
        return _SHAPES


class FunctionContext:
    """A function known by its symbol only: there are no types, so no context variables."""

    def __init__(self, is_return: bool) -> None:
        self._is_return = is_return
        self.share_key: object = ("user function", is_return)

    def key_for(self, used: Collection[str]) -> object:  # noqa: ARG002
        """The same whatever is used."""
        return self.share_key

    def entry(self) -> FunctionContext | None:
        """What the entries of returns see, for ``@entry``."""
        return FunctionContext(False) if self._is_return else None

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """Refuse, and say what to use."""
        instead = "returnval()" if self._is_return else "int_arg(N), pointer_arg(N)"
        raise bad_point(
            f"'{var.name}' needs debuginfo, which is not read for user programs",
            var.tok,
            hint=f"use {instead} and the user_string() family of functions",
        )

    def variables(self) -> list[tuple[str, str]]:
        """None."""
        return []

    def locals(self) -> dict[str, ast.Expr]:
        """None."""
        return {}


def _event_matches(
    found: ShapeMatch,
    edge: Literal["begin", "end", "thread.begin", "thread.end"],
    point: ast.ProbePoint,
    env: ProbeEnv,
) -> list[Match]:
    """Begin and end: of every process, of the target, of one process, or of a program."""
    who = found.args[0]
    if isinstance(who, str):
        programs = find_programs(who, env.sysroot, point.tok)
        return [
            Match(
                [(_text(found, program.name), ProcessEvent(edge, path=program.path))],
                NoContext("process"),
                [program.note] if program.note else [],
            )
            for program in programs
        ]
    target = who is None and (env.target_command is not None or env.target_pid is not None)
    event = ProcessEvent(edge, pid=_checked_pid(who, point.tok), target_only=target)
    return [Match([(found.text(), event)], NoContext("process"))]


def _function_matches(found: ShapeMatch, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
    from pystap.probes.user_functions import find_functions

    names = [part.partition("(")[0] for part in found.shape.split(".")]
    is_return = names[-1] == "return"
    wanted = next(arg for arg in found.args[1:] if arg is not None)
    tok = next(c.tok for c in point.components[1:] if c.arg is not None)
    matches = []
    for program, shown, pid, target in _programs(found.args[0], point, env):
        lenient = isinstance(found.args[0], str) and has_wildcard(found.args[0])
        places, notes = find_functions(program, wanted, names[-1] == "exported", lenient, tok)
        points = [
            (
                _text(found, shown, place),
                Uprobe(program.path, place.offset, place.symbol, is_return, pid, target),
            )
            for place in places
        ]
        if points:
            notes = [program.note, *notes] if program.note else notes
            matches.append(Match(list(points), FunctionContext(is_return), notes))
    return matches


def _programs(
    who: Arg, point: ast.ProbePoint, env: ProbeEnv
) -> list[tuple[Program, Arg, int, bool]]:
    """Programs to probe with the argument to show, the pid, and whether only in the target."""
    if isinstance(who, str):
        programs = find_programs(who, env.sysroot, point.tok)
        return [(program, program.name, 0, False) for program in programs]
    if isinstance(who, int):
        pid = _checked_pid(who, point.tok)
        return [(program_of_pid(pid, point.tok), pid, pid, False)]
    if env.target_pid is not None:
        return [(program_of_pid(env.target_pid, point.tok), None, 0, True)]
    if env.target_command is not None:
        program = program_of_command(env.target_command, env.sysroot, point.tok)
        return [(program, program.name, 0, True)]
    raise bad_point(
        "which program? process without a path needs -c or -x",
        point.tok,
        hint='process("/path/of/program") names one',
    )


def _text(found: ShapeMatch, who: Arg, place: Place | None = None) -> str:
    """The probe point with the program and function it was resolved to."""
    names = [part.partition("(")[0] for part in found.shape.split(".")]
    args = list(found.args)
    args[0] = who
    if place is not None:
        args = [place.symbol if isinstance(arg, str) and i else arg for i, arg in enumerate(args)]
    return point_text(names, args)


def _checked_pid(who: Arg, tok: Token) -> int:
    """0 for no pid; raises when there is no such process."""
    import os

    if who is None:
        return 0
    assert isinstance(who, int)  # the shape says so
    if who <= 0 or not os.path.exists(f"/proc/{who}"):
        raise bad_point(f"no process {who}", tok)
    return who


def _needs_debuginfo(found: ShapeMatch, tok: Token) -> Exception:
    last = found.shape.rpartition(".")[2].partition("(")[0]
    return bad_point(
        f"'.{last}' needs debuginfo, which is not read for user programs",
        tok,
        hint='functions can be probed by name or address: .function("NAME")[.return]',
    )


FAMILY: Final = Processes()
