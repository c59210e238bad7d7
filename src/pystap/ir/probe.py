"""Probes and positions: the part of a module that a running session needs too.

Apart from :mod:`pystap.ir.module` so that a warm start does not import the IR.
"""

from __future__ import annotations

from pystap.typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pystap.probes.attach import Attach


class Position(NamedTuple):
    """Where an operation stands in a script, as run-time messages name it."""

    token: str  # "identifier 'x'", "operator '/'"
    file: str
    line: int
    column: int

    def text(self) -> str:
        """``operator '/' at FILE:L:C``."""
        return f"{self.token} at {self.file}:{self.line}:{self.column}"


class Probe(NamedTuple):
    """One resolved probe.

    ``point`` is what pp() gives, ``name`` what pn() gives (the probe point of the script),
    ``origin`` where the handler stands (``FILE:L:C``).  ``handler`` indexes Module.handlers.
    ``condition`` indexes Module.conditions or is -1.
    """

    point: str
    name: str
    handler: int
    attach: Attach
    origin: str
    derivation: tuple[str, ...] = ()
    condition: int = -1

    def function(self) -> str:
        """What ppfunc() gives: the function name in the point, what stands in
        ``function("NAME@...")``, ``statement`` or ``callee``; "" without one."""
        for component in ('.callee("', 'function("', 'statement("'):
            _, found, rest = self.point.partition(component)
            name, quote, _ = rest.partition('"')
            if found and quote:
                return name.partition("@")[0]
        return ""
