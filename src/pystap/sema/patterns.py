"""Checks the patterns of ``=~`` and ``!~``."""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.visit import walk
from pystap.sema.elide import Live
from pystap.sema.work import Work


def check_patterns(work: Work, live: Live) -> None:
    """Report malformed patterns.  Those that grow too big are found when they are compiled."""
    for owner in live.owners(work):
        if owner.body is not None:
            for node in walk(owner.body):
                if isinstance(node, ast.RegexMatch):
                    _check(work, node.pattern)


def _check(work: Work, pattern: ast.String) -> None:
    from pystap.ir.regex.syntax import RegexError, parse_regex

    try:
        parse_regex(pattern.value)
    except RegexError as error:
        work.error(str(error), pattern.tok)
