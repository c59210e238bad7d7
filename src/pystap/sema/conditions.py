"""Arming conditions of probe points: expressions over global variables only."""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.visit import walk
from pystap.probes.base import NoContext
from pystap.sema.program import DerivedProbe, GlobalSymbol
from pystap.sema.resolve import Resolver, find_global
from pystap.sema.work import Body, Work

_MUST_NOT = "probe condition must not"


def resolve_conditions(work: Work) -> None:
    """Resolve the conditions of all probes; what they must not do is reported."""
    owner = {id(c): probe for probe in work.probes for c in probe.conditions}
    for condition in distinct_conditions(work):
        if _is_allowed(work, condition):
            _resolve(work, owner[id(condition)], condition)


def _is_allowed(work: Work, condition: ast.Expr) -> bool:
    """Report what makes a condition depend on more than globals, or change something."""
    for node in walk(condition):
        if not isinstance(node, ast.Expr):
            continue
        problem = ""
        if isinstance(node, (ast.TargetVar, ast.AtVar, ast.Cast, ast.Autocast, ast.AtOp)):
            problem = "reference context variables"
        elif isinstance(node, ast.Call):
            problem = "call functions"
        elif isinstance(node, (ast.Assign, ast.Crement)):
            problem = "modify variables"
        elif isinstance(node, ast.Print):
            problem = "print"
        elif isinstance(node, ast.EmbeddedExpr):
            problem = "contain embedded code"
        elif isinstance(node, ast.Name) and find_global(work, node.name, node.tok) is None:
            problem = f"reference undeclared global variable '{node.name}'"
        if problem:
            work.error(f"{_MUST_NOT} {problem}", node.tok)
            return False
    return True


def _resolve(work: Work, probe: DerivedProbe, condition: ast.Expr) -> None:
    block = ast.Block(tok=condition.tok, body=[ast.ExprStmt(tok=condition.tok, expr=condition)])
    Resolver(work, Body(block, probe, NoContext())).run()


def distinct_conditions(work: Work) -> list[ast.Expr]:
    """The conditions of all probes, each once: probes of one definition share theirs."""
    return list({id(c): c for probe in work.probes for c in probe.conditions}.values())


def condition_globals(probe: DerivedProbe) -> list[GlobalSymbol]:
    """Globals that a probe's conditions read."""
    return [
        node.symbol
        for condition in probe.conditions
        for node in walk(condition)
        if isinstance(node, ast.Name) and isinstance(node.symbol, GlobalSymbol)
    ]
