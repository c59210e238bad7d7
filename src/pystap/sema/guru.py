"""Functions that can harm what they trace may be called in guru mode only."""

from __future__ import annotations

from pystap.ir.intrinsics import INTRINSICS
from pystap.lang import ast
from pystap.lang.visit import walk
from pystap.sema.program import FunctionSymbol
from pystap.sema.work import Work, is_user

_MARK = "/* guru */"


def check_guru(work: Work) -> None:
    """Report calls, in user scripts, of functions that end in an operation for gurus."""
    if work.options.guru:
        return
    guarded = _guarded(work)
    if not guarded:
        return
    for owner in work.owners():
        if owner.body is None:
            continue
        for node in walk(owner.body):
            if isinstance(node, ast.Call) and is_user(node.tok) and guarded & set(node.functions):
                message = f"function '{node.name}' may not be used unless in guru mode"
                work.error(message, node.tok, hint="use -g")


def _guarded(work: Work) -> set[object]:
    """Operations for gurus and the tapset functions that call them, at any depth."""
    found: set[object] = {f for f in work.reached if _is_guru(f)}
    if not found:
        return found
    calls = {
        f: {
            callee
            for node in walk(f.body)
            if isinstance(node, ast.Call)
            for callee in node.functions
        }
        for f in work.reached
        if f.body is not None and not is_user(f.decl.tok)
    }
    while True:
        more = {f for f, called in calls.items() if f not in found and called & found}
        if not more:
            return found
        found |= more


def _is_guru(function: FunctionSymbol) -> bool:
    if function.intrinsic is not None:
        return INTRINSICS[function.intrinsic[0]].guru
    body = function.decl.body
    return isinstance(body, ast.EmbeddedCode) and _MARK in body.code
