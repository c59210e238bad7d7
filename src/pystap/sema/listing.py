"""``-l`` and ``-L``: the probe points a pattern stands for; and the ``--dump-*`` lists."""

from __future__ import annotations

from collections.abc import Iterable

from pystap.diag.diagnostic import Diagnostics
from pystap.lang import ast
from pystap.lang.source import Source
from pystap.probes.attach import place_text
from pystap.sema.autocast import expand_autocasts
from pystap.sema.declare import declare_file
from pystap.sema.derive import derive_probes
from pystap.sema.dump import signature_of_function
from pystap.sema.elide import Live
from pystap.sema.functions import is_contextual, reach
from pystap.sema.infer import infer_types
from pystap.sema.program import DerivedProbe, FunctionSymbol
from pystap.sema.resolve import resolve_symbols
from pystap.sema.work import Work
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.lang.environment import Environment
    from pystap.options import Options
    from pystap.probes.base import ProbeEnv
    from pystap.sema.tapset import Tapset

_Variables = dict[str, str]


def list_points(
    pattern: str,
    files: list[ast.File],
    tapset: Tapset,
    environment: Environment,
    env: ProbeEnv,
    options: Options,
    diags: Diagnostics,
) -> list[str]:
    """Probe points that ``pattern`` stands for, sorted, each once.

    When there is none ``diags`` tells why; what is wrong with some of many does not matter.
    ``files`` are further scripts (``-E``).  With ``options.listing_vars`` each line goes on with
    the script variables and context variables that all places of that name have; with ``-v``
    places of one name are told apart by their addresses.
    """
    from pystap.lang.parser import parse

    text = f"probe {pattern} {{}}\n"
    problems = Diagnostics()
    tree = parse(Source("<input>", text), environment, problems, tapset.macros)
    work = _work(tapset, env, options, problems)
    work.lists = True
    env.has_feature = None  # what there is to be probed is listed, even where nothing can be
    for each in (*files, tree):
        declare_file(work, each)
    work.pending = [item for item in tree.items if isinstance(item, ast.ProbeDef)]
    derive_probes(work)
    if options.listing_vars and work.probes:
        _infer(work)
    lines: dict[str, _Variables] = {}
    for probe in work.probes:
        if probe.helper:
            continue
        _add_probe(lines, probe, options)
    if not lines:
        for problem in problems.items:
            diags.add(problem)
    return [
        " ".join([name, *(f"{v}:{t}" for v, t in variables.items())])
        for name, variables in sorted(lines.items())
    ]


def probe_types() -> list[str]:
    """The probe point shapes that families know, for ``--dump-probe-types``."""
    from pystap.probes import registry

    return sorted({p for family in registry.families() for p in family.patterns()})


def probe_aliases(tapset: Tapset, verbose: bool) -> list[str]:
    """``alias = points`` for ``--dump-probe-aliases``; with ``verbose`` those with a leading
    underscore, too."""
    from pystap.lang.printer import print_probe_point

    lines = set()
    for tree in tapset.load_all():
        for item in tree.items:
            if isinstance(item, ast.AliasDef):
                points = ", ".join(map(print_probe_point, item.points))
                for name in item.names:
                    if verbose or not name.components[0].name.startswith("_"):
                        lines.add(f"{name.text()} = {points}")
    return sorted(lines)


def functions(
    tapset: Tapset, env: ProbeEnv, options: Options, diags: Diagnostics, verbose: bool
) -> list[str]:
    """``name:type (arg:type, ...)`` for ``--dump-functions``; with ``verbose`` private ones and
    those with a leading ``__``, too, and the marks of embedded ones."""
    work = _work(tapset, env, options, diags)
    for tree in tapset.load_all():
        declare_file(work, tree)
    work.pending.clear()
    for function in work.declared:
        if not is_contextual(work, function):
            reach(work, function, None)
    _infer(work)
    shown = [f for f in work.reached if verbose or not (f.decl.private or f.name.startswith("__"))]
    return sorted({signature_of_function(f) + (_marks(f) if verbose else "") for f in shown})


def _work(tapset: Tapset, env: ProbeEnv, options: Options, diags: Diagnostics) -> Work:
    """Tables for code that is looked at only, hence kept whole."""
    options.unoptimized = True
    return Work(tapset, env, options, diags)


def _infer(work: Work) -> None:
    """Types of everything reached, whatever errors there are."""
    problems, work.diags = work.diags, Diagnostics()
    resolve_symbols(work)
    while work.pending:
        derive_probes(work)
        resolve_symbols(work)
    if not work.diags.errors:
        expand_autocasts(work)
    if not work.diags.errors:
        infer_types(work, Live(work)).finish()
    work.diags = problems


def _add_probe(lines: dict[str, _Variables], probe: DerivedProbe, options: Options) -> None:
    """Enter the points of a probe; variables of points already there are cut to the common."""
    variables = _variables(probe) if options.listing_vars else {}
    for (text, attach), name, chain in zip(probe.match.points, probe.names, probe.chains):
        shown = name if len(chain) > 1 else text
        if options.verbose[1]:
            shown += place_text(attach)
        known = lines.get(shown)
        if known is None:
            lines[shown] = dict(variables)
        else:
            lines[shown] = {v: t for v, t in known.items() if variables.get(v) == t}


def _variables(probe: DerivedProbe) -> _Variables:
    """Script variables with their types, then context variables with their C types."""
    found = {
        local.name: local.type
        for local in probe.locals.values()
        if not local.name.startswith("__")
    }
    return {**found, **dict(probe.match.context.variables())}


def _marks(function: FunctionSymbol) -> str:
    """The marks of an embedded function, e.g. ``/* pure */``."""
    body = function.decl.body
    if not isinstance(body, ast.EmbeddedCode):
        return ""
    return "".join(f" {mark}" for mark in _comments(body.code))


def _comments(code: str) -> Iterable[str]:
    at = code.find("/*")
    while at >= 0:
        end = code.find("*/", at)
        if end < 0:
            return
        yield code[at : end + 2]
        at = code.find("/*", end)
