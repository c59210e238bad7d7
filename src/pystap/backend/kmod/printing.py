"""Formats as C: one call of the runtime for each directive."""

from __future__ import annotations

from collections.abc import Iterator

from pystap.backend.kmod import intrinsics
from pystap.backend.kmod.writer import number, quoted
from pystap.ir import ops
from pystap.output.formats import STAR, Directive
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.kmod.writer import Writer


def emit(w: Writer, stmt: ops.Emit) -> None:
    """A print statement."""
    values = _arguments(w, stmt.args)
    for directive in stmt.format.directives:
        _put(w, directive, values, "&c->out")


def sprint(w: Writer, expr: ops.Sprint, to: str, size: str) -> None:
    """A format into a string."""
    values = _arguments(w, expr.args)
    with w.block(""):
        w.line(f"struct stap_sink s = stap_sink_of({to}, {size});")
        for directive in expr.format.directives:
            _put(w, directive, values, "&s")
        w.line("stap_sink_close(&s);")


def _arguments(w: Writer, args: list[ops.Expr]) -> Iterator[str]:
    from pystap.backend.kmod.expressions import value_of, values_of

    def evaluate(w: Writer, expr: ops.Expr) -> str:
        if isinstance(expr, ops.Intrinsic) and expr.name in intrinsics.DUMPS:
            return intrinsics.memory_dump(w, expr)
        return value_of(w, expr)

    return iter(values_of(w, args, evaluate))


def _put(w: Writer, d: Directive, values: Iterator[str], sink: str) -> None:
    if not d.conv:
        w.line(f"stap_put_bytes({sink}, {quoted(d.text)}, {len(d.text)});")
        return
    width = next(values) if d.width == STAR else number(d.width or 0)
    precision = (
        next(values) if d.precision == STAR else number(-1 if d.precision is None else d.precision)
    )
    value = next(values)
    flag = f"'{d.flag}'" if d.flag else "0"
    left = "true" if d.flag == "-" else "false"
    plain = d.width is None and d.precision is None
    match d.conv:
        case "d" if plain and d.flag in ("", "-", "0", "#"):
            w.line(f"stap_put_long({sink}, {value});")
        case "s" if plain and d.flag != "#":
            w.line(f"stap_put_text({sink}, {value});")
        case "s":
            w.line(f"stap_put_string({sink}, {value}, {flag}, {width}, {precision});")
        case "c":
            w.line(f"stap_put_char({sink}, {value}, {flag}, {width});")
        case "b":
            w.line(f"stap_put_binary({sink}, {value}, {left}, {width}, {precision});")
        case "m" | "M":
            hexa = "true" if d.conv == "M" else "false"
            w.line(f"stap_put_memory({sink}, {value}, {hexa}, {left}, {width}, {precision});")
        case _:
            w.line(f"stap_put_number({sink}, {value}, '{d.conv}', {flag}, {width}, {precision});")
