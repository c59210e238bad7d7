"""Format literals: what is parsed, what is refused, which arguments are wanted."""

from __future__ import annotations

import pytest

from pystap.output.formats import STAR, Directive, Format
from pystap.output.formatspec import FormatError, argument_kinds, parse_format, script_kinds

PARSED: dict[str, tuple[Directive, ...]] = {
    "": (),
    "plain\n": (Directive("", "plain\n"),),
    "%d": (Directive("d"),),
    "%i": (Directive("d"),),
    "100%": (Directive("", "100%"),),
    "%": (Directive("", "%"),),
    "%%": (Directive("", "%"),),
    "a%%b%%": (Directive("", "a%b%"),),
    "%%%d%%": (Directive("", "%"), Directive("d"), Directive("", "%")),
    "%-5d": (Directive("d", "", "-", 5),),
    "%05.3x!": (Directive("x", "", "0", 5, 3), Directive("", "!")),
    "% d": (Directive("d", "", " "),),
    "%#lx": (Directive("x", "", "#"),),
    "%*.*s": (Directive("s", "", "", STAR, STAR),),
    "%.s": (Directive("s", "", "", None, 0),),
    "%-*lu": (Directive("u", "", "-", STAR),),
    "%16M": (Directive("M", "", "", 16),),
    "\xff%c\x80": (Directive("", "\xff"), Directive("c"), Directive("", "\x80")),
}


@pytest.mark.parametrize("text", PARSED)
def test_parsed(text: str) -> None:
    assert parse_format(text) == Format(PARSED[text])


REFUSED = {
    "%n": 0,
    "%P": 0,
    "%e": 0,
    "%f": 0,
    "%g": 0,
    "%a": 0,
    "%y": 0,
    "%-+d": 0,
    "%00d": None,  # the second 0 belongs to the width
    "%lld": 0,
    "%5": 0,
    "%-": 0,
    "%.": 0,
    "%l": 0,
    "%5%": 0,
    "ok %d\n%": None,
    "ok %d %q": 6,
    "%hd": 0,
    "%5.-3d": 0,
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    offset = REFUSED[text]
    if offset is None:
        parse_format(text)
        return
    with pytest.raises(FormatError) as caught:
        parse_format(text)
    assert caught.value.message == "invalid or missing conversion specifier"
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    "text", ["%4097d", "%-99999s", "%.4097x", "%4097m", "%" + "9" * 9999 + "d", "%5000%d"]
)
def test_fields_too_wide(text: str) -> None:
    with pytest.raises(FormatError):
        parse_format(text)


@pytest.mark.parametrize(
    "text", ["%4096d", "%.4096x", "%.4097s", "%.9999M", "%" + "0" * 9999 + "d"]
)
def test_fields_just_wide_enough(text: str) -> None:
    (directive,) = parse_format(text).directives
    assert directive.conv == text[-1]


@pytest.mark.parametrize(
    ("text", "record", "script"),
    [
        ("none %%", "", ""),
        ("%d%u%o%x%X%p%c%b", "llllllll", "llllllll"),
        ("%s %d", "sl", "sl"),
        ("%*.*s %*d", "llsll", "llsll"),
        ("%.*M%m", "lss", "lll"),
    ],
)
def test_argument_kinds(text: str, record: str, script: str) -> None:
    fmt = parse_format(text)
    assert (argument_kinds(fmt), script_kinds(fmt)) == (record, script)


def test_histograms_are_one_argument() -> None:
    fmt = Format((Directive("hist_log"), Directive("hist_linear", params=(0, 10, 1))))
    assert argument_kinds(fmt) == "hh"
