"""The command line of staprun."""

from __future__ import annotations

import time

from pystap.staprun.outputs import Rotation
from pystap.staprun.request import Request
from pystap.typing import Final

USAGE: Final = """\
Usage: staprun [options] MODULE[.ko] [variable=value ...]   Load a module, run it, remove it.
   or: staprun -A [options] MODULE                          Attach to a module that runs detached.
   or: staprun -d MODULE                                    Remove a detached module ("*": all).

Options:
  -c CMD         start CMD when probes are in place, end when it ends; target() is its pid
  -x PID         set target() to PID, end when it ends
  -o FILE        write output to FILE (strftime conversions are expanded); in bulk mode to
                 FILE_N for CPU N, with -D to FILE_cpuN
  -S SIZE[,N]    write FILE.0, FILE.1 ... of SIZE megabytes at most; keep the last N of them
  -b MB          size of the buffer of each CPU, 1 to 4095 megabytes
  -L             load the module, start it, and leave it alone
  -D             run in the background and print the pid; needs -o
  -R             load the module under a unique name
  -T MS          look at the output at least that often (default 50)
  -w             hide warnings             -v   more verbose
  -h             this text                 -V   version
Signals: SIGINT, SIGTERM and SIGHUP end the session, SIGQUIT detaches, SIGUSR2 goes on in the next
output file.
"""
_LETTERS: Final = "ALuvhb:dc:o:x:N:S:DwRr:VT:C:M:"
_MEGABYTE: Final = 1 << 20
_MOST_MEGABYTES: Final = 4095
_FLAGS: Final = {"-L": "leave", "-D": "background", "-R": "unique", "-w": "quiet"}
_UNSERVED: Final = {
    "-N": "functions of namespaces",
    "-r": "remote sessions",
    "-M": "the monitor mode",
}


class ArgumentError(Exception):
    """A command line that cannot be served; the message says why."""


class Wanted(Exception):  # noqa: N818 - a request, not an error
    """``-h`` or ``-V``."""


def parse(words: list[str]) -> Request:
    """A request from the words after the command's name.  Raises ArgumentError, Wanted."""
    from getopt import GetoptError, gnu_getopt

    try:
        pairs, rest = gnu_getopt(words, _LETTERS, ["time-limit="])
    except GetoptError as error:
        raise ArgumentError(str(error)) from error
    request = Request("")
    for option, value in pairs:
        _apply(request, option, value)
    if not rest:
        raise ArgumentError("a module is needed")
    request.module = rest[0]
    request.parameters += rest[1:]
    _check(request, rest[1:])
    return request


def _apply(request: Request, option: str, value: str) -> None:
    if option in ("-h", "-V"):
        raise Wanted(option)
    if option in _UNSERVED:
        raise ArgumentError(f"{_UNSERVED[option]} ({option}) are not supported")
    if option in _FLAGS:
        setattr(request, _FLAGS[option], True)
        return
    match option:
        case "-A" | "-d":
            action = "attach" if option == "-A" else "delete"
            if request.action not in ("run", action):
                raise ArgumentError("only one of -A and -d can be given")
            request.action = action
        case "-v":
            request.verbose += 1
        case "-c":
            request.command = value
        case "-o":
            request.output = value
        case "-x":
            request.target = _number(value, "-x", 1, 1 << 30)
        case "-b":
            size = _number(value, "-b", 1, _MOST_MEGABYTES)
            request.parameters.append(f"stap_megabytes={size}")
        case "-S":
            request.rotation = rotation(value)
        case "-T":
            request.interval = _number(value, "-T", 1, 1 << 30) / 1000
        case "--time-limit":
            request.deadline = time.monotonic() + _seconds(value)
        case "-C":
            if value not in ("never", "always", "auto"):
                raise ArgumentError(f"-C takes never, always or auto, not '{value}'")
        case "-u":
            pass  # user probes are part of every kernel that this runs on


def rotation(text: str) -> Rotation:
    """``SIZE[,N]`` of ``-S``: megabytes and a number of files."""
    size, comma, count = text.partition(",")
    kept = _number(count, "-S", 1, 1 << 30) if comma else 0
    return Rotation(_number(size, "-S", 1, 1 << 30) * _MEGABYTE, kept)


def _seconds(text: str) -> float:
    from pystap.seconds import read_seconds

    seconds = read_seconds(text)
    if seconds is None:
        raise ArgumentError(f"invalid argument '{text}' for --time-limit (a number of seconds)")
    return seconds


def _number(text: str, option: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        raise ArgumentError(f"invalid argument '{text}' for {option} ({least} to {most})")
    return int(text)


def _check(request: Request, settings: list[str]) -> None:
    if request.command is not None and request.target:
        raise ArgumentError("-c and -x do not go together")
    if request.background and request.output is None:
        raise ArgumentError("-D needs an output file: -o FILE")
    if request.background and request.leave:
        raise ArgumentError("-D and -L do not go together")
    if request.rotation is not None and request.output is None:
        raise ArgumentError("-S needs an output file: -o FILE")
    if request.leave and (request.command is not None or request.deadline is not None):
        raise ArgumentError("what is left alone (-L) has neither a command nor a time limit")
    loads = request.action == "run"
    if not loads and (request.parameters or request.leave or request.unique):
        raise ArgumentError("what is loaded already takes neither -b, -L, -R nor variables")
    if not loads and (request.command is not None or request.target):
        raise ArgumentError("what is loaded already has its target: no -c, no -x")
    for word in settings:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise ArgumentError(f"'{word}' should be VARIABLE=VALUE")
        if any(c in value for c in ' \t\n"!'):
            raise ArgumentError(f"the value of '{name}' cannot hold blanks, quotes and '!'")
