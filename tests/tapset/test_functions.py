"""Every function and macro of the tapset, run by the reference interpreter.

Sections of the cases: ``machine`` (a name of machines.py, else ``plain``), ``events`` (a line
each, see scripts.read_event), ``out`` and ``err`` (what goes to the two streams).  ``@NAME@`` in
a script is the address of an object of the machine.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from datadriven import Case, assert_case, load_cases
from pystap.cli.passes import Front
from pystap.lang import ast
from pystap.lang.source import Source, SourceKind
from pystap.lang.visit import walk
from pystap.options import Options

from .machines import MACHINES, PLACES
from .scripts import Refused, read_event, run, translate

DATA = Path(__file__).parent / "data"
TAPSET = Path(__file__).parents[2] / "src" / "pystap" / "tapset"
CASES = load_cases(DATA)
# What needs types of kernel modules is run in the lab: by tests/lab/test_nfs.py.
LAB = [(Path(__file__).parents[1] / "lab/data/nfs/functions.stp").read_text()]
# Tapset files that have tests of their own: those of C are tested in modules, what their own
# probes use with these probes (in the lab), metrics as files of a session.
OTHERS: set[str] = {
    "floatingpoint",
    "ioscheduler",
    "ipmib",
    "json",
    "kernel_guru",
    "kernel_log",
    "linuxmib",
    "packets",
    "prometheus",
    "scsi",
    "tcpmib",
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case) -> None:
    env = MACHINES[case.get("machine", "plain")]()
    events = [read_event(placed(line), env.task) for line in case.get("events").splitlines()]
    result = run(placed(case.input), events, env)
    err = "\n".join(re.sub(r" at \S*/tapset/", " at ", m) for m in result.messages)
    assert_case(case, err, "err")
    assert_case(case, result.output.decode("latin-1"))


def placed(text: str) -> str:
    """The text with addresses for ``@NAME@``."""
    return re.sub(r"@(\w+)@", lambda m: str(PLACES[m[1]]), text)


def parsed(path: str, text: str, kind: SourceKind) -> list[ast.TopLevel]:
    """Top-level items of a file."""
    front = Front(Options())
    file = front.parse(Source(path, text, kind))
    assert not front.diags.errors
    return file.items


def public_functions() -> set[str]:
    """Functions of the tapset that scripts may call, as NAME/PARAMETERS."""
    return {
        f"{item.name}/{len(item.params)}"
        for path in TAPSET.glob("*.stp")
        for item in parsed(str(path), path.read_text("latin-1"), "tapset")
        if isinstance(item, ast.FunctionDef) and not item.private and path.stem not in OTHERS
    }


def library_macros() -> set[str]:
    """Names of the library macros."""
    return {
        name
        for path in TAPSET.glob("*.stpm")
        if path.stem not in OTHERS
        for name in re.findall(r"^@define (\w+)", path.read_text("latin-1"), re.MULTILINE)
    }


def test_every_function_has_a_case() -> None:
    called = set()
    for text in [re.sub(r"@(\w+)@", "0", case.input) for case in CASES] + LAB:
        for item in parsed("<input>", text, "user"):
            called |= {
                f"{node.name}/{len(node.args)}"
                for node in walk(item)
                if isinstance(node, ast.Call)
            }
    assert public_functions() - called == set()


@pytest.mark.parametrize("call", ["raise(15)", "set_user_int(0, 1)", 'set_user_string(0, "")'])
def test_functions_for_gurus_only(call: str) -> None:
    translate(f"probe begin {{ {call} }}")
    name = call.partition("(")[0]
    for script in (
        f"probe begin {{ {call} }}",
        f"probe begin {{ f() }} function f() {{ {call} }}",
    ):
        with pytest.raises(Refused, match=f"function '{name}' may not be used unless in guru"):
            translate(script, Options())


def test_every_macro_has_a_case() -> None:
    text = "".join([case.input for case in CASES] + LAB)
    assert library_macros() - set(re.findall(r"@(\w+)", text)) == set()
