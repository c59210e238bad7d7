"""Probe points to matches: aliases opened one after the other, then the family asked.

What is found on the way (alias bodies, conditions, names) is kept with each match; making
handlers of it is :mod:`pystap.sema.derive`'s work.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

from pystap.diag.diagnostic import Diagnostic, DiagnosticError
from pystap.lang import ast
from pystap.probes.base import Family, Match
from pystap.records import dataclass
from pystap.sema.aliases import AliasUse, alias_names, find_aliases, has_wildcard
from pystap.sema.work import Alias, Work, home
from pystap.typing import Final, NamedTuple

# Aliases of aliases multiply: a bound on how many a script may open.
MOST_OPENINGS: Final = 10_000


class TooManyOpeningsError(Exception):
    """More aliases were opened than ``MOST_OPENINGS``."""


class Way(NamedTuple):
    """How a script's probe point led here, outermost first."""

    names: tuple[str, ...] = ()  # probe points, as texts
    aliases: tuple[Alias, ...] = ()
    conditions: tuple[ast.Expr, ...] = ()


@dataclass(slots=True, eq=False)
class Found:
    """A match and the way to it; ``names`` holds what pn() gives for each of its points."""

    match: Match
    way: Way
    names: list[str]


def resolve_points(
    work: Work,
    points: list[ast.ProbePoint],
    report: Callable[[ast.ProbePoint, DiagnosticError], None] | None,
    way: Way | None = None,
) -> list[Found]:
    """All matches of a list of probe points.

    ``report`` is called for each point that is neither optional nor resolves (without it, the
    first such error is raised).  Points after a sufficient one (``!``) that resolved are not
    looked at.  Raises ``TooManyOpeningsError``, whether points are optional or not.
    """
    found: list[Found] = []
    for point in points:
        optional = point.optional or point.sufficient
        work.env.optional += optional
        try:
            here = _resolve(work, point, way or Way())
        except DiagnosticError as error:
            if optional:
                continue
            if report is None:
                raise
            report(point, error)
            continue
        finally:
            work.env.optional -= optional
        found += here
        if point.sufficient and here:
            break
    return found


def _resolve(work: Work, point: ast.ProbePoint, way: Way) -> list[Found]:
    """Matches of one point, at least one; raises ``DiagnosticError``."""
    if point.condition is not None:
        way = way._replace(conditions=(*way.conditions, point.condition))
    uses = find_aliases(work, point, way.aliases)
    if not uses and _names_itself(work, point, way):
        raise DiagnosticError(
            Diagnostic(
                "semantic error",
                f"probe alias '{point.text()}' stands for itself",
                point.tok,
            )
        )
    if has_wildcard(point):
        return _resolve_wildcard(work, point, way, uses)
    exact = [use for use in uses if not use.suffix]
    if exact:
        return [f for use in exact for f in _open_alias(work, point, way, use)]
    try:
        matches = _ask_families(work, point)
    except DiagnosticError:
        if not uses:
            raise
        matches = []
    if matches:
        return [_arrive(match, way, point) for match in matches]
    if uses:
        return [f for use in uses for f in _open_alias(work, point, way, use)]
    raise no_match(work, point)


def _names_itself(work: Work, point: ast.ProbePoint, way: Way) -> bool:
    """Whether a point leads back to an alias it comes from, with no family to answer for it."""
    from pystap.probes import registry

    if not way.aliases or registry.family(point.components[0].name) is not None:
        return False
    return bool(find_aliases(work, point, ()))


def _resolve_wildcard(
    work: Work, point: ast.ProbePoint, way: Way, uses: list[AliasUse]
) -> list[Found]:
    """Whatever fits; alternatives that do not resolve are left out unless all do not."""
    found: list[Found] = []
    problems: list[DiagnosticError] = []
    for use in uses:
        try:
            found += _open_alias(work, point, way, use)
        except DiagnosticError as error:
            problems.append(error)
    try:
        found += [_arrive(match, way, point) for match in _ask_families(work, point)]
    except DiagnosticError as error:
        problems.append(error)
    if found:
        return found
    raise problems[0] if problems else no_match(work, point)


def _arrive(match: Match, way: Way, point: ast.ProbePoint) -> Found:
    """The end of the way: a match of ``point`` itself."""
    written = point.text()
    wild = has_wildcard(point) or any(
        isinstance(c.arg, str) and any(w in c.arg for w in "*?[") for c in point.components
    )
    names = list(way.names[:1]) * len(match.points)
    if not names:
        names = [text if wild else written for text, _ in match.points]
    return Found(match, way._replace(names=(*way.names, written)), names)


def _open_alias(work: Work, point: ast.ProbePoint, way: Way, use: AliasUse) -> list[Found]:
    """Matches of the points an alias stands for."""
    work.openings += 1
    if work.openings > MOST_OPENINGS:
        raise TooManyOpeningsError
    inner = way._replace(names=(*way.names, use.text), aliases=(*way.aliases, use.alias))
    points = [_with_suffix(p, use.suffix) for p in use.alias.definition.points]
    found = resolve_points(work, points, None, inner)
    if not found:
        raise DiagnosticError(
            Diagnostic(
                "semantic error",
                "no match",
                point.tok,
                notes=[f"none of the probe points of alias '{use.alias.text()}' exists here"],
            )
        )
    return found


def _with_suffix(point: ast.ProbePoint, suffix: list[ast.PointComponent]) -> ast.ProbePoint:
    if not suffix:
        return point
    return ast.ProbePoint(
        tok=point.tok,
        components=[*point.components, *suffix],
        optional=point.optional,
        sufficient=point.sufficient,
        condition=point.condition,
    )


def _ask_families(work: Work, point: ast.ProbePoint) -> list[Match]:
    """Matches of the families that answer for the first component."""
    from pystap.probes import registry

    root = point.components[0].name
    families: list[Family] = []
    for name in registry.roots() if "*" in root else (root,):
        family = registry.family(name) if root == name or fnmatchcase(name, root) else None
        if family is not None and family not in families:
            families.append(family)
    if not families:
        raise _unknown_root(work, point)
    point = _located(point)
    if len(families) == 1:
        return families[0].resolve(point, work.env)
    matches: list[Match] = []
    for family in families:
        try:
            matches += family.resolve(point, work.env)
        except DiagnosticError:
            continue  # a wildcard need not fit every family
    return matches


def _located(point: ast.ProbePoint) -> ast.ProbePoint:
    """A ``process`` point of a library file below ``PATH/`` with the program it is about.

    ``PATH/usr/bin/x.stp`` is about ``/usr/bin/x``; names without a slash lie in ``/usr/bin``.
    """
    head = point.components[0]
    source = home(head.tok).source
    _, below, file = source.name.rpartition("/PATH/")
    if source.kind != "tapset" or not below or head.name != "process":
        return point
    program = "/" + file.removesuffix(".stp")
    if head.arg is not None:
        if not isinstance(head.arg, str) or "/" in head.arg:
            return point
        program = f"{program.rpartition('/')[0]}/{head.arg}"
    first = ast.PointComponent(name=head.name, arg=program, tok=head.tok)
    return ast.ProbePoint(
        tok=point.tok,
        components=[first, *point.components[1:]],
        optional=point.optional,
        sufficient=point.sufficient,
        condition=point.condition,
    )


def no_match(work: Work, point: ast.ProbePoint) -> DiagnosticError:
    """The error for a well-formed point that nothing answers to."""
    from pystap.diag.suggest import suggest

    root = point.components[0].name
    near = suggest(point.text(), alias_names(work, root))
    hint = f"did you mean {' or '.join(near)}?" if near else None
    return DiagnosticError(Diagnostic("semantic error", "no match", point.tok, hint=hint))


def _unknown_root(work: Work, point: ast.ProbePoint) -> DiagnosticError:
    from pystap.diag.suggest import suggest
    from pystap.probes import registry

    head = point.components[0]
    aliases = alias_names(work, head.name)
    hint = None
    if aliases:
        near = suggest(point.text(), aliases) or aliases[:5]
    else:
        known = {name.partition(".")[0] for name in alias_names(work)} | set(registry.roots())
        near = suggest(head.name, sorted(known))
        if not near:
            hint = "stap --dump-probe-types and --dump-probe-aliases list what there is"
    similar = f" (similar: {', '.join(near)})" if near else ""
    return DiagnosticError(
        Diagnostic("semantic error", f"probe point mismatch{similar}", head.tok, hint=hint)
    )
