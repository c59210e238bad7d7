"""Checks of global variables: sizes, wrapping and ``-G`` values fit what they are used as."""

from __future__ import annotations

from pystap.diag.diagnostic import Diagnostic
from pystap.lang.numbers import c_number
from pystap.sema.program import GlobalSymbol
from pystap.sema.work import Work, did_you_mean
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.sema.infer import Inference


def check_declarations(work: Work) -> None:
    """Report sizes and ``%`` on scalars, and ``-G`` for what is no scalar global."""
    for symbol in work.all_globals:
        if symbol.keys is not None and not symbol.keys:
            if symbol.decl.wrap:
                work.error("wrapping not supported for scalars", symbol.decl.tok)
            if symbol.decl.size is not None:
                work.error(
                    f"array size given for scalar '{symbol.name}'",
                    symbol.decl.tok,
                    symbol.key_site,
                )
    for name in work.options.global_inits:
        symbol_or_none = user_global(work, name)
        if symbol_or_none is None:
            known = [g.name for g in work.all_globals if g.user]
            hint = did_you_mean(name, known)
            _error(work, f"-G {name}: there is no such global variable", hint)
        elif symbol_or_none.keys:
            _error(work, f"-G {name}: only scalars can be given a value")


def settle_initial_values(work: Work, inference: Inference) -> None:
    """Give globals whose type only ``-G`` tells their type, and check the others' values."""
    for name, text in work.options.global_inits.items():
        symbol = user_global(work, name)
        if symbol is None:
            continue
        known = inference.type_of(symbol)
        if known == "unknown":
            inference.set_type(symbol, "long" if _is_number(text) else "string")
        elif known == "stats":
            _error(work, f"-G {name}: an aggregate cannot be given a value")
        elif known == "long" and not _is_number(text):
            _error(work, f"-G {name}={text}: '{name}' is a number")


def user_global(work: Work, name: str) -> GlobalSymbol | None:
    """The public global ``name`` of the scripts."""
    symbol = work.globals.get(name)
    return symbol if symbol is not None and symbol.user else None


def _is_number(text: str) -> bool:
    value = c_number(text)
    return value is not None and -(2**63) <= value < 2**64


def _error(work: Work, message: str, hint: str | None = None) -> None:
    work.diags.add(Diagnostic("semantic error", message, hint=hint))
