"""What the C compiler complained of, in words of the script."""

from __future__ import annotations

import re
from pathlib import Path

from pystap.backend.kmod.embedded import FILE
from pystap.typing import Final, NamedTuple

_ERROR_LINE: Final = re.compile(
    r"^(?P<file>[^:]+):(?P<line>\d+):(?P<column>\d+): (fatal )?error: (?P<what>.*)"
)
_ORIGIN: Final = re.compile(r"/\* (?P<origin>(?:(?!\*/).)+:\d+:\d+) \*/")
_NUMBERED: Final = re.compile(r'^#line (?P<line>\d+) "(?P<file>(?:[^"\\]|\\.)*)"$')
_UNDEFINED: Final = re.compile(r'modpost: "(?P<name>\w+)" \[.*\] undefined!')
_LAST_LINES: Final = 5
_MOST: Final = 20  # errors that are shown


class _Error(NamedTuple):
    file: str
    line: int
    column: int
    what: str


def explain(output: str, work: Path, directory: Path) -> list[str]:
    """Lines that say what went wrong: for embedded C the script's line, else the C line and what
    it was made of, and the kernel it was built for.

    ``output`` is what make said, ``work`` the directory with the C texts, ``directory`` the
    kernel's build directory.
    """
    sources = {path: path.read_text("latin-1").split("\n") for path in work.glob("*.c")}
    errors = [error for line in output.splitlines() if (error := _parse(line)) is not None]
    lines = [f"ERROR: the module does not compile against {directory}"]
    ours = False
    for error in errors[:_MOST]:
        script = _script_line(error, sources)
        if script is None:
            ours = True
            lines += _generated(error, work, sources)
        else:
            lines.append(f"ERROR: {error.file}:{error.line}:{error.column}: {error.what}")
            lines.append(f"ERROR:     {script.strip()}")
    missing = list(dict.fromkeys(found["name"] for found in _UNDEFINED.finditer(output)))
    lines += [f"ERROR: the kernel does not export '{name}' to modules" for name in missing]
    if (errors or missing) and not ours and _has_embedded(sources):
        return ["ERROR: the embedded C of the script does not compile", *lines[1:]]
    if not errors and not missing:
        lines += [f"ERROR: {line}" for line in output.splitlines()[-_LAST_LINES:]]
    lines.append(
        "ERROR: this is a fault of pystap or of the build tree, not of the script; "
        f"with -k the C text stays ({work})"
    )
    return lines


def _has_embedded(sources: dict[Path, list[str]]) -> bool:
    """Whether there is C of the script."""
    return any(map(_NUMBERED.match, (line for lines in sources.values() for line in lines)))


def _parse(line: str) -> _Error | None:
    found = _ERROR_LINE.match(line)
    if found is None:
        return None
    return _Error(found["file"], int(found["line"]), int(found["column"]), found["what"])


def _generated(error: _Error, work: Path, sources: dict[Path, list[str]]) -> list[str]:
    """An error in the C text that the script was made into, or in a header."""
    where = Path(error.file)
    if error.file == FILE and len(sources) == 1:
        where = next(iter(sources))
    lines = [f"ERROR: {where.name}:{error.line}: {error.what}"]
    if where.parent == work and where in sources:
        lines += _place(sources[where], error.line)
    return lines


def _script_line(error: _Error, sources: dict[Path, list[str]]) -> str | None:
    """The line of embedded C that an error is in."""
    for lines in sources.values():
        for at, line in enumerate(lines):
            begin = _NUMBERED.match(line)
            if begin is None or begin["file"] == FILE or begin["file"] != error.file:
                continue
            place = at + 1 + error.line - int(begin["line"])
            if at < place < len(lines) and not any(
                map(_NUMBERED.match, lines[at + 1 : place + 1])
            ):
                return lines[place]
    return None


def _place(source: list[str], number: int) -> list[str]:
    """The line, and what of the script it was made of."""
    lines = [f"ERROR:     {source[number - 1].strip()}"]
    for line in reversed(source[:number]):
        origin = _ORIGIN.search(line)
        if origin is not None:
            return [*lines, f"ERROR:     of the handler at {origin['origin']}"]
    return lines
