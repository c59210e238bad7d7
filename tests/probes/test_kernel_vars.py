"""``@var`` of kernel variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes import fakekernel
from probes.points import env, expr_text, token
from pystap.diag.diagnostic import DiagnosticError
from pystap.lang import ast
from pystap.probes import kernel_vars
from pystap.probes.base import ProbeEnv


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProbeEnv:
    btf = fakekernel.write(tmp_path)
    symbols = tmp_path / "kallsyms"
    symbols.write_text("ffffffff82000100 D __per_cpu_offset\n0000000000001230 A counter\n")
    monkeypatch.setattr(kernel_vars, "_KALLSYMS", str(symbols))
    return env(btf=lambda: btf)


def variable(name: str, module: str | None = None) -> ast.AtVar:
    return ast.AtVar(tok=token(name), target=name, module=module)


def test_per_cpu_variable(fake: ProbeEnv) -> None:
    made = kernel_vars.expand_var(variable("counter"), fake)
    offsets = 0xFFFFFFFF82000100 - (1 << 64)
    assert expr_text(made) == f"s64[(u64[({offsets} + (cpu() * 8))] + {0x1230})]"


def test_unknown_variable_and_module(fake: ProbeEnv) -> None:
    with pytest.raises(DiagnosticError, match=r"unable to find global variable 'nix@file\.c'"):
        kernel_vars.expand_var(variable("nix@file.c"), fake)
    with pytest.raises(DiagnosticError, match="no type information for module 'nomod'"):
        kernel_vars.expand_var(variable("counter", "nomod"), fake)
