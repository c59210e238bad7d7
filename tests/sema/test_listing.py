"""-l, -L and the --dump lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from datadriven import Case, assert_case, load_cases
from pystap.diag.diagnostic import Diagnostics
from pystap.diag.render import render_all
from pystap.options import Options
from pystap.sema import listing

from .harness import Session

CASES = Path(__file__).parent / "listing.test"


@pytest.mark.parametrize("case", load_cases(CASES), ids=str)
def test_listing(case: Case, tmp_path: Path) -> None:
    session = Session(tmp_path, Options(), case)
    session.options.listing_vars = "vars" in case.get("options")
    files = [session.parse(case.get("script"), "<input1>")] if "script" in case.sections else []
    lines = listing.list_points(
        case.get("input"),
        files,
        session.tapset,
        session.environment,
        session.probe_env,
        session.options,
        session.diags,
    )
    text = render_all(session.diags).replace(f"{tmp_path}/own/", "")
    assert_case(case, text + "\n".join(lines))


def test_probe_types() -> None:
    found = listing.probe_types()
    assert "begin" in found
    assert "timer.ms(number)" in found
    assert found == sorted(set(found))


def test_probe_aliases(tmp_path: Path) -> None:
    session = Session(tmp_path, Options())
    (tmp_path / "own" / "extra.stp").write_text("probe _hidden.x = begin {}\n")
    session = Session(tmp_path, Options())
    plain = listing.probe_aliases(session.tapset, verbose=False)
    assert "lib.choice = fake.nothing!, begin(7)!, begin(8)" in plain
    assert "oneshot = begin" in plain
    assert not [line for line in plain if line.startswith("_")]
    assert "_hidden.x = begin" in listing.probe_aliases(session.tapset, verbose=True)


def test_functions(tmp_path: Path) -> None:
    session = Session(tmp_path, Options())
    (tmp_path / "own" / "extra.stp").write_text(
        "function __inner(a) { return a }\n"
        "private function own() { return __inner(1) }\n"
        'function outer() { return own() . "" }\n'
        "function shown() { return own() + 1 }\n"
    )
    session = Session(tmp_path, Options())

    def dump(verbose: bool) -> list[str]:
        return listing.functions(
            session.tapset, session.probe_env, Options(), Diagnostics(), verbose
        )

    assert "execname:string ()" in dump(False)
    assert "overloaded:long (a:long, b:long)" in dump(False)
    assert not [line for line in dump(False) if line.startswith(("own", "__inner"))]
    assert "__inner:long (a:long)" in dump(True)
