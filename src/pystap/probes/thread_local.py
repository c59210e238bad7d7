"""Addresses of thread-local variables of programs."""

from __future__ import annotations

from pystap.debuginfo.elf import Elf
from pystap.debuginfo.tls import storage
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.lang.visit import clone
from pystap.probes.core import CoreIntrinsic, CoreLoad
from pystap.probes.locations import NoLocation
from pystap.probes.target import binary, number
from pystap.typing import Final

_TABLE: Final = 8  # where the thread pointer leads to the table of blocks, in glibc's tcbhead_t
_ENTRY: Final = 16  # bytes of an entry of that table, dtv_t


def address_in_thread(path: str, offset: ast.Expr, bias: ast.Expr | None, tok: Token) -> ast.Expr:
    """The current thread's copy of what is ``offset`` bytes into the block of the file's
    variables; ``bias`` is how far from its addresses the file is loaded.

    Raises :class:`NoLocation`.
    """
    with Elf(path) as elf:
        found = storage(elf)
    if found is None:
        raise NoLocation("it is thread-local, and nothing in the file tells where")
    pointer = _thread_pointer(tok)
    if found.kind == "fixed":
        return _sum(pointer, offset, found.offset, tok)
    slot: ast.Expr = number(found.slot, tok)
    word = _word(slot if bias is None else binary("+", bias, slot, tok), tok)
    if found.kind == "slot":
        return _sum(binary("+", pointer, word, tok), offset, -found.offset, tok)
    table = _word(binary("+", pointer, number(_TABLE, tok), tok), tok)
    entry = binary("+", table, binary("*", word, number(_ENTRY, tok), tok), tok)
    return _sum(_word(entry, tok), offset, 0, tok)


def _thread_pointer(tok: Token) -> ast.Expr:
    """The base of FS, which the kernel keeps with the task."""
    return ast.Cast(
        tok=tok,
        operand=CoreIntrinsic(tok=tok, type="long", name="task_current"),
        type_name="task_struct",
        module="kernel",
        components=[
            ast.Member(tok=tok, name="thread"),
            ast.Member(tok=tok, name="fsbase"),
        ],
    )


def _sum(base: ast.Expr, offset: ast.Expr, more: int, tok: Token) -> ast.Expr:
    if isinstance(offset, ast.Number):
        return binary("+", base, number(offset.value + more, tok), tok)
    return binary("+", binary("+", base, clone(offset), tok), number(more, tok), tok)


def _word(address: ast.Expr, tok: Token) -> ast.Expr:
    return CoreLoad(tok=tok, type="long", addr=address, space="user", size=8, signed=False)
