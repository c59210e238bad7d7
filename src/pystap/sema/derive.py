"""Handlers from probe definitions: bodies assembled, context variables expanded, twins merged."""

from __future__ import annotations

from collections.abc import Sequence

from pystap.diag.diagnostic import Diagnostic, DiagnosticError, Diagnostics
from pystap.lang import ast
from pystap.lang.visit import clone, iter_children, transform, walk
from pystap.probes.base import Context, Match
from pystap.sema.fold import number
from pystap.sema.functions import find_functions, is_contextual
from pystap.sema.points import MOST_OPENINGS, Found, TooManyOpeningsError, resolve_points
from pystap.sema.program import DerivedProbe
from pystap.sema.targets import CONTEXTUAL_OPERATORS, TargetExpander
from pystap.sema.work import Alias, Body, Work
from pystap.typing import Any


def derive_probes(work: Work) -> None:
    """Turn the pending probe definitions into probes; their bodies wait to be resolved."""
    while work.pending:
        definition = work.pending.pop(0)

        def report(point: ast.ProbePoint, error: DiagnosticError) -> None:
            cause = error.diagnostic
            outer = Diagnostic(
                "semantic error", "while resolving probe point", point.tok, causes=[cause]
            )
            work.diags.add(outer)

        try:
            found = resolve_points(work, definition.points, report)
        except TooManyOpeningsError:
            message = f"aliases lead to more than {MOST_OPENINGS} other aliases"
            work.error(message, definition.points[0].tok)
            continue
        groups = _groups(work, definition, found)
        for group in groups:
            where = group[0].match.points[0][0] if len(groups) > 1 else ""
            derive = _derive_spare if all(item.match.spare for item in group) else _derive_group
            derive(work, definition, group, where)


def _groups(work: Work, definition: ast.ProbeDef, found: list[Found]) -> list[list[Found]]:
    """Matches that can share one handler: same alias bodies and conditions, and contexts in
    which what the handler uses is alike."""
    if len(found) == 1 and found[0].match.parts is None:
        return [found]
    groups: dict[object, list[Found]] = {}
    used_by_aliases: dict[tuple[int, ...], _Used] = {}
    for item in found:
        aliases = tuple(id(alias.definition) for alias in item.way.aliases)
        used = used_by_aliases.get(aliases)
        if used is None:
            used = used_by_aliases[aliases] = _Used(work, definition, item.way.aliases)
        for part in [item] if used.nothing else _parts(item):
            key = (
                aliases,
                tuple(map(id, item.way.conditions)),
                used.key_in(part.match.context),
                part.match.points[0][1].__class__,
            )
            groups.setdefault(key, []).append(part)
    return list(groups.values())


def _parts(item: Found) -> list[Found]:
    """The parts of a match that differ in context variables."""
    if item.match.parts is None:
        return [item]
    parts = []
    at = 0
    for match in item.match.parts():
        end = at + len(match.points)
        parts.append(Found(match, item.way, item.names[at:end]))
        at = end
    return parts


class _Used:
    """Names that a handler uses with its aliases, as far as they may depend on the context."""

    def __init__(self, work: Work, definition: ast.ProbeDef, aliases: Sequence[Alias]) -> None:
        self._everything = work.lists and work.options.listing_vars
        self._targets: set[str] = set()
        self._names: set[str] = set()
        bodies = [definition.body]
        for alias in aliases:
            bodies += [b for b in (alias.definition.prologue, alias.definition.epilogue) if b]
        for body in bodies:
            self._collect(work, body)

    def _collect(self, work: Work, body: ast.Block) -> None:
        for node in walk(body):
            if isinstance(node, ast.TargetVar):
                self._targets.add(node.name)
            elif isinstance(node, (ast.AtVar, ast.Cast)):
                self._targets.add("@")  # in a program their meaning is the program's
            elif isinstance(node, ast.Name):
                self._names.add(node.name)
            elif isinstance(node, ast.AtOp) and node.name in CONTEXTUAL_OPERATORS:
                self._everything = True
            elif isinstance(node, ast.Call) and not self._everything:
                functions = find_functions(work, node.name, len(node.args), node.tok)
                self._everything = any(is_contextual(work, f) for f in functions)

    @property
    def nothing(self) -> bool:
        """Whether no context variable can be among them."""
        return not self._everything and not self._targets

    def key_in(self, context: Context) -> object:
        """Contexts with equal keys see what is used in the same way."""
        if self._everything:
            return context.share_key
        offered = context.locals() if self._names else {}
        return context.key_for(self._targets | (self._names & offered.keys()))


def _derive_spare(work: Work, definition: ast.ProbeDef, group: list[Found], where: str) -> None:
    """The same for places that are left out when the handler does not fit them."""
    diags, work.diags = work.diags, Diagnostics()
    before = len(work.probes), len(work.bodies), set(work.bad_places)
    _derive_group(work, definition, group, where)
    problems, work.diags = work.diags, diags
    if not problems.errors:
        diags.items += problems.items
        return
    del work.probes[before[0] :], work.bodies[before[1] :]
    work.bad_places = before[2]
    first = problems.errors[0]
    count = sum(len(item.match.points) for item in group)
    more = f" and {count - 1} more" if count > 1 else ""
    text = f"not probed: {group[0].match.points[0][0]}{more}: {first.message}"
    diags.warn(text, first.token)


def _derive_group(work: Work, definition: ast.ProbeDef, group: list[Found], where: str) -> None:
    """One probe for all matches of a group; ``where`` names it in errors if there are more."""
    first = group[0]
    match = first.match
    if len(group) > 1:
        points = [point for item in group for point in item.match.points]
        notes = [note for item in group for note in item.match.notes]
        match = Match(points, match.context, list(dict.fromkeys(notes)))
    names = [name for item in group for name in item.names]
    chains = [list(reversed(item.way.names)) for item in group for _ in item.names]
    body = _assemble(definition, first.way.aliases)
    _set_family_locals(match.context, body, everything=work.lists)
    _set_guard(match.context, body)
    probe = DerivedProbe(match, definition, names[0], chains[0], body, names=names, chains=chains)
    probe.conditions = list(first.way.conditions)
    expander = TargetExpander(work, match.context, where)
    try:
        expander.expand_body(body)
    except DiagnosticError as error:
        work.diags.add(error.diagnostic)
        return
    if expander.entry is not None:
        expander.entry.finish(probe, [item.match for item in group])
    work.probes.append(probe)
    work.bodies.append(Body(body, probe, match.context))


def _assemble(definition: ast.ProbeDef, aliases: Sequence[Alias]) -> ast.Block:
    """The handler: prologues (innermost alias first), the script's body, epilogues."""
    body = clone(definition.body)
    for alias in aliases:
        prologue = _alias_block(alias.definition.prologue, body)
        epilogue = _alias_block(alias.definition.epilogue, body)
        parts = [part for part in (prologue, body, epilogue) if part is not None]
        if len(parts) > 1:
            body = ast.Block(tok=definition.body.tok, body=list(parts))
    return body


def _alias_block(block: ast.Block | None, inner: ast.Block) -> ast.Block | None:
    """A copy of an alias body with ``@probewrite`` answered for the handler it goes with."""
    if block is None or not block.body:
        return None
    copy = clone(block)
    if any(isinstance(n, ast.AtOp) and n.name == "probewrite" for n in walk(copy)):
        written = _written_texts(inner)

        def answer(node: ast.Node) -> ast.Node:
            if isinstance(node, ast.AtOp) and node.name == "probewrite":
                return number(
                    int(bool(node.args) and _variable_text(node.args[0]) in written), node
                )
            return node

        transform(copy, answer)
    return copy


def _written_texts(block: ast.Block) -> set[str]:
    """Script and target variables that a body assigns."""
    targets = []
    for node in walk(block):
        if isinstance(node, ast.Assign):
            targets.append(node.target)
        elif isinstance(node, ast.Crement):
            targets.append(node.operand)
    return {text for target in targets if (text := _variable_text(target))}


def _variable_text(expr: ast.Expr) -> str:
    """A variable by name; empty when the expression is none."""
    if isinstance(expr, (ast.Name, ast.TargetVar)):
        return expr.name
    if isinstance(expr, ast.Index):
        return _variable_text(expr.base) if isinstance(expr.base, ast.Name) else ""
    return ""


def _set_family_locals(context: Context, body: ast.Block, everything: bool) -> None:
    """Prepend ``name = value`` for the names a family offers and the body reads."""
    offered = context.locals()
    if not offered:
        return
    read = set(offered) if everything else _read_names(body)
    body.body[:0] = [
        ast.ExprStmt(
            tok=body.tok,
            expr=ast.Assign(
                tok=body.tok,
                op="=",
                target=ast.Name(tok=body.tok, name=name),
                value=clone(value),
            ),
        )
        for name, value in offered.items()
        if name in read
    ]


def _set_guard(context: Context, body: ast.Block) -> None:
    """Leave a handler at once where its family says that the event does not count."""
    holds = context.guard(body.tok)
    if holds is not None:
        fails = ast.Unary(tok=body.tok, type="long", op="!", operand=holds)
        leave = ast.Next(tok=body.tok)
        body.body.insert(0, ast.If(tok=body.tok, cond=fails, then=leave, orelse=None))


def _read_names(body: ast.Block) -> set[str]:
    """Names that occur as scalars, and as more than the target of a plain assignment.

    A name used as an array is the script's own.
    """
    names: set[str] = set()
    arrays: set[str] = set()
    stack: list[Any] = [body]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Name):
            names.add(node.name)
            continue
        if isinstance(node, ast.Assign) and node.op == "=" and isinstance(node.target, ast.Name):
            stack.append(node.value)
            continue
        array: object = None
        if isinstance(node, (ast.Index, ast.Foreach)):
            array = node.base
        elif isinstance(node, ast.ArrayIn):
            array = node.array
        elif isinstance(node, ast.Delete):
            array = node.target
        if isinstance(array, ast.Name):
            arrays.add(array.name)
        stack += iter_children(node)
    return names - arrays
