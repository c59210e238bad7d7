"""Makes ``staprun.pyz``: staprun as one file for machines without pystap, LLVM or a compiler.

It holds ``pystap.staprun`` and what that imports, and needs Python 3.11 alone.  The same sources
give the same bytes.

Usage: python tools/make_staprun.py [FILE]
"""

from __future__ import annotations

import ast
import sys
import zipfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / "src"
START = "pystap.staprun.main"
_HEAD = b"#!/usr/bin/env python3\n"
_MAIN = """\
import sys

if sys.version_info < (3, 11):
    sys.exit("staprun needs Python 3.11 or later")

from pystap.staprun.main import command

command()
"""
_DATE = (1980, 1, 1, 0, 0, 0)


class _Imports(ast.NodeVisitor):
    """The modules a module imports anywhere but for type checkers."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        for stmt in node.orelse if _for_checkers(node.test) else node.body + node.orelse:
            self.visit(stmt)

    def visit_Import(self, node: ast.Import) -> None:
        self.found.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.module is not None
        self.found.add(node.module)
        self.found.update(f"{node.module}.{alias.name}" for alias in node.names)


def _for_checkers(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def needed(start: str = START) -> dict[str, Path]:
    """The files of a module of the package and of all that it imports from there, by name."""
    found: dict[str, Path] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if path is None or name in found:
            continue
        found[name] = path
        imports = _Imports()
        imports.visit(ast.parse(path.read_text()))
        waiting += [name.rpartition(".")[0], *imports.found]
    return dict(sorted(found.items()))


def _file(name: str) -> Path | None:
    """The file of a module, None for what is no module of ours."""
    stem = SOURCES / name.replace(".", "/")
    places = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((path for path in places if name and path.is_file()), None)


def make(target: Path) -> None:
    """Write the file."""
    with target.open("wb") as file:
        file.write(_HEAD)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in needed().values():
                _add(archive, str(path.relative_to(SOURCES)), path.read_text())
            _add(archive, "__main__.py", _MAIN)
    target.chmod(0o755)


def _add(archive: zipfile.ZipFile, name: str, text: str) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, text)


if __name__ == "__main__":
    make(Path(sys.argv[1] if len(sys.argv) > 1 else "staprun.pyz"))
