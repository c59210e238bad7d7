"""``kernel``, ``module`` and ``kprobe``: tracepoints and functions of the kernel."""

from __future__ import annotations

from collections.abc import Iterable

from pystap.diag.diagnostic import DiagnosticError
from pystap.lang import ast
from pystap.probes.base import Match, ProbeEnv
from pystap.probes.shapes import ShapeMatch, match_shapes
from pystap.probes.tracepoints import SHAPES, tracepoint_matches
from pystap.probes.unsupported import refuse_unsupported
from pystap.typing import Final

_RETURNS: Final = ("return", "return.maxactive(number)")
_FUNCTION: Final = (
    "function(string)", "function(string).call", "function(string).exported",
    *(f"function(string).{each}" for each in _RETURNS),
    "function(number)", "function(number).call",
    *(f"function(number).{each}" for each in _RETURNS),
    "statement(number)",
)  # fmt: skip
_FUNCTIONS: Final = (
    *(f"{root}.{rest}" for root in ("kernel", "module(string)") for rest in _FUNCTION),
    "kernel.statement(number).absolute",
    *(
        f"kprobe.{each}.{rest}" if rest else f"kprobe.{each}"
        for each in ("function(string)", "module(string).function(string)")
        for rest in ("", "call", *_RETURNS)
    ),
    "kprobe.statement(number).absolute",
)
# What there is in the language but needs more than symbols and BTF.
_NEED_DEBUGINFO: Final = tuple(
    f"{root}.{rest}"
    for root in ("kernel", "module(string)")
    for rest in (
        "function(string).inline", "function(number).inline", "function(string).label(string)",
        "function(string).callee(string)", "function(string).callee(string).call",
        "function(string).callee(string).return", "function(string).callees",
        "function(string).callees(number)", "statement(string)", "statement(string).nearest",
        "statement(number).nearest",
    )
)  # fmt: skip


class Kernel:
    """Probe points in the kernel and its modules."""

    roots = ("kernel", "module", "kprobe")

    def resolve(self, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
        """Tracepoints by name; functions of one shape together.

        Where a wildcard stands for several shapes it is enough that one of them has a match.
        """
        refuse_unsupported(point)
        matches: list[Match] = []
        problems: list[DiagnosticError] = []
        for found in match_shapes(point, (*SHAPES, *_FUNCTIONS, *_NEED_DEBUGINFO)):
            try:
                matches += _matches(found, point, env)
            except DiagnosticError as error:
                problems.append(error)
        if problems and not matches:
            raise problems[0]
        return matches

    def patterns(self) -> Iterable[str]:
        """The shapes that can be attached."""
        return (*SHAPES, *_FUNCTIONS)


def _matches(found: ShapeMatch, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
    if found.shape in SHAPES:
        return tracepoint_matches(found, point, env)
    from pystap.probes.kernel_functions import function_matches, missing_debuginfo

    if found.shape in _FUNCTIONS:
        return function_matches(found, point, env)
    raise missing_debuginfo(found, point)


FAMILY: Final = Kernel()
