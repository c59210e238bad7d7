"""Calls of the script's functions as C."""

from __future__ import annotations

from pystap.backend.kmod.unit import parameter
from pystap.ir import ops
from pystap.ir.module import Function
from pystap.ir.types import Ty
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.kmod.unit import Unit
    from pystap.backend.kmod.writer import Writer


def head(unit: Unit, function: Function) -> str:
    """The head of the C function."""
    params = [parameter(var, index) for index, var in enumerate(function.params)]
    if function.result is Ty.STR:
        params = ["char *result", "u32 result_size", *params]
    kind = "s64" if function.result is Ty.LONG else "void"
    words = ", ".join(["struct stap_context *c", *params])
    return f"static {kind} {unit.function_name(function)}({words})"


def call(w: Writer, expr: ops.Call, to: str, size: str) -> str:
    """Call functions in turn until one does not pass on; a number, or a string into ``to``."""
    from pystap.backend.kmod.expressions import values_of

    args = values_of(w, expr.args)
    w.line(f"if (!stap_call_begin(c, {expr.pos})) {w.goto(w.fault_label())}")
    result = ""
    if expr.ty is Ty.LONG:
        result = w.temp("0")
    may_pass = any(passes(target) for target in expr.targets)
    for index, target in enumerate(expr.targets):
        words = ["c", *([to, size] if expr.ty is Ty.STR else []), *args]
        text = f"{w.unit.function_name(target)}({', '.join(words)});"
        if result:
            text = f"{result} = {text}"
        if index == 0:
            w.line(text)
        else:
            with w.block("if (c->passed)"):
                w.line("c->passed = 0;")
                w.line(text)
    w.line("stap_call_end(c);")
    if may_pass:
        with w.block("if (c->passed)"):
            w.line("c->passed = 0;")
            w.line(f'stap_fault(c, {expr.pos}, "all functions exhausted");')
    w.check()
    return result


def passes(function: Function) -> bool:
    """Whether a function can end by ``next``."""
    from pystap.ir.walk import walk_body

    return any(
        isinstance(node, ops.Next) or (isinstance(node, ops.CBody) and node.passes)
        for node in walk_body(function.body)
    )
