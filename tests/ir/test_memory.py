"""Nodes that context variables become: loads, stores, bitfields, context values."""

from __future__ import annotations

import pytest

from pystap.diag.diagnostic import DiagnosticError
from pystap.ir.check import check
from pystap.ir.limits import limits_of
from pystap.ir.lower import lower
from pystap.ir.printer import print_body
from pystap.lang import ast
from pystap.lang.source import Source
from pystap.lang.tokens import Token
from pystap.options import Options
from pystap.probes.attach import Tracepoint
from pystap.probes.base import Match, NoContext
from pystap.probes.core import CoreContext, CoreIntrinsic, CoreLoad
from pystap.sema.program import DerivedProbe, LocalSymbol, Program

TOK = Token("identifier", "$x", Source("<input>", "$x"), 0)
X = LocalSymbol("x", TOK, type="long")


def number(value: int) -> ast.Expr:
    return ast.Number(tok=TOK, value=value, type="long")


def text(value: str) -> ast.Expr:
    return ast.String(tok=TOK, value=value, type="string")


def name() -> ast.Name:
    return ast.Name(tok=TOK, name="x", symbol=X, type="long")


def context(kind: str, index: int = 0) -> CoreContext:
    return CoreContext(tok=TOK, kind=kind, index=index, type="long")  # type: ignore[arg-type]


def load(addr: ast.Expr, size: int = 4, bits: tuple[int, int] = (0, 0)) -> CoreLoad:
    return CoreLoad(
        tok=TOK,
        addr=addr,
        space="kernel",
        size=size,
        signed=True,
        bit_offset=bits[0],
        bit_size=bits[1],
        type="long",
    )


def assign(target: ast.Expr, op: str, value: ast.Expr) -> ast.Expr:
    return ast.Assign(tok=TOK, op=op, target=target, value=value, type="long")


def crement(target: ast.Expr, prefix: bool) -> ast.Expr:
    return ast.Crement(tok=TOK, op="++", prefix=prefix, operand=target, type="long")


def lowered(expr: ast.Expr) -> str:
    """The body of a handler with one expression statement."""
    body = ast.Block(tok=TOK, body=[ast.ExprStmt(tok=TOK, expr=expr)])
    definition = ast.ProbeDef(tok=TOK, points=[], body=body)
    match = Match([("event", Tracepoint("event", 3))], NoContext())
    program = Program(probes=[DerivedProbe(match, definition, "event", ["event"], body)])
    options = Options()
    module = lower(program, options, limits_of(options))
    assert check(module) == []
    return print_body(module.handlers[0].body, module.handlers[0])


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (assign(name(), "=", context("arg", 2)), "x = context.arg[2]"),
        (assign(name(), "=", context("retval")), "x = context.retval"),
        (assign(name(), "=", load(context("arg"))), "x = load.kernel.s32(context.arg[0])"),
        (
            assign(name(), "=", load(context("arg"), 8, (3, 5))),
            "x = load.kernel.s64.bits3+5(context.arg[0])",
        ),
        (
            assign(name(), "=", CoreIntrinsic(tok=TOK, name="strlen", args=[text("a")])),
            'x = #strlen("a")',
        ),
        (load(context("arg")), "eval load.kernel.s32(context.arg[0])"),
        (context("arg"), ""),
        (assign(load(context("arg")), "=", number(5)), "store.kernel.4(context.arg[0]) = 5"),
        (
            assign(load(name()), "+=", name()),
            "store.kernel.4(x) = (load.kernel.s32(x) + x)",
        ),
        (
            assign(load(context("arg")), "+=", number(1)),
            "%0 = context.arg[0]\nstore.kernel.4(%0) = (load.kernel.s32(%0) + 1)",
        ),
        (crement(load(name()), True), "store.kernel.4(x) = (load.kernel.s32(x) + 1)"),
        (
            assign(name(), "=", crement(load(name()), False)),
            "%1 = load.kernel.s32(x)\nstore.kernel.4(x) = (%1 + 1)\nx = %1",
        ),
        (
            assign(name(), "=", assign(load(name()), "=", number(7))),
            "store.kernel.4(x) = 7\nx = 7",
        ),
        (
            assign(load(name(), 2, (4, 3)), "=", number(9)),
            "store.kernel.2(x) = ((load.kernel.u16(x) & -113) | ((9 & 7) << 4))",
        ),
        (
            assign(load(context("arg"), 8, (0, 1)), "=", name()),
            "%1 = context.arg[0]\n"
            "store.kernel.8(%1) = ((load.kernel.u64(%1) & -2) | ((x & 1) << 0))",
        ),
    ],
)
def test_expression(expr: ast.Expr, expected: str) -> None:
    assert lowered(expr) == expected


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        (ast.AtOp(tok=TOK, name="entry", args=[]), "@entry cannot be translated here"),
        (ast.TargetVar(tok=TOK, name="$x"), "'$x' cannot be translated here"),
        (
            ast.Cast(
                tok=TOK,
                operand=number(1),
                type_name="t",
                module=None,
                components=[ast.Member(name="m", tok=TOK)],
            ),
            "this long expression cannot be translated here",
        ),
        (assign(number(1), "=", number(2)), "this cannot be assigned to"),
        (assign(number(1), "+=", number(2)), "this cannot be assigned to"),
    ],
)
def test_what_sema_should_have_resolved_is_refused(expr: ast.Expr, message: str) -> None:
    with pytest.raises(DiagnosticError) as error:
        lowered(expr)
    assert error.value.diagnostic.message == message
    assert error.value.diagnostic.token is TOK


def test_casts_without_members_vanish() -> None:
    cast = ast.Cast(tok=TOK, operand=context("arg"), type_name="t", module=None)
    auto = ast.Autocast(tok=TOK, operand=cast)
    assert lowered(assign(name(), "=", auto)) == "x = context.arg[0]"
