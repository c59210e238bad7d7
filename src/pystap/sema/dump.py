"""What ``-p2`` prints: globals, functions and probes with their types."""

from __future__ import annotations

from collections.abc import Iterable

from pystap.lang import ast
from pystap.lang.printer import print_expr, print_stmt
from pystap.lang.visit import clone, transform
from pystap.probes.attach import place_text
from pystap.probes.core import CoreContext, CoreIntrinsic, CoreLoad
from pystap.sema.program import DerivedProbe, FunctionSymbol, GlobalSymbol, LocalSymbol, Program
from pystap.typing import Any


def dump(program: Program, verbose: bool = False) -> str:
    """The analysed program as text; with ``verbose`` including the bodies."""
    lines: list[str] = []
    if program.embedded:
        lines.append("# global embedded code")
        lines += [f"%{{{code.code}%}}" for code in program.embedded]
    if program.globals:
        lines.append("# globals")
        lines += [signature_of_global(symbol) for symbol in program.globals]
    if program.functions:
        lines.append("# functions")
        for function in program.functions:
            lines += _function(function, verbose)
    if program.probes:
        lines.append("# probes")
        for probe in program.probes:
            lines += _probe(probe, verbose)
    return "".join(f"{line}\n" for line in lines)


def signature_of_global(symbol: GlobalSymbol) -> str:
    """``name:type`` or ``name:type [keytypes]``."""
    keys = f" [{', '.join(symbol.keys)}]" if symbol.keys else ""
    return f"{symbol.name}:{symbol.type}{keys}"


def signature_of_function(function: FunctionSymbol) -> str:
    """``name:type (arg:type, ...)``."""
    params = ", ".join(f"{p.name}:{p.type}" for p in function.params)
    return f"{function.name}:{function.type} ({params})"


def _function(function: FunctionSymbol, verbose: bool) -> list[str]:
    lines = [signature_of_function(function)]
    params = {p.name for p in function.params}
    lines += _locals(s for s in function.locals.values() if s.name not in params)
    if verbose:
        if function.body is not None:
            lines += _body(function.body)
        elif isinstance(function.decl.body, ast.EmbeddedCode):
            lines.append(f"%{{{function.decl.body.code}%}}")
    return lines


def _probe(probe: DerivedProbe, verbose: bool) -> list[str]:
    lines = []
    for (text, attach), chain in zip(probe.match.points, probe.chains):
        place = place_text(attach)
        way = "".join(f" <- {point}" for point in chain)
        condition = "".join(f" if ({print_expr(_plain(c))})" for c in probe.conditions)
        lines.append(f"{text}{condition}{place} /*{way} */")
    lines += _locals(probe.locals.values())
    if verbose:
        lines += _body(probe.body)
    return lines


def _locals(symbols: Iterable[LocalSymbol]) -> list[str]:
    lines = [f"  {symbol.name}:{symbol.type}" for symbol in symbols]
    return ["  # locals", *lines] if lines else []


def _body(block: ast.Block) -> list[str]:
    return print_stmt(_plain(block)).split("\n")


def _plain(node: Any) -> Any:
    """A copy in which the translator's own nodes are spelled as names."""
    return transform(clone(node), _spelled)


def _spelled(node: Any) -> Any:
    if isinstance(node, CoreLoad):
        name = "kderef" if node.space == "kernel" else "uderef"
        size = f"{node.size}{'s' if node.signed else ''}"
        if node.bit_size:
            size += f":{node.bit_offset}:{node.bit_size}"
        return ast.Name(tok=node.tok, name=f"@{name}({size}, {print_expr(node.addr)})")
    if isinstance(node, CoreContext):
        indexed = node.kind in ("arg", "sysarg", "reg", "funcarg")
        suffix = f"({node.index})" if indexed else ""
        return ast.Name(tok=node.tok, name=f"@{node.kind}{suffix}")
    if isinstance(node, CoreIntrinsic):
        args = [print_expr(arg) for arg in node.args] + [repr(const) for const in node.const]
        return ast.Name(tok=node.tok, name=f"@{node.name}({', '.join(args)})")
    return node
