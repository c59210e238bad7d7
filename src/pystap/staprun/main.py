"""The command ``staprun``: runs the kernel module in a file, or one that is loaded already."""

from __future__ import annotations

import os
import sys

from pystap.staprun.arguments import USAGE, ArgumentError, Wanted, parse
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from pystap.staprun.daemon import Background
    from pystap.staprun.modulefile import ModuleFile
    from pystap.staprun.request import Request


def main(words: list[str]) -> int:
    """Serve a command line; the exit status."""
    try:
        request = parse(words)
    except Wanted as wanted:
        return _tell(str(wanted))
    except ArgumentError as error:
        _complain(f"staprun: {error}\nTry 'staprun -h' for more information.")
        return 1
    from pystap.session.outfile import OutputFileError
    from pystap.session.target import TargetError
    from pystap.staprun.loading import LoadError
    from pystap.staprun.modulefile import ModuleFileError
    from pystap.staprun.session import ProbeError

    try:
        return _serve(request)
    except BrokenPipeError:
        return 1  # whoever read our output has gone; nobody is there to be told
    except (LoadError, ModuleFileError, ProbeError, OutputFileError, TargetError) as error:
        _complain(f"ERROR: {error}")
        return 1


def _tell(option: str) -> int:
    if option == "-h":
        sys.stdout.write(USAGE)
    else:
        from pystap import __version__

        sys.stdout.write(f"staprun of pystap {__version__}\n")
    return 0


def _serve(request: Request) -> int:
    from pystap.staprun.loading import check_privilege

    if request.action == "delete":
        from pystap.staprun.detached import delete

        check_privilege()
        return delete(request.module)
    if request.action == "attach":
        from pystap.staprun.detached import attach

        check_privilege()
        return _here_or_there(request, lambda there: attach(request, there))
    return _run(request)


def _run(request: Request) -> int:
    from pystap.session.target import check_pid
    from pystap.staprun.loading import check_privilege, check_release
    from pystap.staprun.modulefile import ModuleFile, find_module

    module = ModuleFile(find_module(request.module))
    module.check_settings(request.parameters)
    check_release(module)
    check_privilege()
    if request.target:
        check_pid(request.target)
    return _here_or_there(request, lambda there: _load_and_run(request, module, there))


def _load_and_run(request: Request, module: ModuleFile, there: Background | None) -> int:
    from pystap.session.target import Command
    from pystap.staprun.loading import unique_name
    from pystap.staprun.session import Session

    unique = request.unique and not module.is_signed
    name = unique_name(module.name) if unique else module.name
    command = None if request.command is None else Command(request.command)
    return Session(request, name, command, there).run(module)


def _here_or_there(request: Request, work: Callable[[Background | None], int]) -> int:
    """Do the work, in a daemon if that is wanted."""
    if not request.background:
        return work(None)
    from pystap.staprun.daemon import in_background

    def guarded(there: Background) -> int:
        try:
            return work(there)
        except Exception as error:
            _complain(f"ERROR: {error}")
            return 1

    return in_background(guarded)


def _complain(text: str) -> None:
    os.write(2, text.encode("utf-8", "surrogateescape") + b"\n")


def command() -> NoReturn:
    """The process."""
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)
