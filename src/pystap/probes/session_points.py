"""Session events: ``begin``, ``end``, ``error`` (each with an order), ``init`` and ``never``."""

from __future__ import annotations

from collections.abc import Iterable

from pystap.lang import ast
from pystap.probes.attach import SessionEvent
from pystap.probes.base import Match, NoContext, ProbeEnv
from pystap.probes.shapes import ShapeMatch, match_shapes
from pystap.typing import Final, Literal

_SHAPES: Final = (
    "begin", "begin(number)", "end", "end(number)", "error", "error(number)", "init", "never",
)  # fmt: skip

_KINDS: Final[dict[str, Literal["begin", "end", "error", "init", "never"]]] = {
    "begin": "begin",
    "end": "end",
    "error": "error",
    "init": "init",
    "never": "never",
}


class SessionPoints:
    """Points of the session itself."""

    roots = ("begin", "end", "error", "init", "never")

    def resolve(self, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:  # noqa: ARG002
        """One match for each shape (several only with wildcards)."""
        return [_match(found) for found in match_shapes(point, _SHAPES)]

    def patterns(self) -> Iterable[str]:
        """The shapes themselves."""
        return _SHAPES


def _match(found: ShapeMatch) -> Match:
    kind = found.names()[0]
    order = found.args[0]
    attach = SessionEvent(_KINDS[kind], order if isinstance(order, int) else 0)
    return Match([(found.text(), attach)], NoContext("session"))


FAMILY: Final = SessionPoints()
