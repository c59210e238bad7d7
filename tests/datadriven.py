"""Tests as data: ``.test`` files of cases, each an input and the output expected of it.

A file looks like this (text before the first case is a comment)::

    [case some_name]
    probe begin { print(1) }
    [args]
    a b
    [out]
    probe begin { print(1) }

``[case NAME]`` starts a case; its text is section ``input``.  ``[SECTION]`` or
``[SECTION ARGUMENT]`` starts another section, keyed by all that stands in the brackets; which
sections exist is up to the test.  A line of a section that itself looks like such a mark is
written with a backslash before its bracket (and one more where it has some already).  Blank
lines at the end of a section do not count.

Use in a test::

    from datadriven import Case, assert_case, load_cases

    @pytest.mark.parametrize("case", load_cases(DATA), ids=str)
    def test_it(case: Case) -> None:
        assert_case(case, render(case.input))

With ``PYSTAP_UPDATE=1`` in the environment a failing ``[out]`` section is rewritten with what
was produced; read the difference before keeping it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

_MARK = re.compile(r"\[([a-z][a-z0-9_-]*(?: [^\[\]]*)?)\]")
_ESCAPED = re.compile(r"\\+\[")


@dataclass
class Case:
    """One case; ``line`` is that of its ``[case]`` mark, ``sections`` includes ``input``."""

    path: Path
    name: str
    line: int
    sections: dict[str, str] = field(default_factory=dict)

    @property
    def input(self) -> str:
        """What stands between ``[case]`` and the next mark."""
        return self.sections["input"]

    @property
    def out(self) -> str:
        """The ``[out]`` section, empty when there is none."""
        return self.sections.get("out", "")

    def get(self, section: str, default: str = "") -> str:
        """A section's text without its last newline."""
        return self.sections.get(section, default).removesuffix("\n")

    def __str__(self) -> str:
        return f"{self.path.stem}:{self.name}"


def load_cases(path: str | Path) -> list[Case]:
    """Read the cases of one ``.test`` file, or of all of them below a directory, in order.

    Raises ValueError for a duplicate case or section and when nothing was found.
    """
    path = Path(path)
    files = sorted(path.rglob("*.test")) if path.is_dir() else [path]
    cases = [case for file in files for case in _parse(file)]
    if not cases:
        raise ValueError(f"{path}: no cases")
    return cases


def assert_case(case: Case, actual: str, section: str = "out") -> None:
    """Fail unless ``actual`` is what ``section`` of ``case`` says (or rewrite it, see above)."""
    expected = case.sections.get(section, "")
    actual = _trim(actual)
    if actual == expected:
        return
    if os.environ.get("PYSTAP_UPDATE") == "1":
        _rewrite(case, section, actual)
        return
    where = f"{case.path.name}:{case.line}: case {case.name}, section [{section}]"
    assert actual == expected, where


def _parse(path: Path) -> list[Case]:
    cases: list[Case] = []
    section, lines = "", list[str]()
    text = path.read_bytes().decode("latin-1")
    for number, line in enumerate(text.split("\n"), 1):
        mark = _MARK.fullmatch(line)
        if mark is None:
            lines.append(line[1:] if _ESCAPED.match(line) else line)
            continue
        if cases:
            _store(cases[-1], section, lines)
        section, lines = mark[1], []
        if section.startswith("case "):
            cases.append(Case(path, section[5:], number))
            section = "input"
        elif not cases:
            raise ValueError(f"{path}:{number}: section before the first case")
    if cases:
        _store(cases[-1], section, lines)
    names = [case.name for case in cases]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path}: case {name} stands twice")
    return cases


def _store(case: Case, section: str, lines: list[str]) -> None:
    if section in case.sections:
        raise ValueError(f"{case.path}: case {case.name}: section [{section}] stands twice")
    case.sections[section] = _trim("\n".join(lines))


def _trim(text: str) -> str:
    """The text without blank lines at its end, ending in one newline unless empty."""
    text = text.rstrip("\n")
    return text + "\n" if text else ""


def _rewrite(case: Case, section: str, actual: str) -> None:
    """Replace (or append) one section of one case in its file."""
    lines = case.path.read_bytes().decode("latin-1").split("\n")
    marks = [n for n, line in enumerate(lines) if _MARK.fullmatch(line)]
    first = lines.index(f"[case {case.name}]")
    ends = [n for n in marks if n > first and lines[n].startswith("[case ")]
    end = ends[0] if ends else len(lines)
    body = [
        "\\" + line if _MARK.fullmatch(line) or _ESCAPED.match(line) else line
        for line in actual.split("\n")
    ]
    header = f"[{section}]" if section != "input" else lines[first]
    own = [n for n in marks if first <= n < end and lines[n] == header]
    if own:
        begin = own[0]
        end = next((n for n in marks if n > begin), len(lines))
    else:
        begin = end
    case.path.write_bytes(
        "\n".join([*lines[:begin], header, *body, *lines[end:]]).encode("latin-1")
    )
    case.sections[section] = actual
