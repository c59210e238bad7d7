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
    from collections.abc import Callable

    from pystap.ir.module import Module
    from pystap.options import Options

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def run_kernel(
    options: Options, name: str, text: str, report: PassReport, reason: str = ""
) -> int:
    """Run the passes up to ``-p``; the exit status.  ``reason``: why this runtime was chosen."""
    from pystap.backend.kmod.trees import BuildError, NoTreeError

    if options.last_pass == 5 and _is_foreign(options):
        if not options.suppress_warnings:
            complain("WARNING: kernel release/architecture mismatch with host forces last-pass 4.")
        options.last_pass = 4
    source = translate(options, name, text, report)
    if isinstance(source, int):
        return source
    if options.last_pass == 3:
        report.end(3, "translated to C")
        sys.stdout.write(source)
        return 0
    try:
        module = _build(options, source, report)
        if options.sign_module:
            module = _sign(options, module)
    except BuildError as error:
        if reason and isinstance(error, NoTreeError):
            complain(f"ERROR: only the kernel runtime has {reason}")
        for line in error.lines:
            complain(line)
        report.failed(4)
        return 1
    if options.last_pass == 4:
        sys.stdout.write(f"{module.name if options.module_name else module}\n")
        return 0
    return run_module(options, module, report)


def _is_foreign(options: Options) -> bool:
    """Whether the module is for another kernel than this one (-r)."""
    from pystap.backend.kmod.trees import BuildError, build_directory, release_of

    if not options.release:
        return False
    try:
        return release_of(build_directory(options.release)) != os.uname().release
    except BuildError:
        return False  # pass 4 will tell


def translate(options: Options, name: str, text: str, report: PassReport) -> str | int:
    """Passes 1 to 3: the C text, or the exit status."""
    from pystap.backend.kmod.source import print_c

    module = translate_to_module(options, name, text, report)
    return module if isinstance(module, int) else print_c(module)


def translate_to_module(
    options: Options, name: str, text: str, report: PassReport
) -> Module | int:
    """Passes 1 to 3 but for printing: what C can say, or the exit status."""
    from pystap.backend.kmod.check import check_module
    from pystap.diag.diagnostic import DiagnosticError

    front = Front(options)
    made = translate_to_ir(front, name, text, report)
    if isinstance(made, int):
        return made
    try:
        check_module(made[1])
    except DiagnosticError as error:
        front.diags.add(error.diagnostic)
        front.print_diagnostics(report.verbose[2])
        report.failed(3)
        return 1
    front.print_diagnostics(report.verbose[2])
    made[1].objects = options.object_files()
    made[1].object_libraries = options.libraries
    return made[1]


def _build(options: Options, source: str, report: PassReport) -> Path:
    """Pass 4: the module's file, made now or earlier from the same text for the same kernel."""
    from pystap.backend.kmod.build import cached_name, fill_cache
    from pystap.backend.kmod.trees import build_directory
    from pystap.wholefile import write_whole

    directory = build_directory(options.release or os.uname().release)
    words = options.build_words
    if options.keep_build or options.disable_cache:
        return _build_apart(options, source, directory, report)
    kept = cached_name(source, options.module_name or "", directory, words)
    text = kept.with_suffix(".c")
    write_whole(text, source.encode("latin-1"))
    report.end(3, f'translated to C into "{text}"')
    report.begin()
    if options.poison_cache or not kept.is_file():
        fill_cache(kept, source, directory, words)
        report.end(4, f'compiled C into "{options.module_name or kept.stem}.ko"', memory=False)
    else:
        report.say(4, f"using cached {kept}")
    if not options.module_name:
        return kept
    return Path(shutil.copyfile(kept, f"{options.module_name}.ko"))


def _build_apart(options: Options, source: str, directory: Path, report: PassReport) -> Path:
    """Without the cache: a module with a name (-m) is put here, another stays where it is made."""
    from tempfile import mkdtemp

    from pystap.backend.kmod.build import build_module, script_name

    work = Path(mkdtemp(prefix="stap"))
    name = options.module_name or script_name(source)
    stays = False
    report.end(3, f'translated to C into "{work / name}.c"')
    report.begin()
    try:
        made = build_module(source, name, directory, work, options.build_words)
        report.end(4, f'compiled C into "{made.name}"', memory=False)
        stays = not options.module_name
        return made if stays else Path(shutil.copyfile(made, made.name))
    finally:
        if options.keep_build:
            complain(f'Keeping temporary directory "{work}"')
        elif not stays:
            shutil.rmtree(work, ignore_errors=True)


def _sign(options: Options, module: Path) -> Path:
    """The module with a signature, in place or, if it is the cache's, beside it."""
    from pystap.backend.kmod.signing import SigningError, owner_key, signed
    from pystap.backend.kmod.trees import BuildError
    from pystap.wholefile import write_whole

    try:
        key = owner_key()
        data = signed(module.read_bytes(), key)
    except SigningError as error:
        raise BuildError([f"ERROR: {error}"]) from error
    if key.is_new:
        complain(
            f'Made a key to sign modules with: "{key.private}"\n'
            "For kernels that load signed modules only, enroll it: mokutil --import "
            f"{key.certificate}\n"
            "and restart the machine, whose firmware asks for the password given to mokutil."
        )
    if options.module_name or options.keep_build or options.disable_cache:
        module.write_bytes(data)
        return module
    to = module.with_suffix(".signed.ko")
    write_whole(to, data)
    return to


def run_module(
    options: Options,
    module: Path,
    report: PassReport,
    start: Callable[[list[str]], int] = lambda words: _spawn([*_staprun(), *words]),
) -> int:
    """Pass 5: staprun; ``start`` starts it with words and gives its process id."""
    report.begin()
    report.say(5, "starting run.")
    status = _wait(start([*_words(options), str(module)]))
    if options.disable_cache and not options.module_name and not options.keep_build:
        shutil.rmtree(module.parent, ignore_errors=True)  # which was made for it
    if status == 0:
        report.end(5, "run completed", memory=False)
    else:
        report.failed(5)
    return status


def _spawn(argv: list[str]) -> int:
    """Start staprun, which ends its session when this process is killed."""
    import ctypes

    prctl, own = ctypes.CDLL(None).prctl, os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == own:
            os.execv(argv[0], argv)
    except OSError as error:
        complain(f"ERROR: cannot start '{argv[0]}': {error.strerror}")
    finally:
        os._exit(1)


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
