"""Passes 1 to 4: from script text to a cache entry, stopping where ``-p`` says."""

from __future__ import annotations

import os
import sys

from pystap.cli.report import NeedsModule, PassReport, analysis_text, complain, counted
from pystap.diag.diagnostic import Diagnostic, DiagnosticError, Diagnostics, StageError
from pystap.lang import ast
from pystap.lang.source import Source
from pystap.options import Options
from pystap.session.cache import Entry, stamps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystap.backend.bpf.artifact import Artifact
    from pystap.debuginfo.btffile import BtfMissing
    from pystap.ir.module import Module
    from pystap.probes.base import ProbeEnv
    from pystap.sema.program import Program


class Front:
    """What passes 1 and 2 work with: the environment they ask and what they reported."""

    def __init__(self, options: Options) -> None:
        from pystap.cli.environment import index_directory, make_environment, make_probe_env
        from pystap.sema.tapset import Tapset

        self.options = options
        self.diags = Diagnostics()
        self.environment = make_environment(options)
        self.tapset = Tapset(
            self.environment,
            self.diags,
            options.tapset_dirs,
            cache_dir=index_directory(),
        )
        self.probe_env: ProbeEnv = make_probe_env(options, self.diags)

    def parse(self, source: Source) -> ast.File:
        from pystap.lang.parser import parse

        return parse(source, self.environment, self.diags, self.tapset.macros)

    def print_diagnostics(self, verbose: int) -> list[str]:
        """Print everything reported so far; the texts of the warnings, for the cache."""
        from pystap.diag.render import render_all, use_color

        color = use_color(self.options.color)
        diags = self.diags
        if self.options.suppress_warnings:
            diags.items = diags.errors
        text = render_all(diags, color=color, verbose=verbose)
        if text:
            complain(text, end="")
        return [text] if text and not diags.errors else []

    def failed(self) -> bool:
        """Whether errors (or warnings, under -W) were reported."""
        if self.diags.errors:
            return True
        return self.options.warnings_are_errors and bool(self.diags.warnings)


def translate(options: Options, name: str, text: str, report: PassReport) -> Entry | int:
    """Run passes 1 to 4.  The entry for the cache, or the exit status of a run that ended."""
    front = Front(options)
    made = translate_to_ir(front, name, text, report)
    if isinstance(made, int):
        return made
    program, module = made
    warnings = front.print_diagnostics(report.verbose[1])
    report.begin()
    artifact = _compile(module, front, report)
    if artifact is None:
        return 1
    report.end(4, f'compiled BPF into "{options.module_name or "stap"}.bo"', memory=False)
    for note in artifact.notes:
        report.say(4, note)
    return Entry(artifact, warnings, _counts(program), stamps(_files(front, artifact)))


def translate_to_ir(
    front: Front, name: str, text: str, report: PassReport
) -> tuple[Program, Module] | int:
    """Passes 1 to 3, with what ``-p1`` to ``-p3`` print; or the exit status."""
    options = front.options
    report.begin()
    files = parse_scripts(front, name, text)
    if front.failed():
        front.print_diagnostics(report.verbose[0])
        report.failed(1)
        return 1
    libraries = counted(front.tapset.script_count, "library script")
    report.end(1, f"parsed user script and {libraries}")
    if options.last_pass == 1:
        front.print_diagnostics(report.verbose[0])
        _print_tree(files)
        return 0
    program = _analyze(front, files, report)
    if isinstance(program, int):
        return program
    report.begin()
    try:
        module = _lower(front, program)
    except DiagnosticError as error:
        front.diags.add(error.diagnostic)
        front.print_diagnostics(report.verbose[2])
        report.failed(3)
        return 1
    if options.runtime == "kernel":
        return program, module  # on its way to C, which is this pass's product
    report.end(3, "translated to IR")
    if _needs_module(front, module, report):
        return 1
    if options.last_pass == 3:
        from pystap.ir.printer import print_module

        _write(print_module(module))
        return 0
    return program, module


def _needs_module(front: Front, module: Module, report: PassReport) -> bool:
    """Whether a script needs the kernel-module runtime though another was asked for, which is
    reported; raises NeedsModule when none was."""
    if not (module.has_c or front.options.guru):
        return False
    from pystap.ir.guru import needs_module

    reason = needs_module(module)
    if not reason:
        return False
    if not front.options.runtime:
        raise NeedsModule(reason)
    front.diags.add(
        Diagnostic(
            "semantic error",
            f"only the kernel runtime has {reason}",
            hint="use it: --runtime=kernel",
        )
    )
    front.print_diagnostics(report.verbose[2])
    report.failed(3)
    return True


def parse_scripts(front: Front, name: str, text: str) -> list[ast.File]:
    """Pass 1 of the user script and the -E scripts."""
    sources = [Source(name, text)]
    for number, extra in enumerate(front.options.extra_scripts, 1):
        sources.append(Source(f"<input{number}>", extra))
    files = [front.parse(s) for s in sources]
    if front.options.args and not front.diags.errors:
        from pystap.lang.parser import warn_unused_args

        warn_unused_args(front.environment, front.diags)
    return files


def _analyze(front: Front, files: list[ast.File], report: PassReport) -> Program | int:
    from pystap.debuginfo.btffile import BtfMissing
    from pystap.sema.analyze import analyze

    report.begin()
    program = None
    try:
        program = analyze(files, front.tapset, front.probe_env, front.options, front.diags)
    except DiagnosticError as error:
        front.diags.add(error.diagnostic)
    except StageError:
        pass  # everything is in the diagnostics already
    except BtfMissing as error:
        front.diags.add(missing_btf(error))
    if front.probe_env.debug is not None:
        front.probe_env.debug.save()
    if program is None or front.failed():
        front.print_diagnostics(report.verbose[1])
        report.failed(2)
        return 1
    report.end(2, analysis_text(_counts(program)))
    for note in dict.fromkeys(n for probe in program.probes for n in probe.match.notes):
        report.say(2, note)
    if front.options.last_pass == 2:
        from pystap.sema.dump import dump

        front.print_diagnostics(report.verbose[1])
        _write(dump(program, bool(report.verbose[1])))
        return 0
    return program


def _lower(front: Front, program: Program) -> Module:
    from pystap.ir.limits import limits_of
    from pystap.ir.lower import lower

    options = front.options
    return lower(program, options, limits_of(options), settable=options.runtime == "kernel")


def _compile(module: Module, front: Front, report: PassReport) -> Artifact | None:
    from pystap.backend.bpf.compile import compile_module
    from pystap.backend.bpf.facts import CompileError
    from pystap.cli.environment import kernel_facts
    from pystap.debuginfo.btffile import BtfMissing

    try:
        return compile_module(module, kernel_facts(front.probe_env))
    except DiagnosticError as error:
        front.diags.add(error.diagnostic)
    except CompileError as error:
        front.diags.add(Diagnostic("semantic error", str(error)))
    except BtfMissing as error:
        front.diags.add(missing_btf(error))
    front.print_diagnostics(report.verbose[3])
    report.failed(4)
    return None


def _counts(program: Program) -> tuple[int, int, int, int]:
    probes = sum(len(probe.match.points) for probe in program.probes)
    return (probes, len(program.functions), len(program.embedded), len(program.globals))


def _files(front: Front, artifact: Artifact) -> list[str]:
    """Files whose change makes the translation stale."""
    from pystap.probes.attach import files_of

    probed = set[str]().union(*(files_of(p.attach) for p in artifact.probes))
    opened = front.probe_env.debug
    debug = () if opened is None else opened.files
    return [os.path.realpath(f) for f in (*front.tapset.used_files, *sorted(probed), *debug)]


def _print_tree(files: list[ast.File]) -> None:
    from pystap.lang.printer import print_file

    _write("# parse tree dump\n" + "".join(print_file(f) for f in files))


def _write(text: str) -> None:
    if not text.endswith("\n"):
        text += "\n"
    sys.stdout.buffer.write(text.encode("latin-1", "replace"))
    sys.stdout.buffer.flush()


def missing_btf(error: BtfMissing) -> Diagnostic:
    """The error for a kernel that offers no type information."""
    return Diagnostic(
        "semantic error", f"the kernel offers no BTF type information ({error})", hint=error.hint
    )
