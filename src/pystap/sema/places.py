"""Assignments to what is not a script variable: memory and registers of the target,
and only in guru mode."""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.visit import walk
from pystap.probes.core import CoreLoad, register_of
from pystap.sema.work import Work, home, is_user


def check_places(work: Work) -> None:
    """Report assignments to target values without ``-g``, and to what cannot be assigned."""
    for owner in work.owners():
        if owner.body is None:
            continue
        for node in walk(owner.body):
            if isinstance(node, ast.Assign):
                _check(work, node.target)
            elif isinstance(node, ast.Crement):
                _check(work, node.operand)


def is_register(target: ast.Expr) -> bool:
    """Whether a target value is one that lies in a register; the operators of a script make
    none."""
    return home(target.tok).text[:1] in ("$", "@") and register_of(target) is not None


def _check(work: Work, target: ast.Expr) -> None:
    if isinstance(target, ast.Name):
        return
    if isinstance(target, ast.Index) and isinstance(target.base, ast.Name):
        return
    if not isinstance(target, CoreLoad) and not is_register(target):
        if home(target.tok).text.startswith("$"):
            work.error("this target variable cannot be written", target.tok)
            return
        work.error("expecting symbol or array index expression", target.tok)
    elif is_user(target.tok) and not work.options.guru:
        work.error("write to target variable not permitted; need stap -g", target.tok)
