"""Embedded C: texts, and the functions through which they use globals."""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.lower.scope import Frame, Shared, refuse
from pystap.ir.module import Function
from pystap.ir.types import Global, LocalVar, Ty
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.sema.embedded import GlobalUse, global_uses, is_pure
from pystap.typing import Final

_OPENING: Final = "%{"
_BPF: Final = "/* bpf */"


def c_text(code: str, tok: Token) -> ops.CText:
    """C text with its place."""
    line, column = tok.source.position(tok.offset)
    opening = len(_OPENING) if tok.kind == "embedded-code" else 0
    return ops.CText(code, tok.source.name, line, column + opening)


def c_expr(frame: Frame, expr: ast.EmbeddedExpr) -> ops.Expr:
    """A C expression."""
    frame.shared.module.has_c = True
    ty = Ty.STR if expr.type == "string" else Ty.LONG
    pos = frame.pos(expr.tok)
    accessors = _accessors(frame.shared, global_uses(expr), pos)
    return ops.CExpr(c_text(expr.code, expr.tok), ty, accessors, pos, is_pure(expr))


def c_body(shared: Shared, made: Function, code: ast.EmbeddedCode, *, members: bool) -> None:
    """The body of a function that is C text."""
    if _BPF in code.code:
        raise refuse(f"function '{made.name}' is eBPF assembly, which is not supported", code.tok)
    if made.result is Ty.VOID and "STAP_RETVALUE" in code.code:
        made.result = Ty.LONG  # nobody wants it, but the text names it
    shared.module.has_c = True
    pos = shared.pos(code.tok)
    made.body = [
        ops.CBody(
            c_text(code.code, code.tok),
            _accessors(shared, global_uses(code), pos),
            pos,
            is_pure(code),
            "/* unmodified-fnargs */" in code.code,
            members or "/* unmangled */" in code.code,
        )
    ]


def _accessors(shared: Shared, uses: list[GlobalUse], pos: int) -> dict[str, Function]:
    """The functions for the globals that a text names, by their macros."""
    found = {}
    for symbol, writes in uses:
        kind = "SET" if writes else "GET"
        name = f"STAP_GLOBAL_{kind}_{symbol.name}"
        known = shared.accessors.get((symbol, writes))
        if known is None:
            var = shared.global_of(symbol)
            if var.stats is not None:
                tok = symbol.decl.tok
                raise refuse(f"embedded code cannot use the aggregate '{symbol.name}'", tok)
            known = _setter(var, name, pos) if writes else _getter(var, name)
            shared.accessors[symbol, writes] = known
            shared.summaries.of_function[known] = shared.summaries.of(known.body)
        found[name] = known
    return found


def _getter(var: Global, name: str) -> Function:
    params = _keys(var)
    keys: list[ops.Expr] = [ops.Local(p) for p in params]
    value = ops.MapGet(var, keys) if keys else ops.GlobalGet(var)
    bound = 1 if var.value is Ty.STR else 0
    return Function(name, params, var.value, bound, list(params), [ops.Return(value)])


def _setter(var: Global, name: str, pos: int) -> Function:
    params = [*_keys(var), LocalVar("value", var.value, len(var.keys))]
    *keys, value = (ops.Local(p) for p in params)
    body: ops.Stmt = ops.SetGlobal(var, value)
    if keys:
        body = ops.SetMap(var, list(keys), value, pos)
    return Function(name, params, Ty.VOID, 0, list(params), [body])


def _keys(var: Global) -> list[LocalVar]:
    return [LocalVar(f"key{index}", ty, index) for index, ty in enumerate(var.keys)]
