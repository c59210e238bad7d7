"""Matching probe points against the shapes a family knows.

A shape is written as ``--dump-probe-types`` shows it, e.g. ``timer.ms(number).randomize(number)``.
Component names of a probe point may hold wildcards; ``**`` stands for one or more components.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.typing import NamedTuple

Arg = int | str | None


class Part(NamedTuple):
    """One component of a shape; ``arg`` is ``number``, ``string`` or empty."""

    name: str
    arg: str


class ShapeMatch(NamedTuple):
    """A shape that a probe point fits, with the argument of each of its components."""

    shape: str
    args: tuple[Arg, ...]

    def names(self) -> list[str]:
        """The names of the components."""
        return [part.name for part in parse_shape(self.shape)]

    def by_name(self) -> dict[str, Arg]:
        """The argument of each component, None where it has none."""
        return dict(zip(self.names(), self.args, strict=True))

    def text(self) -> str:
        """The probe point this stands for, without wildcards in component names."""
        return point_text(self.names(), self.args)


@lru_cache(maxsize=1024)
def parse_shape(shape: str) -> tuple[Part, ...]:
    """The components of a shape."""
    parts = []
    for piece in shape.split("."):
        name, _, arg = piece.partition("(")
        parts.append(Part(name, arg.rstrip(")")))
    return tuple(parts)


def point_text(names: Sequence[str], args: Sequence[Arg]) -> str:
    """A probe point as pp() gives it."""
    pieces = []
    for name, arg in zip(names, args, strict=True):
        if arg is None:
            pieces.append(name)
        elif isinstance(arg, int):
            pieces.append(f"{name}({arg})")
        else:
            pieces.append(f'{name}("{escaped(arg)}")')
    return ".".join(pieces)


def escaped(text: str) -> str:
    """The text of a string literal, its quotes and backslashes escaped."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def has_wildcard(text: str) -> bool:
    """Whether a pattern could stand for more than itself."""
    return any(c in text for c in "*?[")


def match_shapes(point: ast.ProbePoint, shapes: Iterable[str]) -> list[ShapeMatch]:
    """All shapes that fit, in the order given.

    Raises ``DiagnosticError`` at the first component that no shape allows.
    """
    shapes = list(shapes)
    found = []
    for shape in shapes:
        args = _fit(point.components, parse_shape(shape))
        if args is not None:
            found.append(ShapeMatch(shape, args))
    if not found:
        raise _mismatch(point, shapes)
    return found


def _fit(
    components: Sequence[ast.PointComponent], parts: Sequence[Part]
) -> tuple[Arg, ...] | None:
    """Arguments for each part when the components fit all of them."""
    if not components:
        return () if not parts else None
    if not parts:
        return None
    head = components[0]
    if head.name == "**" and head.arg is None:
        return _fit_any(components, parts)
    if not _fits(head, parts[0]):
        return None
    rest = _fit(components[1:], parts[1:])
    return None if rest is None else (head.arg, *rest)


def _fit_any(
    components: Sequence[ast.PointComponent], parts: Sequence[Part]
) -> tuple[Arg, ...] | None:
    for taken in range(1, len(parts) + 1):
        if parts[taken - 1].arg:
            return None
        rest = _fit(components[1:], parts[taken:])
        if rest is not None:
            return (*([None] * taken), *rest)
    return None


def _fits(component: ast.PointComponent, part: Part) -> bool:
    return _arg_kind(component.arg) == part.arg and name_fits(part.name, component.name)


def name_fits(name: str, pattern: str) -> bool:
    """Whether a component name matches a pattern, by shell rules."""
    return name == pattern or (has_wildcard(pattern) and fnmatchcase(name, pattern))


def _arg_kind(arg: Arg) -> str:
    if arg is None:
        return ""
    return "number" if isinstance(arg, int) else "string"


def _mismatch(point: ast.ProbePoint, shapes: list[str]) -> Exception:
    """Why nothing fits: the first component that is wrong and what could stand there."""
    from pystap.probes.base import malformed

    components = point.components
    alive = [parse_shape(shape) for shape in shapes]
    for index, component in enumerate(components):
        named = [p for p in alive if len(p) > index and name_fits(p[index].name, component.name)]
        fitting = [p for p in named if _fits(component, p[index])]
        if fitting:
            alive = fitting
            continue
        if named:
            return _bad_argument(component, {p[index].arg for p in named})
        return malformed(point, component.tok, _followers(alive, index))
    return malformed(point, components[-1].tok, _followers(alive, len(components)), ends=True)


def _followers(shapes: Iterable[tuple[Part, ...]], index: int) -> list[str]:
    """What the shapes have at ``index``, without repetition."""
    texts = []
    for parts in shapes:
        if len(parts) > index:
            part = parts[index]
            text = f"{part.name}({part.arg})" if part.arg else part.name
            if text not in texts:
                texts.append(text)
    return texts


def _bad_argument(component: ast.PointComponent, wanted: set[str]) -> Exception:
    kinds = " or ".join(f"a {kind}" if kind else "no argument" for kind in sorted(wanted))
    return bad_point(f"'{component.name}' in a probe point takes {kinds}", component.tok)


def component_tok(point: ast.ProbePoint, index: int) -> Token:
    """Where a component of the shape is written: ``**`` may stand for it, being the last one."""
    return point.components[min(index, len(point.components) - 1)].tok


def bad_point(message: str, tok: Token, hint: str | None = None) -> Exception:
    """A ``DiagnosticError`` about a probe point."""
    from pystap.diag.diagnostic import Diagnostic, DiagnosticError

    return DiagnosticError(Diagnostic("semantic error", message, tok, hint=hint))
