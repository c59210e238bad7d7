"""Scripts to start from: every one the tests, the examples and the tapset hold."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from datadriven import load_cases
from pystap.sema.tapset import OWN_DIRECTORY

TESTS = Path(__file__).resolve().parents[1]
_MOST = 6000  # characters: long files are cut at their top-level items


@cache
def seeds() -> list[str]:
    """Texts, each one character per byte, in a stable order."""
    found = [case.input for folder in _folders() for case in load_cases(folder)]
    for file in (*TESTS.parent.glob("examples/*.stp"), *Path(OWN_DIRECTORY).rglob("*.stp*")):
        found += _pieces(file.read_bytes().decode("latin-1"))
    return sorted({text for text in found if text.strip()})


def _folders() -> list[Path]:
    return sorted({file.parent for file in TESTS.glob("*/data/*.test")})


def _pieces(text: str) -> list[str]:
    """The text, in pieces that begin where a line begins with a word."""
    pieces = [""]
    for line in text.splitlines(keepends=True):
        if len(pieces[-1]) > _MOST // 4 and line[:1].isalpha():
            pieces.append("")
        pieces[-1] += line
    return [piece[:_MOST] for piece in pieces]
