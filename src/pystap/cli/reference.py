"""``--runtime=reference``: a script run by the interpreter, without a kernel.

Only the session's own probes fire: ``begin``, ``end`` and their kin.
"""

from __future__ import annotations

import sys

from pystap.cli.report import PassReport, complain
from pystap.options import Options


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
    for message in result.messages:
        complain(message)
    if result.status:
        report.failed(5)
    else:
        report.end(5, "run completed", memory=False)
    return result.status
