"""Diagnostics as text: the shapes SystemTap's users know.

::

    parse error: MESSAGE                semantic error: MESSAGE: identifier 'x' at FILE:LINE:COL
            saw: operator ')' at ...            source: LINE OF THE SCRIPT
         source: LINE OF THE SCRIPT                     ^
                         ^

A warning has its source line indented by one.  Hints are a further line, indented by eight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pystap.diag.diagnostic import Diagnostic, Diagnostics
from pystap.lang.tokens import Token, printable
from pystap.typing import Final

_ERROR: Final = "01;31"
_WARNING: Final = "00;33"
_SOURCE: Final = "00;34"
_CARET: Final = "01"
_TOKEN: Final = "01"

_PARSE_LABEL: Final = "     source: "
_SEMANTIC_LABEL: Final = "        source: "
_WARNING_LABEL: Final = " source: "

# No line of a message is longer than this; of a longer source line the part around the caret
# is shown.
_WIDTH: Final = 1000
# Of a longer chain of macro invocations, so many at each end are shown.
_CHAIN_END: Final = 8


def render(diag: Diagnostic, *, color: bool = False, verbose: int = 0) -> str:
    """One diagnostic with its causes, each line ended by a newline.

    ``verbose`` of 2 adds the diagnostic's code.
    """
    return "".join(_blocks(diag, _Painter(color), verbose))


def render_all(
    diags: Diagnostics | Iterable[Diagnostic], *, color: bool = False, verbose: int = 0
) -> str:
    """All diagnostics in order, the count of parse errors behind those of each file.

    Unless ``verbose``, of several with the same severity and message only the first is shown and
    the others are counted at the end.
    """
    items: Iterable[Diagnostic] = diags.items if isinstance(diags, Diagnostics) else diags
    painter = _Painter(color)
    parts: list[str] = []
    seen: set[tuple[str, str]] = set()
    suppressed = {"error": 0, "warning": 0}
    file: object = None
    count = 0
    for diag in items:
        here = _file(diag) if diag.severity == "parse error" else None
        if count and here is not file:
            parts.append(_count(count))
            count = 0
        if here is not None:
            file = here
            count += 1
        key = (diag.severity, diag.message)
        if key in seen and not verbose:
            suppressed["warning" if diag.severity == "warning" else "error"] += 1
            continue
        seen.add(key)
        parts += _blocks(diag, painter, verbose)
    if count:
        parts.append(_count(count))
    for kind, number in suppressed.items():
        if number:
            parts.append(f"Number of similar {kind} messages suppressed: {number}.\n")
    if any(suppressed.values()):
        parts.append("Rerun with -v to see them.\n")
    return "".join(parts)


def use_color(mode: str) -> bool:
    """Whether messages are coloured: ``always``, ``never``, or ``auto`` for a capable terminal."""
    if mode != "auto":
        return mode == "always"
    import os
    import sys

    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class _Painter:
    """Puts colours on parts of a message, or does not.

    The environment variable SYSTEMTAP_COLORS may change them (``error=01;31:caret=01:...``).
    """

    def __init__(self, on: bool) -> None:
        self.on = on
        self.codes = {
            "error": _ERROR,
            "warning": _WARNING,
            "source": _SOURCE,
            "caret": _CARET,
            "token": _TOKEN,
        }
        if on:
            self.configure()

    def configure(self) -> None:
        import os

        for setting in os.environ.get("SYSTEMTAP_COLORS", "").split(":"):
            name, _, code = setting.partition("=")
            if name in self.codes and code.replace(";", "").isdecimal():
                self.codes[name] = code

    def __call__(self, what: str, text: str) -> str:
        return f"\033[{self.codes[what]}m\033[K{text}\033[m\033[K" if self.on and text else text


def _file(diag: Diagnostic) -> object:
    """The buffer a parse error counts for: that of the outermost macro invocation."""
    token = diag.token
    if token is None:
        return None
    while token.expansion is not None:
        token = token.expansion
    return token.source.root_offset(token.offset)[0]


def _count(count: int) -> str:
    return f"{count} parse error{'' if count == 1 else 's'}.\n"


def _blocks(diag: Diagnostic, paint: _Painter, verbose: int) -> Iterator[str]:
    lines = _lines(diag, paint, verbose)
    yield "\n".join(lines) + "\n"
    for cause in diag.causes:
        yield from _blocks(cause, paint, verbose)


def _lines(diag: Diagnostic, paint: _Painter, verbose: int) -> list[str]:
    if diag.severity == "warning":
        lines = _place_lines("WARNING", "warning", _WARNING_LABEL, diag, paint)
    elif diag.severity == "parse error":
        lines = _parse_error(diag, paint)
    elif diag.severity == "semantic error":
        lines = _place_lines("semantic error", "error", _SEMANTIC_LABEL, diag, paint)
    else:
        lines = [_one_line(diag.message)]
    lines += [f"        {_one_line(note)}" for note in diag.notes]
    if diag.hint:
        lines.append(f"        hint: {_one_line(diag.hint)}")
    if verbose > 1 and diag.code:
        lines.append(f"   code: {diag.code}")
    if diag.severity in ("parse error", "semantic error"):
        lines.append("")
    return lines


def _parse_error(diag: Diagnostic, paint: _Painter) -> list[str]:
    lines = [f"{paint('error', 'parse error:')} {diag.message}"]
    for token in (diag.token, diag.token2):
        if token is None:
            continue
        if token.kind == "eof":
            lines.append(f"        saw: {token.source.name} EOF")
            continue
        lines.append(f"{'        saw' if diag.saw else '         at'}: {_described(token, paint)}")
        lines += _source_lines(token, _PARSE_LABEL, paint)
        lines += _expansion_lines(token, _PARSE_LABEL, paint)
    return lines


def _place_lines(
    word: str, color: str, label: str, diag: Diagnostic, paint: _Painter
) -> list[str]:
    """``WORD: MESSAGE: TOKEN at PLACE`` and the source line, once for each token."""
    head = f"{paint(color, word + ':')} {_one_line(diag.message)}"
    if diag.token is None:
        return [head]
    lines = [f"{head}: {_described(diag.token, paint)}"]
    lines += _token_lines(diag.token, label, paint)
    if diag.token2 is not None:
        lines.append(f"{' ' * len(label.split('s')[0])}{_described(diag.token2, paint)}")
        lines += _token_lines(diag.token2, label, paint)
    return lines


def _token_lines(token: Token, label: str, paint: _Painter) -> list[str]:
    return _source_lines(token, label, paint) + _expansion_lines(token, label, paint)


def _described(token: Token, paint: _Painter) -> str:
    if token.kind == "eof":
        return f"{token.source.name} EOF"
    return f"{token.describe()} at {paint('source', token.location())}"


def _expansion_lines(token: Token, label: str, paint: _Painter) -> list[str]:
    """The chain of macro invocations, or of code a token was made from."""
    blocks: list[list[str]] = []
    while token.expansion is not None:
        synthetic = token.source.kind == "synthetic"
        token = token.expansion
        origin = "in synthesized code from" if synthetic else "in expansion of macro"
        head = f"\t{origin}: {_described(token, paint)}"
        blocks.append([head, *_source_lines(token, label, paint)])
    left_out = len(blocks) - 2 * _CHAIN_END
    if left_out > 0:
        blocks[_CHAIN_END:-_CHAIN_END] = [[f"\t({left_out} more levels)"]]
    return [line for block in blocks for line in block]


def _source_lines(token: Token, label: str, paint: _Painter) -> list[str]:
    """The script line of a token and the caret under it; tabs are kept so that it lines up."""
    if token.kind == "eof":
        return []
    line, column = token.source.position(token.offset)
    text = token.source.line(line).rstrip("\r")
    begin = column - 1
    if len(text) > _WIDTH:
        start = max(0, begin - _WIDTH // 2)
        text, begin = text[start : start + _WIDTH], begin - start
    end = begin + _shown_length(token, text[begin:])
    before = _visible(text[:begin])
    shown = before + paint("token", _visible(text[begin:end])) + _visible(text[end:])
    blanks = "".join(c if c == "\t" else " " for c in before)
    return [f"{label}{shown}", f"{' ' * len(label)}{blanks}{paint('caret', '^')}"]


def _shown_length(token: Token, text: str) -> int:
    """How much of ``text``, the script from the token on, is the token."""
    if token.kind == "string":
        return len(token.text) + 2 if text[1:].startswith(f'{token.text}"') else 0
    return len(token.text) if text.startswith(token.text) else 0


def _visible(text: str) -> str:
    return text if text.isprintable() else "\t".join(map(printable, text.split("\t")))


def _one_line(message: str) -> str:
    return message if message.isprintable() else "\n".join(map(printable, message.split("\n")))
