"""Compiles the patterns of ``=~`` and ``!~``."""

from __future__ import annotations

from pystap.diag.diagnostic import Diagnostic, DiagnosticError
from pystap.ir import ops
from pystap.ir.module import Module
from pystap.ir.walk import owners, walk_body
from pystap.lang.tokens import Token
from pystap.typing import Final

_ASKING: Final = ("matched", "ngroups")


def compile_patterns(module: Module, tokens: list[Token]) -> None:
    """Fill ``module.regexes``; with capture groups only if something asks for them.

    ``tokens`` are the places of the patterns.  Raises DiagnosticError for a bad pattern.
    """
    if not module.regexes:
        return
    from pystap.ir.regex import RegexError, compile_regex

    captures = any(_asks(owner.body) for owner in owners(module))
    for regex, tok in zip(module.regexes, tokens):
        try:
            regex.dfa, regex.groups = compile_regex(regex.pattern, captures)
        except RegexError as error:
            raise DiagnosticError(Diagnostic("semantic error", str(error), tok)) from error


def _asks(body: list[ops.Stmt]) -> bool:
    """Whether a body uses what the last match captured."""
    return any(isinstance(n, ops.Intrinsic) and n.name in _ASKING for n in walk_body(body))
