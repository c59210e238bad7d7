"""Pass 2: the list of its passes."""

from __future__ import annotations

from pystap.diag.diagnostic import Diagnostics, StageError
from pystap.lang import ast
from pystap.sema.autocast import expand_autocasts
from pystap.sema.autoprint import add_displays
from pystap.sema.conditions import resolve_conditions
from pystap.sema.declare import declare_file
from pystap.sema.derive import derive_probes
from pystap.sema.elide import Live, elide, note_variables
from pystap.sema.fold import fold_constants
from pystap.sema.globals import check_declarations, settle_initial_values
from pystap.sema.guru import check_guru
from pystap.sema.infer import infer_types
from pystap.sema.iteration import check_iteration
from pystap.sema.patterns import check_patterns
from pystap.sema.places import check_places
from pystap.sema.prints import check_prints
from pystap.sema.program import Program
from pystap.sema.recursion import note_recursion
from pystap.sema.resolve import reach_user_functions, resolve_symbols
from pystap.sema.stats import note_stats
from pystap.sema.together import check_together
from pystap.sema.work import Work
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.options import Options
    from pystap.probes.base import ProbeEnv
    from pystap.sema.tapset import Tapset


def analyze(
    files: list[ast.File], tapset: Tapset, env: ProbeEnv, options: Options, diags: Diagnostics
) -> Program:
    """Analyse a parsed script with what it uses of the tapset.

    Errors and warnings go to ``diags``; after errors :class:`StageError` is raised.
    """
    work = Work(tapset, env, options, diags)
    for tree in files:
        declare_file(work, tree)
    _reach_everything(work)
    if not work.probes and not diags.errors:
        work.error("no probes found", None)
    _stop_on_errors(work)

    expand_autocasts(work)
    _reach_everything(work)  # functions that print members
    _stop_on_errors(work)
    check_places(work)
    check_guru(work)
    check_declarations(work)
    check_together(work)
    _stop_on_errors(work)

    live = _optimize(work)
    check_prints(work, live)
    check_patterns(work, live)
    check_iteration(work, live)
    _stop_on_errors(work)

    inference = infer_types(work, live)
    settle_initial_values(work, inference)
    add_displays(work, live, inference)
    inference.finish()
    note_stats(work, live)
    note_recursion(live)
    _stop_on_errors(work)
    return Program(
        globals=note_variables(work, live),
        functions=[f for f in work.reached if options.unoptimized or f in set(live.functions)],
        probes=work.probes,
        embedded=work.embedded,
        used_files=tapset.used_files,
    )


def _reach_everything(work: Work) -> None:
    """Derive probes and resolve names until no new file, probe or function turns up."""
    while True:
        derive_probes(work)
        resolve_symbols(work)
        if not work.pending:
            reach_user_functions(work)
            resolve_conditions(work)
        if not work.pending and not work.bodies:
            return


def _optimize(work: Work) -> Live:
    """Fold constants and drop what has no effect, unless that is switched off."""
    if not work.options.unoptimized:
        for owner in work.owners():
            if owner.body is not None:
                fold_constants(owner.body)
    live = elide(work)
    if not work.probes:
        work.error("no probes found", None, hint="every probe was without effect")
        _stop_on_errors(work)
    return live


def _stop_on_errors(work: Work) -> None:
    if work.diags.errors:
        raise StageError
