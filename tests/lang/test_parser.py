"""Scripts and what pass 1 makes of them: the tree printed, or the diagnostics.

Sections of a case: ``[args]`` script arguments, one a line; ``[env]`` settings of the environment
(``guru``, ``compatible=3.0``, ``CONFIG_X=y``, ``tree`` to show the tree in spite of errors,
``unused`` to warn about unused arguments); ``[library NAME]`` a macro library file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datadriven import Case, assert_case, load_cases
from pystap.diag.diagnostic import Diagnostics
from pystap.diag.render import render_all
from pystap.lang.environment import Environment
from pystap.lang.macros import load_macro_library
from pystap.lang.parser import parse, warn_unused_args
from pystap.lang.printer import print_file
from pystap.lang.source import Source
from pystap.lang.visit import same_tree

DATA = Path(__file__).parent / "data"


def environment(case: Case) -> Environment:
    settings = dict(line.partition("=")[::2] for line in case.get("env").split("\n"))
    options: dict[str, Any] = {"runtime": "kernel", "kernel_release": "6.1.0-18-amd64"}
    for name in ("arch", "compatible", "privilege", "runtime", "kernel_release"):
        if name in settings:
            options[name] = settings[name]
    return Environment(
        guru="guru" in settings,
        args=case.get("args").split("\n") if "args" in case.sections else (),
        config=lambda option: settings.get(option, ""),
        **options,
    )


@pytest.mark.parametrize("case", load_cases(DATA), ids=str)
def test_parse(case: Case, tmp_path: Path) -> None:
    env, diags = environment(case), Diagnostics()
    for section, text in case.sections.items():
        if section.startswith("library "):
            (tmp_path / section.removeprefix("library ")).write_text(text)
    macros = load_macro_library([str(tmp_path)], env, diags)
    file = parse(Source("<input>", case.input.removesuffix("\n")), env, diags, macros)
    flags = case.get("env").split("\n")
    if "unused" in flags:
        warn_unused_args(env, diags)
    out = render_all(diags).replace(f"{tmp_path}/", "")
    if not diags.errors or "tree" in flags:
        printed = print_file(file)
        out += printed
        again = Diagnostics()
        reparsed = parse(
            Source("again", printed), Environment(guru=True, compatible=env.compatible), again
        )
        assert again.errors == []
        assert same_tree(file, reparsed)
    assert_case(case, out)
