"""The ``stap`` command: options, then the passes, then the exit status."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from pystap.cli.parse import EarlyExit, UsageError, parse
from pystap.cli.report import NeedsModule, PassReport, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pystap.options import Options
    from pystap.session.cache import Entry


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``stap`` with the given arguments (default: the process's); the exit status."""
    # What a start makes stays; looking through it for garbage again and again costs 10 ms.
    gc.set_threshold(100_000)
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
    except UsageError as error:
        complain(f"stap: {error}\nTry 'stap --help' for more information.")
        return 1
    except EarlyExit as request:
        from pystap.cli.requests import serve

        return serve(request.action)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except MemoryError:
        complain("ERROR: out of memory")
        return 1


def command() -> NoReturn:
    """The process ``stap``: :func:`main`, then out at once.

    Taking the interpreter and LLVM down takes longer than all of a cached session.
    """
    status = main()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed, or nobody reads it
            status = status or 1
    os._exit(status)


def _run(options: Options) -> int:
    if options.listing is not None:
        from pystap.cli.listing import list_points

        return list_points(options)
    from pystap.cli.script import ScriptError, read_script

    try:
        name, text = read_script(options)
    except ScriptError as error:
        complain(str(error))
        return 1
    report = PassReport(options.verbose)
    if options.runtime == "reference":
        from pystap.cli.reference import run_reference

        return run_reference(options, name, text, report)
    if options.runtime == "kernel":
        from pystap.cli.kernel import run_kernel

        return run_kernel(options, name, text, report)
    try:
        entry = _translated(options, name, text, report)
    except NeedsModule as reason:
        from pystap.cli.kernel import run_kernel

        report.say(3, f"changing to the kernel runtime, only it has {reason}")
        options.runtime = "kernel"
        return run_kernel(options, name, text, report, str(reason))
    if isinstance(entry, int):
        return entry
    if options.last_pass == 4:
        from pystap.cli.product import print_product

        return print_product(options, entry)
    from pystap.cli.run import run_artifact

    if options.release and not _is_here(options):
        complain(f"ERROR: -r {options.release}: another kernel runs here; -p4 is the last pass")
        report.failed(5)
        return 1
    return run_artifact(options, entry, report)


def _is_here(options: Options) -> bool:
    """Whether the kernel that ``-r`` names is the one that runs."""
    from pystap.debuginfo.kernelfiles import release_of

    return release_of(options.release)[0] == os.uname().release


def _translated(options: Options, name: str, text: str, report: PassReport) -> Entry | int:
    """A cache entry for the script, made now or earlier; or an exit status."""
    from pystap.session import cache

    usable = not options.disable_cache and options.last_pass >= 4
    key = cache.key(options, text) if usable else ""
    if usable and not options.poison_cache:
        entry = cache.load(key)
        if entry is not None:
            report.cached(entry)
            for warning in entry.warnings:
                complain(warning, end="")
            return entry
    entry_or_status = _translate(options, name, text, report)
    if isinstance(entry_or_status, int) or not usable:
        return entry_or_status
    if not _is_of_process(entry_or_status, options):
        cache.store(key, entry_or_status)
    return entry_or_status


def _translate(options: Options, name: str, text: str, report: PassReport) -> Entry | int:
    """Passes 1 to 4, while LLVM is being loaded if they are to come to it."""
    if options.last_pass < 4:
        from pystap.cli.passes import translate

        return translate(options, name, text, report)
    from pystap.backend.llvm import binding

    binding.preload()
    try:
        from pystap.cli.passes import translate

        return translate(options, name, text, report)
    finally:
        binding.settle()


def _is_of_process(entry: Entry, options: Options) -> bool:
    """Whether a translation looked at a process by its number, which others may get later."""
    from pystap.probes.attach import of_target, pid_of

    attached = [probe.attach for probe in entry.artifact.probes]
    by_target = options.target_pid is not None and any(map(of_target, attached))
    return by_target or any(map(pid_of, attached))


if __name__ == "__main__":
    command()
