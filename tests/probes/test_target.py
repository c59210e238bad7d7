"""Members, subscripts, casts and pretty printing, on BTF made for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from datadriven import Case, assert_case, load_cases
from probes import fakekernel
from probes.points import env, expr_text, parse_var, resolve
from pystap.debuginfo.btf import Btf
from pystap.diag.diagnostic import DiagnosticError
from pystap.kernel import event_systems
from pystap.lang import ast
from pystap.probes.base import Context, ProbeEnv
from pystap.probes.target import CType

_HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def btf(tmp_path_factory: pytest.TempPathFactory) -> Btf:
    return fakekernel.write(tmp_path_factory.mktemp("btf"))


@pytest.fixture
def fake_env(btf: Btf, monkeypatch: pytest.MonkeyPatch) -> ProbeEnv:
    monkeypatch.setattr(
        event_systems, "event_systems", lambda: {"thing_done": "things", "quiet": "things"}
    )
    return env(btf=lambda: btf)


def context(name: str, fake: ProbeEnv) -> Context:
    [match] = resolve(f'kernel.trace("{name}")', fake)
    return match.context


def shown(made: ast.Expr) -> str:
    kind = made.ctype.text() if isinstance(made.ctype, CType) else made.type
    return f"{expr_text(made)}  {kind}"


@pytest.mark.parametrize("case", load_cases(_HERE / "target.test"), ids=str)
def test_variables(case: Case, fake_env: ProbeEnv) -> None:
    here = context("thing_done", fake_env)
    lines = []
    for text in case.input.splitlines():
        try:
            lines.append(shown(here.resolve(parse_var(text))))
        except DiagnosticError as error:
            lines.append(f"error: {error.diagnostic.message}")
    assert_case(case, "\n".join(lines))
