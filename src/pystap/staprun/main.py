"""The command ``staprun``: ``staprun [-c CMD | -x PID] [-o FILE] [-b MB] [-w] MODULE.ko``."""

from __future__ import annotations

import os
import sys
import time

from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import NoReturn

_USAGE: Final = (
    "usage: staprun [-v] [-w] [-b MB] [-c CMD | -x PID] [-T SECONDS] [-o FILE] MODULE.ko"
)


def main(words: list[str]) -> int:
    """Run a module; the exit status."""
    from getopt import GetoptError, getopt

    try:
        options, rest = getopt(words, "vwhVb:c:x:T:o:")
        values = dict(options)
        if "-h" in values:
            sys.stdout.write(f"{_USAGE}\n")
            return 0
        if "-V" in values:
            from pystap import __version__

            sys.stdout.write(f"pystap staprun {__version__}\n")
            return 0
        if len(rest) != 1:
            raise GetoptError("one module is needed")
        return _run(rest[0], values)
    except (GetoptError, ValueError) as error:
        _complain(f"staprun: {error}\n{_USAGE}")
        return 1


def _run(path: str, values: dict[str, str]) -> int:
    from pystap.session.output import OutputFileError, open_output
    from pystap.session.target import Command, TargetError, check_pid
    from pystap.staprun.loading import LoadError
    from pystap.staprun.session import ProbeError, Session

    deadline = time.monotonic() + float(values["-T"]) if "-T" in values else None
    target = int(values.get("-x", "0"))
    try:
        if target:
            check_pid(target)
        fd = open_output(values.get("-o"))
        command = Command(values["-c"]) if "-c" in values else None
        session = Session(
            path,
            fd,
            target=command.pid if command else target,
            command=command,
            deadline=deadline,
            megabytes=int(values.get("-b", "1")),
            quiet_warnings="-w" in values,
        )
        return session.run()
    except (LoadError, ProbeError, OutputFileError, TargetError) as error:
        _complain(f"ERROR: {error}")
        return 1


def _complain(text: str) -> None:
    os.write(2, text.encode("utf-8", "surrogateescape") + b"\n")


def command() -> NoReturn:
    """The process."""
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)
