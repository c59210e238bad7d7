"""The reference formatter: printf as in C where C agrees, and what is different, as data."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystap.output.formats import MAX_FIELD, Directive, Format
from pystap.output.formatspec import parse_format
from pystap.output.render import Argument, escape, render

CASES: list[tuple[str, list[Argument], bytes]] = [
    ("%d %d", [0, -1], b"0 -1"),
    ("%d", [1 << 63], b"-9223372036854775808"),
    ("%d", [(1 << 64) - 1], b"-1"),
    ("%u", [-1], b"18446744073709551615"),
    ("%u", [1 << 64], b"0"),
    ("%+d % d %+d", [5, 5, -5], b"+5  5 -5"),
    ("%+u % u", [5, 5], b"5 5"),
    ("%o %#o %#o", [8, 8, 0], b"10 010 00"),
    ("%x %X %#x %#X", [255, 255, 255, 255], b"ff FF 0xff 0XFF"),
    ("%#x %p %p", [0, 0, 0xABC], b"0x0 0x0 0xabc"),
    ("%x", [-1], b"ffffffffffffffff"),
    ("[%8p|%-8p|%08p|%.4p]", [1, 1, 1, 1], b"[     0x1|0x1     |0x000001|0x0001]"),
    ("[%5d|%-5d|%05d]", [42, 42, 42], b"[   42|42   |00042]"),
    ("[%5d|%-5d|%05d]", [-42, -42, -42], b"[  -42|-42  |-0042]"),
    ("[%.3d|%6.3d|%-6.3d|%.0d]", [5, 5, 5, 0], b"[005|   005|005   |0]"),
    ("[%06.3d]", [5], b"[000005]"),
    ("[%#8x|%#.4x]", [255, 255], b"[    0xff|0x00ff]"),
    ("[%*d|%*d|%-*d]", [5, 42, -5, 42, 5, 42], b"[   42|42   |42   ]"),
    ("[%0*d]", [-5, 42], b"[42   ]"),
    ("[%.*d|%.*d]", [3, 5, -3, 5], b"[005|5]"),
    ("[%*.*s]", [6, 2, b"text"], b"[    te]"),
    ("[%.*s]", [-1, b"text"], b"[text]"),
    ("[%s|%6s|%-6s|%.2s|%06s]", [b"abc"] * 5, b"[abc|   abc|abc   |ab|   abc]"),
    ("%s", [b"a\0b\xff"], b"a\0b\xff"),
    ("%#s", [b'tab\t"q"\\\x01\x7f\xe4 ok'], b'tab\\t\\"q\\"\\\\\\001\\177\xe4 ok'),
    ("%#s", [b"plain1"], b"plain1"),
    ("[%#8s]", [b"\n"], b"[      \\n]"),
    ("%c%c%c", [65, 0x141, 0xFF], b"AA\xff"),
    ("[%3c|%-3c]", [65, 65], b"[  A|A  ]"),
    ("%#c%#c%#c%#c", [10, 39, 92, 65], b"\\n\\'\\\\A"),
    ("%#c %#c %#c", [0, 200, 34], b'\\000 \\310 "'),
    ("%#c%#c%#c%#c%#c%#c%#c", [7, 8, 9, 11, 12, 13, 127], b"\\a\\b\\t\\v\\f\\r\\177"),
    ("%b", [0x0102030405060708], b"\x08\x07\x06\x05\x04\x03\x02\x01"),
    ("%1b%2b%4b%8b", [1, 2, 3, 4], b"\1\2\0\3\0\0\0\4\0\0\0\0\0\0\0"),
    ("[%4.2b|%-4.2b]", [0x4142, 0x4142], b"[\0\0BA|BA\0\0]"),
    ("%3b|%16b", [1, 2], b"\1\0\0\0|\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0"),
    ("[%m|%.2m|%4m]", [b"abc", b"abc", b"ab"], b"[abc|ab|  ab]"),
    ("[%M|%.2M|%8M|%-8M]", [b"\x00\xff"] * 4, b"[00ff|00ff|    00ff|00ff    ]"),
    ("%#m%#M", [b"a", b"a"], b"a61"),
    ("100%% \xe4", [], b"100% \xe4"),
    ("%4096d", [1], b" " * (MAX_FIELD - 1) + b"1"),
    ("%.*d", [99999, 1], b"0" * (MAX_FIELD - 1) + b"1"),
    ("%.99999999999s|", [b"ab"], b"ab|"),
    ("%*d", [1 << 62, 1], b" " * (MAX_FIELD - 1) + b"1"),
    ("%*d", [-(1 << 63), 1], b"1" + b" " * (MAX_FIELD - 1)),
]


@pytest.mark.parametrize(("text", "args", "expected"), CASES)
def test_cases(text: str, args: list[Argument], expected: bytes) -> None:
    assert render(parse_format(text), args) == expected


def test_histograms_take_their_parameters() -> None:
    counts = [0, 9, 0, 0]
    fmt = Format((Directive("hist_linear", params=(0, 1, 1)), Directive("", "\n")))
    text = render(fmt, [counts], hist_width=3, hist_elision=0)
    assert text == b"value |--- count\n    0 |@@@ 9\n      ~\n\n\n"
    with pytest.raises(ValueError, match="4 buckets, not 128"):
        render(Format((Directive("hist_log"),)), [counts])


LIBC = ctypes.CDLL(None)


def in_c(spec: str, value: int | bytes) -> bytes:
    """What the C library makes of one directive."""
    argument = ctypes.c_longlong(value) if isinstance(value, int) else ctypes.c_char_p(value)
    buffer = ctypes.create_string_buffer(2048)
    size = LIBC.snprintf(buffer, 2048, spec.encode(), argument)
    return buffer.raw[:size]


FIELDS = st.one_of(st.none(), st.integers(1, 60))


@given(
    st.sampled_from("duxXo"),
    st.sampled_from(["", "-", "+", " ", "0", "#"]),
    FIELDS,
    FIELDS,
    st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-20, 20)),
)
def test_numbers_agree_with_c(
    conversion: str, flag: str, width: int | None, precision: int | None, value: int
) -> None:
    # The two documented differences: # prefixes always, 0 fills in spite of a precision.
    if (flag == "0" and precision is not None) or (flag == "#" and conversion in "xXo"):
        flag = ""
    field = ("" if width is None else str(width)) + ("" if precision is None else f".{precision}")
    got = render(parse_format(f"%{flag}{field}l{conversion}"), [value])
    assert got == in_c(f"%{flag}{field}ll{conversion}", value)


@given(
    st.sampled_from(["", "-"]),
    FIELDS,
    st.one_of(st.none(), st.integers(0, 30)),
    st.binary(max_size=40).filter(lambda text: b"\0" not in text),
)
def test_strings_agree_with_c(
    flag: str, width: int | None, precision: int | None, value: bytes
) -> None:
    field = ("" if width is None else str(width)) + ("" if precision is None else f".{precision}")
    spec = f"%{flag}{field}s"
    assert render(parse_format(spec), [value]) == in_c(spec, value)


@given(st.binary())
def test_escaping_can_be_undone(text: bytes) -> None:
    quoted = escape(text)
    assert not any(byte < 32 or byte == 127 for byte in quoted)
    plain = quoted.decode("latin-1").encode("latin-1", "backslashreplace")
    assert plain.decode("unicode_escape").encode("latin-1") == text
