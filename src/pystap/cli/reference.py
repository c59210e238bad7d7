"""``--runtime=reference``: a script run by the interpreter, without a kernel.

Only the session's own probes fire: ``begin``, ``end`` and their kin.
"""

from __future__ import annotations

import sys

from pystap.cli.report import PassReport, complain
from pystap.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystap.backend.reference.interpreter import Result
    from pystap.ir.module import Module


def run_reference(options: Options, name: str, text: str, report: PassReport) -> int:
    """Translate and interpret a script; the exit status."""
    from pystap.backend.reference.environment import Environment
    from pystap.backend.reference.interpreter import Interpreter
    from pystap.cli.passes import Front, translate_to_ir

    front = Front(options)
    made = translate_to_ir(front, name, text, report)
    if isinstance(made, int):
        return made
    front.print_diagnostics(report.verbose[1])
    if options.last_pass == 4:
        complain("The reference runtime has no pass 4.")
        return 1
    report.begin()
    report.say(5, "starting run.")
    environment = Environment(quiet_warnings=options.suppress_warnings)
    result = Interpreter(made[1], environment).run()
    sys.stdout.buffer.write(result.output)
    sys.stdout.buffer.flush()
    if made[1].limits.timing:
        _print_report(made[1], result)
    for message in result.messages:
        complain(message)
    if result.status:
        report.failed(5)
    else:
        report.end(5, "run completed", memory=False)
    return result.status


def _print_report(module: Module, result: Result) -> None:
    """The report of ``-t``; to standard error when standard output is no terminal."""
    from pystap.output.hits import hit_report

    unit = "hits" if module.limits.timing == "hits" else "nsecs"
    text = hit_report(module.probes, result.times, unit, None, ())
    if module.limits.force_tty or sys.stdout.isatty():
        sys.stdout.buffer.write(text.encode("latin-1", "replace"))
        sys.stdout.buffer.flush()
    else:
        complain(text, end="")
