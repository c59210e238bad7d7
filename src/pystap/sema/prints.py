"""Checks of the print family: formats, numbers of arguments, delimiters."""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.visit import walk
from pystap.output.formatspec import FormatError, parse_format, script_kinds
from pystap.sema.elide import Live
from pystap.sema.work import Work
from pystap.typing import Final

_MOST_ARGUMENTS: Final = 32
_TYPES: Final[dict[str, ast.ValueType]] = {"l": "long", "s": "string"}


def check_prints(work: Work, live: Live) -> None:
    """Report print calls that do not fit their format or have too many arguments."""
    for owner in live.owners(work):
        if owner.body is not None:
            for node in walk(owner.body):
                if isinstance(node, ast.Print):
                    _check(work, node)


def argument_types(node: ast.Print) -> list[ast.ValueType]:
    """The type each argument of a formatted print must have; empty for other prints (whose
    arguments may be of any type) and for bad formats."""
    if node.name == "print_char":
        return ["long"] * len(node.args)
    if node.format is None:
        return []
    try:
        kinds = script_kinds(parse_format(node.format.value))
    except FormatError:
        return []
    return [_TYPES[kind] for kind in kinds]


def _check(work: Work, node: ast.Print) -> None:
    if node.format is not None:
        _check_format(work, node, node.format)
    elif node.name == "print_char" and len(node.args) != 1:
        work.error("print_char takes one argument", node.tok)
    elif any(isinstance(arg, ast.Histogram) for arg in node.args) and (
        len(node.args) != 1 or node.name not in ("print", "println", "sprint", "sprintln")
    ):
        work.error(
            "a histogram must be the only argument of print, println, sprint or sprintln",
            node.tok,
        )
    elif node.delimiter is not None and len(node.args) < 2:
        work.error(f"{node.name} takes a delimiter and at least two values", node.tok)
    if len(node.args) > _MOST_ARGUMENTS:
        work.error(
            f"too many arguments to {node.name} ({len(node.args)}, at most {_MOST_ARGUMENTS})",
            node.args[_MOST_ARGUMENTS].tok,
        )


def _check_format(work: Work, node: ast.Print, text: ast.String) -> None:
    try:
        wanted = len(script_kinds(parse_format(text.value)))
    except FormatError as error:
        work.error(error.message, text.tok, hint=_excerpt(text.value, error.offset))
        return
    given = len(node.args)
    if given < wanted:
        work.error(
            f"not enough arguments for format ({given}, the format takes {wanted})", text.tok
        )
    elif given > wanted:
        work.error(
            f"too many arguments for format ({given}, the format takes {wanted})",
            node.args[wanted].tok,
        )


def _excerpt(text: str, offset: int) -> str:
    shown = text[offset : offset + 8].split("\n")[0]
    return f"in the directive at '{shown}'; a percent sign is written %%"
