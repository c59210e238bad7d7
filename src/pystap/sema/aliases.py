"""Which probe aliases a probe point means.

A point means an alias when the alias's name fits all of its components, or the first of them:
then what is left is passed on to each of the alias's own points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from pystap.lang import ast
from pystap.sema.declare import declare_file, use_file
from pystap.sema.work import Alias, Work
from pystap.typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pystap.sema.definitions import AliasName


class AliasUse(NamedTuple):
    """An alias a point means.  ``text`` is the point without wildcards: what pn() gives."""

    alias: Alias
    suffix: list[ast.PointComponent]
    text: str


def find_aliases(work: Work, point: ast.ProbePoint, hidden: Sequence[Alias]) -> list[AliasUse]:
    """The aliases ``point`` means but for ``hidden`` ones; loads the files that define them.

    A user's alias hides the library's of the same name; of two that fit a point, one the start
    of the other's name, the longer is meant.
    """
    _load_candidates(work, point)
    names = {id(alias.definition) for alias in hidden}
    found: list[tuple[Alias, int]] = []
    for alias in _same_root(work, point):
        if id(alias.definition) not in names:
            used = _fit(alias.name, point.components)
            if used is not None:
                found.append((alias, used))
    users = {alias.name for alias, _ in found if alias.user}
    found = [(a, used) for a, used in found if a.user or a.name not in users]
    for alias, used in found:
        if used == len(point.components) or "*" not in point.components[0].name:
            use_file(work, alias.definition.tok)
    return [
        AliasUse(alias, point.components[used:], _text(alias, point.components[used:]))
        for alias, used in found
        if used == len(point.components) or not _is_start_of_another(alias.name, found)
    ]


def has_wildcard(point: ast.ProbePoint) -> bool:
    """Whether a component name holds a wildcard."""
    return any("*" in component.name for component in point.components)


def alias_names(work: Work, root: str = "") -> list[str]:
    """Names of the known aliases (those beginning with ``root``), for hints."""
    names = {".".join(name for name, _ in alias) for alias, _ in work.tapset.aliases(root)}
    for first, aliases in work.aliases.items():
        if root in ("", first):
            names |= {".".join(name for name, _ in alias.name) for alias in aliases}
    return sorted(names)


def _load_candidates(work: Work, point: ast.ProbePoint) -> None:
    """Declare every tapset file with an alias that fits."""
    first = point.components[0].name
    for name, number in work.tapset.aliases("" if "*" in first else first):
        if not work.tapset.is_loaded(number) and _fit(name, point.components) is not None:
            declare_file(work, work.tapset.load(number), looked_at="*" in first)


def _same_root(work: Work, point: ast.ProbePoint) -> Iterator[Alias]:
    first = point.components[0].name
    if "*" not in first:
        yield from work.aliases.get(first, ())
        return
    for aliases in work.aliases.values():
        yield from aliases


def _fit(name: AliasName, components: Sequence[ast.PointComponent]) -> int | None:
    """How many components a name takes up, None when it does not fit their beginning."""
    if not name:
        return 0
    if not components:
        return None
    head = components[0]
    if "**" in head.name and head.arg is None:
        for taken in range(1, len(name) + 1):
            joined = ".".join(part for part, _ in name[:taken])
            if fnmatchcase(joined, head.name):
                rest = _fit(name[taken:], components[1:])
                if rest is not None:
                    return rest + 1
        return None
    word, arg = name[0]
    if arg != head.arg or not (
        word == head.name or ("*" in head.name and fnmatchcase(word, head.name))
    ):
        return None
    rest = _fit(name[1:], components[1:])
    return None if rest is None else rest + 1


def _is_start_of_another(name: AliasName, found: list[tuple[Alias, int]]) -> bool:
    return any(
        len(other.name) > len(name) and other.name[: len(name)] == name for other, _ in found
    )


def _text(alias: Alias, suffix: list[ast.PointComponent]) -> str:
    components = [*alias.point().components, *suffix]
    return ast.ProbePoint(tok=alias.definition.tok, components=components).text()
