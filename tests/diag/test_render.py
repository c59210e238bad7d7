"""Diagnostics as text; the shapes are those SystemTap's users know."""

from __future__ import annotations

import pytest

from pystap.diag.diagnostic import Diagnostic, Diagnostics
from pystap.diag.render import render, render_all, use_color
from pystap.lang.source import Source
from pystap.lang.tokens import Token, TokenKind

SOURCE = Source("a.stp", 'probe begin {\n\tx = foo("s\\n")\n}\n')


def at(kind: TokenKind, text: str, nth: int = 0, source: Source = SOURCE) -> Token:
    offset = -1
    for _ in range(nth + 1):
        offset = source.text.index(text if kind != "string" else '"', offset + 1)
    return Token(kind, text, source, offset)


def test_parse_error_saw() -> None:
    diag = Diagnostic("parse error", "expected ','", at("operator", ")"), saw=True)
    assert render(diag) == (
        "parse error: expected ','\n"
        "        saw: operator ')' at a.stp:2:15\n"
        '     source: \tx = foo("s\\n")\n'
        "             \t             ^\n"
        "\n"
    )


def test_parse_error_at() -> None:
    diag = Diagnostic("parse error", "nothing to see", at("keyword", "probe"))
    assert render(diag) == (
        "parse error: nothing to see\n"
        "         at: keyword at a.stp:1:1\n"
        "     source: probe begin {\n"
        "             ^\n"
        "\n"
    )


def test_parse_error_at_the_end() -> None:
    end = Token("eof", "", SOURCE, len(SOURCE.text))
    diag = Diagnostic("parse error", "expected statement", end, saw=True, hint="close it")
    assert render(diag) == (
        "parse error: expected statement\n        saw: a.stp EOF\n        hint: close it\n\n"
    )


def test_semantic_error() -> None:
    diag = Diagnostic("semantic error", "unresolved function foo", at("identifier", "foo"))
    assert render(diag) == (
        "semantic error: unresolved function foo: identifier 'foo' at a.stp:2:6\n"
        '        source: \tx = foo("s\\n")\n'
        "                \t    ^\n"
        "\n"
    )


def test_semantic_error_without_place() -> None:
    assert render(Diagnostic("semantic error", "no probes found")) == (
        "semantic error: no probes found\n\n"
    )


def test_second_token_notes_hint_and_causes() -> None:
    diag = Diagnostic(
        "semantic error",
        "type mismatch (string)",
        at("string", "s\n"),
        at("identifier", "x"),
        notes=["a detail", "another"],
        hint="did you mean y?",
        causes=[Diagnostic("semantic error", "while processing probe begin")],
        code="E0203",
    )
    text = (
        "semantic error: type mismatch (string): string 's\\n' at a.stp:2:10\n"
        '        source: \tx = foo("s\\n")\n'
        "                \t        ^\n"
        "        identifier 'x' at a.stp:2:2\n"
        '        source: \tx = foo("s\\n")\n'
        "                \t^\n"
        "        a detail\n"
        "        another\n"
        "        hint: did you mean y?\n"
    )
    cause = "\nsemantic error: while processing probe begin\n\n"
    assert render(diag) == text + cause
    assert render(diag, verbose=2) == text + "   code: E0203\n" + cause


def test_warning() -> None:
    diag = Diagnostic("warning", "never assigned", at("identifier", "x"), hint="assign it")
    assert render(diag) == (
        "WARNING: never assigned: identifier 'x' at a.stp:2:2\n"
        ' source: \tx = foo("s\\n")\n'
        "         \t^\n"
        "        hint: assign it\n"
    )
    assert render(Diagnostic("warning", "just so")) == "WARNING: just so\n"


def test_plain_error() -> None:
    assert render(Diagnostic("error", "Input file 'x' is empty.")) == "Input file 'x' is empty.\n"


def test_macro_chain_and_synthesized_code() -> None:
    outer = at("keyword", "probe")
    inner = Token("operator", "@m", Source("m.stpm", "  @m"), 2, outer)
    made = Source("<made>", "a = b", "synthetic")
    token = Token("identifier", "b", made, 4, inner)
    assert render(Diagnostic("semantic error", "oops", token)) == (
        "semantic error: oops: identifier 'b' at <made>:1:5\n"
        "        source: a = b\n"
        "                    ^\n"
        "\tin synthesized code from: operator '@m' at m.stpm:1:3\n"
        "        source:   @m\n"
        "                  ^\n"
        "\tin expansion of macro: keyword at a.stp:1:1\n"
        "        source: probe begin {\n"
        "                ^\n"
        "\n"
    )


def test_long_macro_chain_is_cut() -> None:
    token = at("keyword", "probe")
    for n in range(100):
        token = Token("operator", f"@m{n}", Source("m", "xxxx"), 0, token)
    text = render(Diagnostic("parse error", "oops", token))
    assert text.count("in expansion of macro") == 16
    assert "\t(84 more levels)\n" in text


def test_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYSTEMTAP_COLORS", raising=False)
    diag = Diagnostic("semantic error", "bad", at("identifier", "foo"))
    assert render(diag, color=True) == (
        "\33[01;31m\33[Ksemantic error:\33[m\33[K bad: identifier 'foo' at "
        "\33[00;34m\33[Ka.stp:2:6\33[m\33[K\n"
        '        source: \tx = \33[01m\33[Kfoo\33[m\33[K("s\\n")\n'
        "                \t    \33[01m\33[K^\33[m\33[K\n"
        "\n"
    )
    monkeypatch.setenv("SYSTEMTAP_COLORS", "error=36:caret=1;4:nonsense:token=x")
    text = render(diag, color=True)
    assert text.startswith("\33[36m\33[Ksemantic error:")
    assert "\33[1;4m\33[K^" in text
    assert "\33[01m\33[Kfoo" in text
    warning = render(Diagnostic("warning", "w"), color=True)
    assert warning == "\33[00;33m\33[KWARNING:\33[m\33[K w\n"


def test_when_to_color(monkeypatch: pytest.MonkeyPatch) -> None:
    assert use_color("always")
    assert not use_color("never")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert use_color("auto")
    monkeypatch.setenv("TERM", "dumb")
    assert not use_color("auto")


def test_counts_behind_each_file() -> None:
    diags = Diagnostics()
    for name in ("one", "two"):
        source = Source(name, "x y z")
        for n, text in enumerate("xyz"):
            diags.add(
                Diagnostic("parse error", f"bad {name} {n}", at("identifier", text, 0, source))
            )
    lines = render_all(diags).split("\n")
    assert lines.count("3 parse errors.") == 2
    assert lines.index("3 parse errors.") < lines.index("parse error: bad two 0")


def test_one_error_is_counted_in_the_singular() -> None:
    text = render_all([Diagnostic("parse error", "bad", at("identifier", "x"))])
    assert text.endswith("\n\n1 parse error.\n")


def test_similar_messages() -> None:
    diags = Diagnostics()
    for nth in range(3):
        diags.add(Diagnostic("semantic error", "bad o", at("identifier", "o", nth)))
    for text in ("x", "foo"):
        diags.warn("odd", at("identifier", text))
    text = render_all(diags)
    assert text.count("semantic error:") == 1
    assert text.count("WARNING:") == 1
    assert text.endswith(
        "Number of similar error messages suppressed: 2.\n"
        "Number of similar warning messages suppressed: 1.\n"
        "Rerun with -v to see them.\n"
    )
    verbose = render_all(diags, verbose=1)
    assert verbose.count("semantic error:") == 3
    assert "suppressed" not in verbose


def test_same_message_at_same_place_is_one() -> None:
    diags = Diagnostics()
    for _ in range(2):
        diags.warn("odd", at("identifier", "x"))
    assert len(diags.items) == 1
    assert diags.warnings
    assert not diags.errors


def test_nothing_to_say() -> None:
    assert render_all(Diagnostics()) == ""


def test_text_that_is_not_printable() -> None:
    source = Source("b", "a\x00\x1b[1m\tb\r\n")
    diag = Diagnostic("semantic error", "odd \x07name", Token("identifier", "b\n", source, 7))
    assert render(diag) == (
        "semantic error: odd \\aname: identifier 'b\\n' at b:1:8\n"
        "        source: a\\000\\033[1m\tb\n"
        "                            \t^\n"
        "\n"
    )


def test_bytes_beyond_ascii_go_through() -> None:
    source = Source("b", "x = \xc3\xa4")
    text = render(Diagnostic("parse error", "bad", Token("operator", "\xc3", source, 4)))
    assert "     source: x = \xc3\xa4\n                 ^\n" in text


def test_long_line_is_cut_around_the_caret() -> None:
    source = Source("b", "y" * 5000 + "!" + "z" * 5000)
    lines = render(Diagnostic("parse error", "bad", Token("operator", "!", source, 5000))).split(
        "\n"
    )
    assert len(lines[2]) < 1100
    assert lines[2][lines[3].index("^")] == "!"
