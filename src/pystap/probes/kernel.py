"""``kernel``, ``module`` and ``kprobe``: tracepoints and code of the kernel."""

from __future__ import annotations

from collections.abc import Iterable

from pystap.diag.diagnostic import DiagnosticError
from pystap.lang import ast
from pystap.probes.base import Match, ProbeEnv
from pystap.probes.shapes import ShapeMatch, match_shapes
from pystap.probes.tracepoints import SHAPES, tracepoint_matches
from pystap.typing import Final

HOOK_SHAPE: Final = "kernel.lsm(string)"
WATCHPOINT_SHAPES: Final = tuple(
    f"kernel.data({what}.{access}"
    for what in ("number)", "number).length(number)", "string)")
    for access in ("write", "rw")
)
_RETURNS: Final = ("return", "return.maxactive(number)")
_FUNCTION: Final = (
    "function(string)", "function(string).call", "function(string).exported",
    *(f"function(string).{each}" for each in _RETURNS),
    "function(number)", "function(number).call", "function(number).exported",
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
# What only debug information tells.
_IN_SOURCE: Final = tuple(
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
_FURTHER: Final = (HOOK_SHAPE, *WATCHPOINT_SHAPES)


class Kernel:
    """Probe points in the kernel and its modules."""

    roots = ("kernel", "module", "kprobe")

    def resolve(self, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
        """Tracepoints by name; functions of one shape together.

        Where a wildcard stands for several shapes it is enough that one of them has a match.
        """
        matches: list[Match] = []
        problems: list[DiagnosticError] = []
        for found in match_shapes(point, (*SHAPES, *_FUNCTIONS, *_IN_SOURCE, *_FURTHER)):
            try:
                matches += _matches(found, point, env)
            except DiagnosticError as error:
                problems.append(error)
        if problems and not matches:
            raise problems[0]
        return matches

    def patterns(self) -> Iterable[str]:
        """The shapes that can be attached."""
        return (*SHAPES, *_FUNCTIONS, *_IN_SOURCE, *_FURTHER)


def _matches(found: ShapeMatch, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
    if found.shape in SHAPES:
        return tracepoint_matches(found, point, env)
    if found.shape == HOOK_SHAPE:
        from pystap.probes.lsm import hook_matches

        return hook_matches(str(found.args[1]), point, env)
    if found.shape in WATCHPOINT_SHAPES:
        from pystap.probes.watchpoints import watchpoint_matches

        return watchpoint_matches(found, point, env)
    from pystap.probes.kernel_functions import function_matches

    return function_matches(found, point, env, found.shape in _IN_SOURCE)


FAMILY: Final = Kernel()
