"""Programs in other languages, by the marks that their interpreters have; what cannot be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import inprocess

PYTHON = os.path.realpath("/usr/bin/python3")

FUNCTIONS = """\
def outer(n):
    return inner(n - 1) if n else 0

def inner(n):
    return outer(n) + 1

class Thing:
    def method(self):
        raise KeyError(self)

outer(2)
try:
    Thing().method()
except KeyError:
    pass
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(FUNCTIONS)
    return tmp_path / "program.py"


def test_functions_of_python(program: Path) -> None:
    """Debian's 3.11 tells of entries while the mark "line" is listened to as well."""
    script = f"""
      global depth, lines
      probe python.function.entry {{
        if (filename == "{program}") printf("%*s%s:%d\\n", 2 * depth++, "", funcname, lineno)
      }}
      probe python.function.return {{
        if (filename == "{program}") printf("%*s<%s:%d\\n", 2 * --depth, "", funcname, lineno)
      }}
      probe process("{PYTHON}").mark("line") {{ lines++ }}
      probe end {{ println(lines > 10) }}
    """
    done = inprocess.Run("-c", f"{PYTHON} -S -E {program}", "-e", script).end(120)
    assert done.err == ""
    assert done.out.splitlines() == [
        "<module>:0",
        "  Thing:7",
        "  <Thing:8",
        "  outer:1",
        "    inner:4",
        "      outer:1",
        "        inner:4",
        "          outer:1",
        "          <outer:2",
        "        <inner:5",
        "      <outer:2",
        "    <inner:5",
        "  <outer:2",
        "  method:8",
        "  <method:9",
        "<<module>:15",
        "1",
    ]


@pytest.mark.parametrize(
    ("point", "message", "hint"),
    [
        ('java("app").class("C").method("m")', "probes on Java methods", "libjvm.so"),
        ('java(1).class("C").method("m(int)").return', "probes on Java methods", "libjvm.so"),
        ('python3.module("m").function("f")', "variables of Python functions", "python.function"),
        ('python3.module("m").function("f").return', "variables of Python", "python.function"),
        ('debuginfod.process("ls").function("main")', "programs found by debuginfod", "process("),
        ('debuginfod.archive("a").process("b").begin', "programs found by debuginfod", "process("),
    ],
)
def test_refused(point: str, message: str, hint: str) -> None:
    done = inprocess.Run("-p2", "-e", f"probe {point} {{ println(1) }}").end(30)
    assert done.status == 1
    assert message in done.err
    assert "are not supported" in done.err
    assert hint in done.err.partition("hint: ")[2]


@pytest.mark.parametrize(
    "root", ["python2.module", "perl.sub.call", "ruby.method.entry", "node.x"]
)
def test_unknown(root: str) -> None:
    done = inprocess.Run("-p2", "-e", f"probe {root} {{ println(1) }}").end(30)
    assert done.status == 1
    assert "semantic error: probe point mismatch" in done.err
