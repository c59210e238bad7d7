"""``process(...)``: places in user programs, and the life cycle of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.attach import ProcessEvent, SyscallEvent
from pystap.probes.base import Context, Match, NoContext, ProbeEnv
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
from pystap.typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pystap.probes.user_places import Target

_ROOTS: Final = ("process", "process(string)", "process(number)")
_EVENTS: Final[dict[str, Literal["begin", "end", "thread.begin", "thread.end"]]] = {
    "begin": "begin",
    "end": "end",
    "thread.begin": "thread.begin",
    "thread.end": "thread.end",
}
_SYSCALLS: Final[dict[str, Literal["enter", "exit"]]] = {
    "syscall": "enter",
    "syscall.return": "exit",
}
_CODE: Final = (
    "function(string)", "function(string).call", "function(string).return",
    "function(string).exported", "function(string).inline", "function(string).label(string)",
    "function(string).callee(string)", "function(string).callee(string).call",
    "function(string).callee(string).return", "function(string).callees",
    "function(string).callees(number)",
    "function(number)", "function(number).call", "function(number).return",
    "statement(string)", "statement(string).nearest",
    "statement(number)", "statement(number).nearest",
)  # fmt: skip
_MARKS: Final = ("mark(string)", "provider(string).mark(string)")
_PLT: Final = ("plt", "plt.return", "plt(string)", "plt(string).return")
_LIBRARY: Final = "library(string)."
_IN_FILES: Final = (*_CODE, *_MARKS, *_PLT)
_SHAPES: Final = tuple(
    f"{root}.{rest}"
    for root in _ROOTS
    for rest in (*_EVENTS, *_SYSCALLS, *_IN_FILES, *(_LIBRARY + rest for rest in _IN_FILES))
)
_WATCHPOINTS: Final = tuple(
    f"process.data({what}.{access}"
    for what in ("number)", "number).length(number)")
    for access in ("write", "rw")
)
_ABSOLUTE: Final = tuple(
    f"process(number).statement(number).absolute{rest}" for rest in ("", ".return")
)


class Processes:
    """Probe points in user programs."""

    roots = ("process",)

    def resolve(self, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
        """One match for each place that has variables of its own, else for each program."""
        matches = []
        shapes = list(match_shapes(point, (*_SHAPES, *_WATCHPOINTS, *_ABSOLUTE)))
        for found in shapes:
            if found.shape in _WATCHPOINTS:
                from pystap.probes.watchpoints import watchpoint_matches

                matches += watchpoint_matches(found, point, env)
                continue
            if found.shape in _ABSOLUTE:
                from pystap.probes.process_addresses import absolute_match

                matches.append(absolute_match(found, point, env))
                continue
            rest = found.shape.partition(".")[2]
            if rest in _EVENTS:
                event = ProcessEvent(_EVENTS[rest])
                matches += _event_matches(found, event, NoContext("process"), point, env)
            elif rest in _SYSCALLS:
                from pystap.probes.process_syscalls import ProcessSyscallContext

                edge = _SYSCALLS[rest]
                context = ProcessSyscallContext(edge)
                matches += _event_matches(found, SyscallEvent(edge), context, point, env)
            else:
                matches += _code_matches(found, point, env, several=len(shapes) > 1)
        return matches

    def patterns(self) -> Iterable[str]:
        """The shapes that can be attached."""
        return (*_SHAPES, *_WATCHPOINTS, *_ABSOLUTE)


def _event_matches(
    found: ShapeMatch,
    event: ProcessEvent | SyscallEvent,
    context: Context,
    point: ast.ProbePoint,
    env: ProbeEnv,
) -> list[Match]:
    """An event of every process, of the target, of one process, or of those of a program."""
    who = found.args[0]
    if isinstance(who, str):
        programs = find_programs(who, env.sysroot, point.tok)
        return [
            Match(
                [(_text(found, program.name), event._replace(path=program.path))],
                context,
                [program.note] if program.note else [],
            )
            for program in programs
        ]
    target = who is None and env.has_target
    event = event._replace(pid=_checked_pid(who, point.tok), target_only=target)
    return [Match([(found.text(), event)], context)]


def _code_matches(
    found: ShapeMatch, point: ast.ProbePoint, env: ProbeEnv, *, several: bool
) -> list[Match]:
    """Matches in code; none is an error unless the point means ``several`` programs or kinds."""
    from pystap.probes.user_functions import function_matches

    shape = found.shape.partition(".")[2]
    in_library = shape.startswith(_LIBRARY)
    shape = shape.removeprefix(_LIBRARY)
    kind = ".".join(found.names()[1 + in_library :])
    args = [arg for arg in found.args[1 + in_library :] if arg is not None]
    behind = point.components[1 + in_library :] or point.components  # "**" may be all there is
    tok = next((c.tok for c in behind if c.arg is not None), behind[0].tok)
    globs = found.args[: 1 + in_library]
    lenient = several or any(isinstance(arg, str) and has_wildcard(arg) for arg in globs)
    matches = []
    for target in _targets(found, in_library, point, env, several=several):
        if shape in _MARKS:
            from pystap.probes.marks import mark_matches

            provider, name = ("*", *args)[-2:]
            here = mark_matches(target, str(provider), str(name), lenient, env, tok)
        elif shape in _PLT:
            from pystap.probes.plt import plt_matches

            pattern = str(args[0]) if args else None
            here = plt_matches(target, pattern, kind.endswith(".return"), lenient, tok)
        else:
            here = function_matches(target, kind, args, lenient, env, tok)
        if here and target.program.note:
            here[0].notes.insert(0, target.program.note)
        matches += here
    return matches


def _targets(
    found: ShapeMatch, in_library: bool, point: ast.ProbePoint, env: ProbeEnv, *, several: bool
) -> Iterator[Target]:
    """The programs, or libraries of programs, that a probe point is about."""
    from pystap.probes.libraries import find_libraries
    from pystap.probes.user_places import Target

    for program, shown, pid, target_only in _programs(found.args[0], point, env):
        if not in_library:
            yield Target(program, pid, target_only, _texts(found, shown))
            continue
        tok = point.components[1].tok
        running = pid or (env.target_pid or 0 if target_only else 0)
        lenient = several or (isinstance(who := found.args[0], str) and has_wildcard(who))
        pattern = str(found.args[1])
        for library in find_libraries(program, pattern, running, env.sysroot, lenient, tok):
            text = _texts(found, shown, library.name)
            user = "" if pid or target_only else program.path
            yield Target(library, pid, target_only, text, user)


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


def _text(found: ShapeMatch, who: Arg) -> str:
    """The probe point with the program it was resolved to."""
    return _texts(found, who)([arg for arg in found.args[1:] if arg is not None])


def _texts(found: ShapeMatch, who: Arg, library: str = "") -> Callable[[Iterable[str | int]], str]:
    """Makes the probe point for the arguments behind the program's (and the library's)."""
    first: list[Arg] = [who, library] if library else [who]
    shaped = found.args[len(first) :]
    names = found.names()

    def text(args: Iterable[str | int]) -> str:
        wanted = sum(arg is not None for arg in shaped)
        given = iter(list(args)[-wanted:])
        rest = [arg if arg is None else next(given) for arg in shaped]
        return point_text(names, [*first, *rest])

    return text


def _checked_pid(who: Arg, tok: Token) -> int:
    """0 for no pid; raises when there is no such process."""
    import os

    if who is None:
        return 0
    assert isinstance(who, int)  # the shape says so
    if who <= 0 or not os.path.exists(f"/proc/{who}"):
        raise bad_point(f"no process {who}", tok)
    return who


FAMILY: Final = Processes()
