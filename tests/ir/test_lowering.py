"""Scripts and the IR they become, as data.

Section ``[options]`` has one option a line: ``-D NAME=VALUE``, ``-G NAME=VALUE``, ``optimized``,
``positions`` (print them), ``guru``, ``no-time-limits`` or ``compatible VERSION``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from datadriven import Case, assert_case, load_cases
from pystap.diag.diagnostic import DiagnosticError
from pystap.ir.check import check
from pystap.ir.limits import limits_of
from pystap.ir.lower import passes, translate
from pystap.ir.printer import print_module
from pystap.options import Options

from .frontend import BadScriptError, make_options, module_of, program_of

DATA = Path(__file__).parent / "data"


def options_of(case: Case) -> Options:
    """Options of a case."""
    options = make_options()
    for line in case.get("options").split("\n"):
        word, _, rest = line.partition(" ")
        match word:
            case "-D" | "-G":
                name, _, value = rest.partition("=")
                (options.defines if word == "-D" else options.global_inits)[name] = value
            case "optimized":
                options.unoptimized = False
            case "guru":
                options.guru = True
            case "no-time-limits":
                options.suppress_time_limits = True
            case "compatible":
                options.compatible = rest
            case "" | "positions":
                pass
            case _:
                raise ValueError(f"{case}: option {line}")
    return options


@pytest.mark.parametrize("case", load_cases(DATA), ids=str)
def test_script(case: Case) -> None:
    try:
        module = module_of(case.input, options_of(case))
    except BadScriptError as error:
        raise AssertionError(f"{case}: {error}") from error
    except DiagnosticError as error:
        d = error.diagnostic
        place = d.token.location() if d.token else "nowhere"
        assert_case(case, "\n".join([f"{d.severity}: {d.message} at {place}", *d.notes]))
        return
    assert check(module) == []
    assert_case(case, print_module(module, positions="positions" in case.get("options")))


@pytest.mark.parametrize("case", load_cases(DATA), ids=str)
def test_every_pass_leaves_a_consistent_module(case: Case) -> None:
    options = options_of(case)
    try:
        module = translate(program_of(case.input, options), options, limits_of(options))
    except DiagnosticError:
        return  # a case of a refused construct
    assert check(module, finished=False) == []
    for run in passes(options):
        run(module)
        assert check(module, finished=False) == []
