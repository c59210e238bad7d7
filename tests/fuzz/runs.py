"""One program on both runtimes, in one child process.

The child translates once as far as the IR, which the interpreter then runs and the eBPF runtime
compiles and runs; what LLVM or a broken program does to the process it does to the child only.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Callable
from functools import cache
from typing import NoReturn

import inprocess
from pystap.backend.bpf.compile import compile_module
from pystap.backend.reference.environment import Environment
from pystap.backend.reference.interpreter import Interpreter
from pystap.cli.environment import kernel_facts
from pystap.cli.main import main
from pystap.cli.parse import parse
from pystap.cli.passes import Front, translate_to_ir
from pystap.cli.report import PassReport, complain
from pystap.cli.run import run_artifact
from pystap.diag.diagnostic import DiagnosticError
from pystap.ir.module import Module
from pystap.session.cache import Entry
from stap import Done

LIMIT = 60.0  # seconds for one program
REFUSED = 71  # the status of a run that a stage before the runtime refused

# Something of all kinds, so that what is made once is made before the first fork.
_WARM_UP = """
global a probe begin { a["x", 1] <<< 1; if ("ab" =~ "(b)") println(matched(1)); exit() }
probe end { foreach ([k-, n] in a) printf("%s %d\\n", k, @count(a[k, n])); error("x") }
"""


def run(
    words: tuple[str, ...], script: str, runtimes: tuple[str, ...], cpus: set[int] | None = None
) -> dict[str, Done]:
    """How the program ends on each runtime (``bpf``, ``reference``), on given CPUs or all.

    A program that translation refuses has that result for every runtime; a crash or a time-out
    is the result (with an exit status that tells) of the runtime that was at work.
    """
    _warm_up()
    files = {r: (os.memfd_create("out"), os.memfd_create("err")) for r in runtimes}
    statuses = os.memfd_create("statuses")
    child = os.fork()
    if child == 0:
        if cpus:
            os.sched_setaffinity(0, cpus)
        _child(words, script, files, statuses)
    try:
        ended = inprocess.wait(child, LIMIT)
        known = inprocess.content(statuses).split()
        codes = [int(code) for code in known] + [ended] * (len(runtimes) - len(known))
        return {
            r: Done(inprocess.content(out), inprocess.content(err), code)
            for (r, (out, err)), code in zip(files.items(), codes)
        }
    finally:
        for descriptor in (statuses, *(d for pair in files.values() for d in pair)):
            os.close(descriptor)


def _child(
    words: tuple[str, ...], script: str, files: dict[str, tuple[int, int]], statuses: int
) -> NoReturn:
    front: Front | None = None
    module: Module | int = 0
    for runtime, (out, err) in files.items():
        status = inprocess.CRASHED
        try:
            inprocess.prepare_child(out, err)
            if front is None:
                options = parse((*words, "-e", ""))
                front, report = Front(options), PassReport(options.verbose)
                module = _translate(front, script, report)
                said = inprocess.content(err)
            else:
                os.write(err, said)
            status = REFUSED if isinstance(module, int) else _RUN[runtime](front, module, report)
        except DiagnosticError as error:
            complain(f"Pass 4: {error.diagnostic.message} failed")
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        os.write(statuses, b"%d\n" % status)
    os._exit(0)


def _translate(front: Front, script: str, report: PassReport) -> Module | int:
    made = translate_to_ir(front, "<input>", script, report)
    if isinstance(made, int):
        return made
    front.print_diagnostics(report.verbose[1])
    return made[1]


def _run_reference(front: Front, module: Module, report: PassReport) -> int:
    environment = Environment(quiet_warnings=front.options.suppress_warnings)
    result = Interpreter(module, environment).run()
    sys.stdout.buffer.write(result.output)
    sys.stdout.buffer.flush()
    for message in result.messages:
        complain(message)
    if result.status:
        report.failed(5)
    return result.status


def _run_bpf(front: Front, module: Module, report: PassReport) -> int:
    artifact = compile_module(module, kernel_facts(front.probe_env))
    return run_artifact(front.options, Entry(artifact, [], (0, 0, 0, 0), {}), report)


_RUN: dict[str, Callable[[Front, Module, PassReport], int]] = {
    "bpf": _run_bpf,
    "reference": _run_reference,
}


@cache
def _warm_up() -> None:
    """Import everything, and do once what is done once."""
    inprocess.warm_up()
    child_out, child_err = os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    try:
        os.dup2(null, 1)
        os.dup2(null, 2)
        main(["-p4", "--disable-cache", "-e", _WARM_UP])
    finally:
        sys.stdout.flush()
        os.dup2(child_out, 1)
        os.dup2(child_err, 2)
        for descriptor in (child_out, child_err, null):
            os.close(descriptor)
    gc.collect()
    gc.freeze()  # what is there now is shared with the children and need not be looked at
