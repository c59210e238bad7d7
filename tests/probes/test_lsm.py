"""Security hooks: what their handlers may answer."""

from __future__ import annotations

import pytest

from probes.points import expr_text, kernel_btf, parse_var, token
from pystap.diag.diagnostic import DiagnosticError
from pystap.lang import ast
from pystap.probes.lsm import Hook, HookContext


def assigned(hook: str, text: str, op: str = "=", guru: bool = True) -> ast.Expr | None:
    """What an assignment of 7 becomes."""
    context = HookContext(Hook(kernel_btf(), hook), guru)
    return context.assign(parse_var(text), op, lambda: ast.Number(tok=token("7"), value=7))


def test_an_answer() -> None:
    made = assigned("file_open", "$return")
    assert made is not None
    assert expr_text(made) == "set_hook_result(7)"
    assert assigned("file_open", "$file") is None


@pytest.mark.parametrize(
    ("hook", "op", "guru", "message"),
    [
        ("file_open", "=", False, r"\$return can be set in guru mode"),
        ("file_open", "+=", True, r"\$return can be set by = only, not by \+="),
        ("file_free_security", "=", True, "asks no permission at hook 'file_free_security'"),
        ("inode_xattr_skipcap", "=", True, "asks no permission at hook 'inode_xattr_skipcap'"),
    ],
)
def test_refused(hook: str, op: str, guru: bool, message: str) -> None:
    if not Hook(kernel_btf(), hook).params():
        pytest.skip("this kernel has no such hook")
    with pytest.raises(DiagnosticError, match=message):
        assigned(hook, "$return", op, guru)


def test_handlers_are_not_shared_with_hooks_that_do_not_answer() -> None:
    asked, told = (
        HookContext(Hook(kernel_btf(), name), True) for name in ("file_open", "file_free_security")
    )
    assert asked.key_for([]) == told.key_for([])
    assert asked.key_for(["$return"]) != told.key_for(["$return"])
