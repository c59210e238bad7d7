"""Intrinsics of strings, probes and the machine; those of memory have a file of their own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystap.backend.reference import Environment, Event, InterpreterError, Memory
from pystap.backend.reference.intrinsics import implementations
from pystap.ir import ops
from pystap.ir.intrinsics import INTRINSICS
from pystap.probes import attach

from .irbuild import Build, call_intrinsic, do, e, emit, value_of


def test_every_intrinsic_is_implemented() -> None:
    assert set(implementations()) == set(INTRINSICS)


def test_system_calls() -> None:
    env = Environment(user=Memory({0x1000: b"/etc/passwd\0"}))
    args = (-100, 0x1000, 0o1, 0, 0, 0)
    assert value_of(call_intrinsic("syscall_name", 257)) == "openat"
    assert value_of(call_intrinsic("syscall_retstr", 257, -2)) == "-2 (ENOENT)"
    text = value_of(call_intrinsic("syscall_argstr", 257, *args), env)
    assert text == 'AT_FDCWD, "/etc/passwd", O_WRONLY'


CASES = [
    ("strlen", ("",), "0"),
    ("strlen", ("\xff\x80a",), "3"),
    ("substr", ("hello", 1, 3), "ell"),
    ("substr", ("hello", 3, 99), "lo"),
    ("substr", ("hello", 5, 1), ""),
    ("substr", ("hello", 9, 1), ""),
    ("substr", ("hello", -1, 2), ""),
    ("substr", ("hello", 1, -1), ""),
    ("substr", ("hello", 1, 0), ""),
    ("substr", ("hello", (1 << 63) - 1, (1 << 63) - 1), ""),
    ("stringat", ("hello", 1), "101"),
    ("stringat", ("\xfe", 0), "254"),
    ("stringat", ("hello", 5), "0"),
    ("stringat", ("hello", 511), "0"),
    ("stringat", ("hello", 512), "ERROR: invalid string index"),
    ("stringat", ("hello", -1), "ERROR: invalid string index"),
    ("isinstr", ("hello", "ll"), "1"),
    ("isinstr", ("hello", "lol"), "0"),
    ("isinstr", ("", ""), "1"),
    ("strpos", ("hello", "l"), "2"),
    ("strpos", ("hello", "z"), "-1"),
    ("strpos", ("hello", ""), "0"),
    ("isdigit", ("7a",), "1"),
    ("isdigit", ("a7",), "0"),
    ("isdigit", ("",), "0"),
    ("str_replace", ("a-b-c", "-", "+-"), "a+-b+-c"),
    ("str_replace", ("aaa", "aa", ""), "a"),
    ("str_replace", ("abc", "", "x"), "abc"),
    ("strtol", ("123abc", 10), "123"),
    ("strtol", ("-12", 10), "-12"),
    ("strtol", ("+12", 10), "0"),
    ("strtol", (" 12", 10), "0"),
    ("strtol", ("ff", 16), "255"),
    ("strtol", ("0xFf", 16), "255"),
    ("strtol", ("0xff", 0), "255"),
    ("strtol", ("0x", 0), "0"),
    ("strtol", ("017", 0), "15"),
    ("strtol", ("17", 0), "17"),
    ("strtol", ("0x11", 10), "0"),
    ("strtol", ("102", 2), "2"),
    ("strtol", ("z", 36), "35"),
    ("strtol", ("1", 1), "0"),
    ("strtol", ("1", 37), "0"),
    ("strtol", ("-0x8000000000000000", 16), str(-(1 << 63))),
    ("strtol", ("18446744073709551617", 10), "1"),
    ("text_str", ('a"b\\\n\t\x01\x7f\xff',), r"a\"b\\\n\t\001\177\377"),
    ("text_strn", ("hello", 3, 0), "hel"),
    ("text_strn", ("hello", 3, 1), '"hel"...'),
    ("text_strn", ("hello", 5, 1), '"hello"'),
    ("text_strn", ("a\nb", 2, 1), '"a"...'),  # an escape is not split
    ("text_strn", ("a\nb", 0, 1), r'"a\nb"'),
    ("text_strn", ("", 0, 1), '""'),
    ("byte_str", (65,), "A"),
    ("byte_str", (0x142,), "B"),
    ("byte_str", (0,), ""),
    ("hz", (), "250"),
    ("page_size", (), "4096"),
    ("maxstringlen", (), "512"),
    ("tz_name", (), "UTC"),
    ("tz_gmtoff", (), "0"),
    ("target", (), "0"),
    ("stp_pid", (), "999"),
    ("module_name", (), "stap_reference"),
]


@pytest.mark.parametrize(("name", "args", "value"), CASES, ids=lambda v: repr(v)[:24])
def test_value(name: str, args: tuple[int | str, ...], value: str) -> None:
    assert value_of(call_intrinsic(name, *args)) == value


def test_quoted_text_fits_into_a_string() -> None:
    b = Build()
    b.module.limits.maxstringlen = 12
    quoted = call_intrinsic("text_strn", "abcdefghijk", 0, 1)
    assert b.begin(emit("%s|", quoted)).output == b'"abcdef"...|'


@settings(max_examples=100, deadline=None)
@given(st.text("ab,; ", max_size=20), st.text(",; ", max_size=2))
def test_tokens(text: str, delimiters: str) -> None:
    b = Build()
    calls = [emit("<%s>", call_intrinsic("tokenize", text, delimiters))]
    calls += [emit("<%s>", call_intrinsic("tokenize_next", delimiters))] * 21
    normal = text
    for char in delimiters:
        normal = normal.replace(char, "\0")
    words = [w for w in normal.split("\0") if w]
    words += [""] * (22 - len(words))
    assert b.begin(*calls).output.decode() == "".join(f"<{w}>" for w in words)


def test_tokens_of_processors_do_not_mix() -> None:
    b = Build()
    first = b.probe([emit("%s ", call_intrinsic("tokenize", "a b c", " "))])
    further = b.probe([emit("%s ", call_intrinsic("tokenize", "", " "))])
    events = [
        (first, Event(cpu=0)),
        (first, Event(cpu=1)),
        (further, Event(cpu=0)),
        (further, Event(cpu=1)),
    ]
    assert b.run([*events, (further, Event(cpu=2))]).output == b"a a b b  "


KINDS = [
    (attach.Timer(1), "hrtimer", 0),
    (attach.Profile(), "perf", 0),
    (attach.PerfEvent(1, 0), "perf", 0),
    (attach.Tracepoint("x", 0), "tracepoint", 0),
    (attach.SyscallEvent("enter"), "tracepoint", 0),
    (attach.SyscallEvent("exit"), "tracepoint", 1),
    (attach.Uprobe("/bin/x", 0, "f", False), "uprobe", 0),
    (attach.Uprobe("/bin/x", 0, "f", True), "uretprobe", 1),
    (attach.ProcessEvent("begin"), "tracepoint", 0),
]


@pytest.mark.parametrize(("place", "kind", "is_return"), KINDS, ids=lambda v: str(v)[:30])
def test_about_the_probe(place: attach.Attach, kind: str, is_return: int) -> None:
    names = ("pp", "pn", "ppfunc", "probe_kind")
    b = Build()
    body = [emit("%s %s [%s] %s %d", *(call_intrinsic(n) for n in (*names, "is_return")))]
    index = b.probe(body, 'process("/x").function("f@a.c:1")', place, name="my.alias")
    result = b.run([(index, Event())])
    expected = f'process("/x").function("f@a.c:1") my.alias [f] {kind} {is_return}'
    assert result.output.decode() == expected


def test_about_the_event() -> None:
    names = ("user_mode", "addr", "uaddr", "returnval")
    b = Build()
    index = b.probe(
        [emit("%d %d %d %d", *(call_intrinsic(n) for n in names)),
         emit(" %d %d", call_intrinsic("funcarg", 1), call_intrinsic("reg", 16))]
    )  # fmt: skip
    event = Event(user_mode=True, ip=1, user_ip=2, retval=-3, funcargs=(0, 4), registers={16: 5})
    assert b.run([(index, event)]).output == b"1 1 2 -3 4 5"


def test_random_bits() -> None:
    values = {int(value_of(call_intrinsic("random"), Environment(seed=s))) for s in range(50)}
    assert len(values) == 50
    assert all(0 <= v < 1 << 32 for v in values)


def test_tables() -> None:
    def table(name: str, table_name: str, arg: int | str) -> str:
        return value_of(call_intrinsic(name, arg, const=(table_name,)))

    assert table("table_str", "errno", 2) == "ENOENT"
    assert table("table_str", "errno", 99999) == ""
    assert table("table_num", "signal", "SIGKILL") == "9"
    assert table("table_num", "signal", "SIGNOTHING") == "-1"
    assert table("flags_str", "msg_flags", 0x42) == "MSG_PEEK|MSG_DONTWAIT"
    for name, table_name in (
        ("table_str", "msg_flags"),
        ("flags_str", "errno"),
        ("table_str", "no"),
    ):
        with pytest.raises(InterpreterError, match="table"):
            table(name, table_name, 1)


def test_misuse_is_refused() -> None:
    for op in (
        ops.Intrinsic("no_such", []),
        ops.Intrinsic("strlen", []),
        ops.Intrinsic("table_str", [e(1)]),
    ):
        with pytest.raises(InterpreterError):
            Build().begin(ops.Eval(op))


def test_effects_give_no_value() -> None:
    assert Build().begin(do("warn", "x"), emit("ok")).output == b"ok"
