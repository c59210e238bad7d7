"""``--runtime=kernel``: C text, a module, and staprun."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from pystap.cli.passes import Front, translate_to_ir
from pystap.cli.report import PassReport, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystap.ir.module import Module
    from pystap.options import Options


def run_kernel(options: Options, name: str, text: str, report: PassReport) -> int:
    """Run the passes up to ``-p``; the exit status."""
    from pystap.backend.kmod.build import BuildError

    front = Front(options)
    made = translate_to_ir(front, name, text, report)
    if isinstance(made, int):
        return made
    source = _print(front, made[1])
    front.print_diagnostics(report.verbose[2])
    if source is None:
        report.failed(3)
        return 1
    if options.last_pass == 3:
        sys.stdout.write(source)
        return 0
    report.begin()
    try:
        module = _build(options, source)
    except BuildError as error:
        for line in error.lines:
            complain(line)
        report.failed(4)
        return 1
    report.end(4, f'compiled C into "{module.name}"', memory=False)
    if options.last_pass == 4:
        sys.stdout.write(f"{module.name if options.module_name else module}\n")
        return 0
    return _run(options, module, report)


def _print(front: Front, module: Module) -> str | None:
    """The C text; None when something cannot be said in it, which is then reported."""
    from pystap.backend.kmod.check import check_module
    from pystap.backend.kmod.source import print_c
    from pystap.diag.diagnostic import DiagnosticError

    try:
        check_module(module)
        return print_c(module)
    except DiagnosticError as error:
        front.diags.add(error.diagnostic)
        return None


def _build(options: Options, source: str) -> Path:
    """The module's file: made now, or earlier from the same text for the same kernel."""
    from hashlib import blake2b
    from tempfile import mkdtemp

    from pystap.backend.kmod.build import RUNTIME, build_directory, build_module, settings
    from pystap.session import cache

    directory = build_directory(options.release or os.uname().release)
    stamps = [cache.stamp(str(path)) for path in sorted(RUNTIME.iterdir())]
    parts = (source, str(directory), cache.stamp(str(directory / "Module.symvers")), stamps,
             options.build_words)  # fmt: skip
    key = blake2b(repr(parts).encode(), digest_size=10).hexdigest()
    name = options.module_name or f"stap_{key}"
    stem = f"{name}_{key}" if options.module_name else name
    kept = Path(cache.directory()) / f"{stem}.ko"
    usable = not options.disable_cache
    if not (usable and not options.poison_cache and kept.is_file()):
        work = Path(mkdtemp(prefix="stap"))
        try:
            made = build_module(source, name, directory, work, settings(options.build_words))
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made, kept)
        finally:
            if options.keep_build:
                complain(f'Keeping temporary directory "{work}"')
            else:
                shutil.rmtree(work, ignore_errors=True)
    if not options.module_name:
        return kept
    return Path(shutil.copyfile(kept, f"{name}.ko"))


def _run(options: Options, module: Path, report: PassReport) -> int:
    """Pass 5: staprun."""
    report.begin()
    report.say(5, "starting run.")
    argv = [*_staprun(), *_words(options), str(module)]
    status = _wait(os.posix_spawn(argv[0], argv, os.environ))
    if options.module_name:
        module.unlink(missing_ok=True)
    if status == 0:
        report.end(5, "run completed", memory=False)
    else:
        report.failed(5)
    return status


def _staprun() -> list[str]:
    """How staprun is called: the command beside this one."""
    chosen = os.environ.get("SYSTEMTAP_STAPRUN")
    if chosen:
        return [chosen]
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "staprun")
    if os.access(beside, os.X_OK):
        return [beside]
    return [sys.executable, "-m", "pystap.staprun"]


def _words(options: Options) -> list[str]:
    """What staprun is told of the command line."""
    words = []
    for letter, value in (
        ("-c", options.cmd),
        ("-x", options.target_pid),
        ("--time-limit", options.timeout),
        ("-o", options.output),
        ("-S", options.rotation),
        ("-b", options.buffer_megabytes),
    ):
        if value is not None:
            words += [letter, str(value)]
    background = "-L" if options.output is None else "-D"
    for letter, given in (
        (background, options.flight_recorder),
        ("-R", not options.module_name),
        ("-w", options.suppress_warnings),
        ("-v", options.verbose[4] > 1),
    ):
        words += [letter] if given else []
    return words


def _wait(pid: int) -> int:
    """The exit status of staprun, to which what would end us is passed on."""

    def forward(number: int, _frame: object) -> None:
        os.kill(pid, number)

    passed_on = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2)
    before = {number: signal.signal(number, forward) for number in passed_on}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it gets its own
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
