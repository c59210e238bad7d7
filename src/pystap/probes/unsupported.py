"""Probe points of the language that no family here serves, so that the error can say so."""

from __future__ import annotations

from collections.abc import Iterable

from pystap.lang import ast
from pystap.probes.base import Match, ProbeEnv
from pystap.probes.shapes import bad_point
from pystap.typing import Final

# First component -> what it is, and what may serve instead.
_ROOTS: Final[dict[str, tuple[str, str | None]]] = {
    "java": (
        "probes on Java methods",
        'the virtual machine has marks: process("/.../libjvm.so").mark("method__entry"),'
        " with java -XX:+ExtendedDTraceProbes",
    ),
    "python3": (
        "probes on the variables of Python functions",
        "python.function.entry and python.function.return tell which functions run",
    ),
    "debuginfod": ("programs found by debuginfod", 'name the program: process("/path")'),
}


class Unsupported:
    """Answers with an error."""

    roots = tuple(_ROOTS)

    def resolve(self, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:  # noqa: ARG002
        """Always raises ``DiagnosticError``."""
        what, instead = _ROOTS.get(point.components[0].name, ("such probes", None))
        raise _error(point, 0, what, instead)

    def patterns(self) -> Iterable[str]:
        """None."""
        return ()


def _error(point: ast.ProbePoint, at: int, what: str, instead: str | None) -> Exception:
    return bad_point(f"{what} are not supported", point.components[at].tok, hint=instead)


FAMILY: Final = Unsupported()
