"""What the probe tests share: probe points from text, and matches as text."""

from __future__ import annotations

import re
from functools import lru_cache

from pystap.debuginfo.btf import Btf
from pystap.diag.diagnostic import Diagnostics
from pystap.lang import ast
from pystap.lang.source import Source
from pystap.lang.tokens import Token
from pystap.probes.base import Match, ProbeEnv
from pystap.probes.core import CoreContext, CoreIntrinsic, CoreLoad
from pystap.probes.registry import family

_COMPONENT = re.compile(r'([\w*?\[\]-]+)(?:\((?:(-?\w+)|"([^"]*)")\))?(?:\.|$)')


def token(text: str, source: Source | None = None, offset: int = 0) -> Token:
    """An identifier."""
    return Token("identifier", text, source or Source("<test>", text), offset)


def parse_point(text: str) -> ast.ProbePoint:
    """A probe point without ``? ! if`` and braces."""
    source = Source("<test>", text)
    components = []
    at = 0
    while at < len(text):
        match = _COMPONENT.match(text, at)
        assert match, f"cannot parse {text[at:]!r}"
        name, number, string = match.groups()
        arg = int(number, 0) if number is not None else string
        tok = token(name, source, at)
        components.append(ast.PointComponent(name=name, arg=arg, tok=tok))
        at = match.end()
    return ast.ProbePoint(tok=components[0].tok, components=components)


@lru_cache(maxsize=1)
def kernel_btf() -> Btf:
    """BTF of the running kernel, opened once."""
    return Btf.open()


def env(**changes: object) -> ProbeEnv:
    """An environment over the running kernel."""
    values: dict[str, object] = {"btf": kernel_btf, "diags": Diagnostics(), **changes}
    return ProbeEnv(**values)  # type: ignore[arg-type]


def resolve(text: str, environment: ProbeEnv | None = None) -> list[Match]:
    """All matches of a probe point by the family of its first component."""
    point = parse_point(text)
    found = family(point.components[0].name)
    assert found is not None, f"no family for {text}"
    return found.resolve(point, environment or env())


def resolve_parts(text: str, environment: ProbeEnv) -> list[Match]:
    """The same, with the parts of matches that come in parts."""
    found = resolve(text, environment)
    return [part for match in found for part in (match.parts() if match.parts else [match])]


def show(matches: list[Match]) -> str:
    """One line for each place: the point and how it attaches."""
    return "\n".join(f"{point}  {attach}" for match in matches for point, attach in match.points)


def parse_var(text: str) -> ast.TargetVar:
    """``[&]$name`` with components; indexes are numbers or names."""
    source = Source("<test>", text)
    head = re.match(r"(&?)(\$\$?\w+)", text)
    assert head, text
    components: list[ast.Component] = []
    at = head.end()
    while at < len(text):
        part = re.compile(r"->(\w+)|\[(\w+)\]|(\$\$?)$").match(text, at)
        assert part, f"cannot parse {text[at:]!r}"
        tok = token(part[1] or part[2] or part[3], source, at)
        if part[1]:
            components.append(ast.Member(name=part[1], tok=tok))
        elif part[2]:
            components.append(ast.Subscript(index=_index(part[2], tok), tok=tok))
        else:
            components.append(ast.Pretty(depth=len(part[3]), tok=tok))
        at = part.end()
    tok = token(head[2], source, head.start(2))
    return ast.TargetVar(tok=tok, name=head[2], components=components, address_of=bool(head[1]))


def _index(text: str, tok: Token) -> ast.Expr:
    if text[0].isdigit():
        return ast.Number(tok=tok, value=int(text, 0))
    return ast.Name(tok=tok, name=text)


def expr_text(expr: ast.Expr) -> str:
    """An expression the way it would be written, loads as ``u32[addr]``."""
    match expr:
        case ast.Number():
            return str(expr.value)
        case ast.String():
            return f'"{expr.value}"'
        case ast.Name():
            return expr.name
        case ast.Unary():
            return f"{expr.op}{expr_text(expr.operand)}"
        case ast.Binary() | ast.Compare():
            return f"({expr_text(expr.left)} {expr.op} {expr_text(expr.right)})"
        case ast.Ternary():
            parts = (expr_text(e) for e in (expr.cond, expr.yes, expr.no))
            return "({} ? {} : {})".format(*parts)
        case ast.Print():
            args = [expr_text(arg) for arg in (expr.format, *expr.args) if arg is not None]
            return f"{expr.name}({', '.join(args)})"
        case ast.Call():
            return f"{expr.name}({', '.join(map(expr_text, expr.args))})"
        case CoreContext():
            return f"{expr.kind}{expr.index}"
        case CoreIntrinsic():
            args = [expr_text(arg) for arg in expr.args] + [repr(c) for c in expr.const]
            return f"{expr.name}({', '.join(args)})"
        case CoreLoad():
            bits = f":{expr.bit_offset}+{expr.bit_size}" if expr.bit_size else ""
            space = "user " if expr.space == "user" else ""
            sign = "s" if expr.signed else "u"
            return f"{space}{sign}{8 * expr.size}{bits}[{expr_text(expr.addr)}]"
        case _:
            raise TypeError(f"no text for {expr!r}")
