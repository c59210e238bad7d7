"""Loads, stores and strings of fake memory."""

from __future__ import annotations

import pytest

from pystap.backend.reference import Environment, Memory
from pystap.ir import ops

from .irbuild import Build, call_intrinsic, e, emit

KERNEL = 0xFFFF_8880_0000_0000
USER = 0x7FFF_0000
TEXT = 0x1000
DATA = bytes([0x80, 0xFF, 0xFE, 0x7F, 1, 2, 3, 0x84])


@pytest.fixture
def env() -> Environment:
    return Environment(
        kernel=Memory({KERNEL: DATA, TEXT: b"kernel\0"}),
        user=Memory({USER: DATA, TEXT: b'us"er\n\0more\0'}),
    )


def signed(address: int) -> ops.Expr:
    """Addresses are longs: those of the kernel are negative."""
    return e(address - (1 << 64) if address >> 63 else address)


@pytest.mark.parametrize(
    ("size", "is_signed", "value"),
    [(1, False, 0x80), (1, True, -128), (2, False, 0xFF80), (2, True, -128),
     (4, False, 0x7FFEFF80), (4, True, 0x7FFEFF80), (8, True, -0x7BFCFDFE80010080),
     (8, False, -0x7BFCFDFE80010080)],
)  # fmt: skip
def test_loads_extend(env: Environment, size: int, is_signed: bool, value: int) -> None:
    for space, base in (("kernel", KERNEL), ("user", USER)):
        load = ops.Load(signed(base), space, size, is_signed)  # type: ignore[arg-type]
        assert Build().begin(emit("%d", load), env=env).output == str(value).encode()


@pytest.mark.parametrize(
    ("offset", "size", "is_signed", "value"),
    [(0, 7, False, 0), (7, 4, False, 15), (7, 4, True, -1), (16, 8, False, 0xFE),
     (16, 8, True, -2), (0, 32, True, 0x7FFEFF80)],
)  # fmt: skip
def test_bitfields(env: Environment, offset: int, size: int, is_signed: bool, value: int) -> None:
    load = ops.Load(signed(KERNEL), "kernel", 4, is_signed, -1, offset, size)
    assert Build().begin(emit("%d", load), env=env).output == str(value).encode()


@pytest.mark.parametrize("space", ["kernel", "user"])
def test_faults(env: Environment, space: str) -> None:
    b = Build()
    at = b.pos("operator '->'", 2)
    load = ops.Load(e(-8), space, 4, False, at)  # type: ignore[arg-type]
    result = b.begin(emit("%d", load), env=env)
    assert result.messages[0] == (
        f"ERROR: {space} read fault at fffffffffffffff8 near operator '->' at t.stp:2:1"
        " in probe begin"
    )


def test_a_load_that_runs_over_the_end_faults(env: Environment) -> None:
    b = Build()
    load = ops.Load(signed(KERNEL + 5), "kernel", 4, False, b.pos("operator '->'"))
    assert b.begin(emit("%d", load), env=env).errors == 1


def test_stores(env: Environment) -> None:
    b = Build()
    at = b.pos("operator '='")
    store = lambda where, value: ops.Store(signed(where), "user", 2, e(value), at)  # noqa: E731
    result = b.begin(store(USER + 1, -2), store(USER + 7, 5), env=env)
    assert env.user.read(USER, 8) == bytes([0x80, 0xFE, 0xFF, 0x7F, 1, 2, 3, 0x84])
    assert result.messages[0].startswith("ERROR: user write fault at 000000007fff0007 near")


CASES = [
    ("kernel_string", (TEXT, 100), "kernel"),
    ("kernel_string", (TEXT, 3), "ker"),
    ("kernel_string", (TEXT, 0), ""),
    ("user_string", (TEXT, 100), 'us"er\n'),
    ("user_string_or", (TEXT, 2, "no"), "us"),
    ("user_string_or", (9, 2, "no"), "no"),
    ("kernel_string_or", (9, 2, ""), ""),
    ("user_string_quoted", (TEXT, 0, 0), r'"us\"er\n"'),
    ("user_string_quoted", (TEXT, 3, 0), r'"us\""...'),
    ("user_string_quoted", (TEXT, 6, 0), r'"us\"er\n"'),
    ("user_string_quoted", (TEXT, 0, 3), '"us"...'),
    ("user_string_quoted", (TEXT, 0, 8), r'"us\"er\n"'),
    ("user_string_quoted", (TEXT, 0, 7), r'"us\"er"...'),
    ("user_string_quoted", (9, 0, 0), "0x9"),
    ("user_string_quoted", (0, 0, 0), "NULL"),
    ("kernel_string_quoted", (-1, 0, 0), "0xffffffffffffffff"),
    ("user_buffer_quoted", (TEXT, 9, 0), r'"us\"er\n\000mo"'),
    ("user_buffer_quoted", (TEXT, 90, 0), "0x1000"),
    ("kernel_buffer_quoted", (TEXT, 3, 2), '"ke"...'),
    ("kernel_read_or", (TEXT, 2, 7), str(0x656B)),
    ("user_read_or", (USER + 7, 1, 7), str(0x84)),
    ("user_read_or", (USER + 7, 2, -7), "-7"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "value"), CASES, ids=lambda v: str(v)[:20])
def test_reading_intrinsics(
    env: Environment, name: str, args: tuple[int | str, ...], value: str
) -> None:
    call = call_intrinsic(name, *args)
    fmt = "%s" if ops.type_of(call) is ops.Ty.STR else "%d"
    assert Build().begin(emit(fmt, call), env=env).output.decode() == value


FAULTS = [
    ("kernel_string", (9, 100), "kernel string copy fault -14 at 0000000000000009"),
    ("user_string", (-9, 100), "user string copy fault -14 at fffffffffffffff7"),
    ("kernel_bytes", (9, 1), "kernel read fault at 0000000000000009"),
    ("user_bytes", (9, 4097), "4097 is too many bytes for a memory dump"),
    ("user_write", (9, 4, 1), "user write fault at 0000000000000009"),
]


@pytest.mark.parametrize(("name", "args", "message"), FAULTS, ids=lambda v: str(v)[:20])
def test_faults_of_intrinsics(name: str, args: tuple[int, ...], message: str) -> None:
    b = Build()
    result = b.begin(ops.Eval(call_intrinsic(name, *args, pos=b.pos("identifier 'f'"))))
    assert (
        result.messages[0] == f"ERROR: {message} near identifier 'f' at t.stp:1:1 in probe begin"
    )


def test_raw_bytes_keep_their_nuls(env: Environment) -> None:
    bytes_read = call_intrinsic("user_bytes", TEXT + 4, 5)
    result = Build().begin(emit("%.5m|%.5M", bytes_read, bytes_read), env=env)
    assert result.output == b"r\n\0mo|720a006d6f"
