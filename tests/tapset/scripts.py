"""Scripts translated as by the command and run by the reference interpreter."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from pystap.backend.reference import Environment, Event, Interpreter, Result, Task
from pystap.cli import passes
from pystap.diag.diagnostic import StageError
from pystap.diag.render import render_all
from pystap.ir.module import Module
from pystap.options import Options


class Refused(Exception):  # noqa: N818
    """The script is wrong; the text is what the user would see."""


def translate(text: str, options: Options | None = None) -> Module:
    """Passes 1 to 3, in guru mode unless there are options.  Raises :class:`Refused`."""
    from pystap.sema.analyze import analyze

    if options is None:
        options = Options()
        options.guru = True
    front = passes.Front(options)
    files = passes.parse_scripts(front, "<input>", text)
    program = None
    if not front.diags.errors:
        with suppress(StageError):  # everything is in the diagnostics then
            program = analyze(files, front.tapset, front.probe_env, options, front.diags)
    if program is None or front.diags.errors:
        raise Refused(render_all(front.diags, color=False, verbose=0))
    return passes._lower(front, program)


def run(
    text: str, events: Iterable[tuple[str, Event]] = (), env: Environment | None = None
) -> Result:
    """Translate and interpret."""
    return Interpreter(translate(text), env).run(events)


_EVENT_FIELDS = ("cpu", "retval", "ip", "user_ip", "sysnr", "sysret", "time_ns")
_TASK_FIELDS = ("pid", "tid", "uid", "gid", "address")
_TUPLES = {"args": "arguments", "funcargs": "funcargs", "sysargs": "sysargs"}


def read_event(line: str, task: Task) -> tuple[str, Event]:
    """An event from a line ``POINT NAME=VALUE ...``; what is not named is as in ``task``."""
    point, *words = line.split()
    event = Event(
        task=Task(task.pid, task.tid, task.execname, task.uid, task.gid, 1, task.address)
    )
    assert event.task is not None
    for word in words:
        name, _, value = word.partition("=")
        if name in _TUPLES:
            setattr(event, _TUPLES[name], tuple(int(v, 0) for v in value.split(",")))
        elif name in _EVENT_FIELDS:
            setattr(event, name, int(value, 0))
        elif name == "us":
            event.time_ns = int(value) * 1000
        elif name == "regs":
            pairs = (pair.split(":") for pair in value.split(","))
            event.registers = {int(number): int(v, 0) for number, v in pairs}
        elif name == "user_mode":
            event.user_mode = value == "1"
        elif name == "execname":
            event.task.execname = value
        elif name in _TASK_FIELDS:
            setattr(event.task, name, int(value, 0))
        else:
            raise ValueError(f"event with {word}")
    return point, event
