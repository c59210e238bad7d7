"""The diagnostic value and the collector every stage reports to.

Shapes of the printed text are in :mod:`pystap.diag.render`.
"""

from __future__ import annotations

from pystap.lang.tokens import Token
from pystap.records import dataclass, field
from pystap.typing import Literal

Severity = Literal["parse error", "semantic error", "error", "warning"]


@dataclass(slots=True)
class Diagnostic:
    """What went wrong, where, and what to do.

    ``token`` and ``token2`` are the places shown with source line and caret; ``notes`` are
    detail lines; ``hint`` is the way out ("did you mean ..."); ``causes`` are chained
    diagnostics printed below as blocks of their own; ``saw`` selects the parse-error line that
    names the token seen.
    """

    severity: Severity
    message: str
    token: Token | None = None
    token2: Token | None = None
    notes: list[str] = field(default_factory=list)
    hint: str | None = None
    causes: list[Diagnostic] = field(default_factory=list)
    saw: bool = False
    code: str | None = None


class DiagnosticError(Exception):
    """Raised to leave a stage with one diagnostic; stages that recover collect instead."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


class StageError(Exception):
    """A stage reported errors to its :class:`Diagnostics` and cannot go on."""


class Diagnostics:
    """Collects diagnostics in order; duplicates (same text and place) are counted once."""

    def __init__(self) -> None:
        self.items: list[Diagnostic] = []
        self._seen: set[tuple[str, str, str]] = set()

    def add(self, diagnostic: Diagnostic) -> None:
        """Record one diagnostic unless the same was recorded before."""
        place = diagnostic.token.location() if diagnostic.token else ""
        key = (diagnostic.severity, diagnostic.message, place)
        if key not in self._seen:
            self._seen.add(key)
            self.items.append(diagnostic)

    def warn(self, message: str, token: Token | None = None, hint: str | None = None) -> None:
        """Record a warning."""
        self.add(Diagnostic("warning", message, token, hint=hint))

    @property
    def errors(self) -> list[Diagnostic]:
        """The diagnostics that are not warnings."""
        return [d for d in self.items if d.severity != "warning"]

    @property
    def warnings(self) -> list[Diagnostic]:
        """The warnings."""
        return [d for d in self.items if d.severity == "warning"]
