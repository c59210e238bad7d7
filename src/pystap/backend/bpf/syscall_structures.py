"""Structures in user memory as text: times, signal sets, socket addresses."""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.bpf import helpers, layout
from pystap.backend.bpf.escapes import ESCAPE_TEXT
from pystap.backend.bpf.format import append_number, source_room
from pystap.backend.bpf.quoting import (
    append_address,
    append_buffer_quoted,
    append_literal,
    append_source_quoted,
)
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.syscall_tables import (
    HEX,
    SIGNED,
    SPARE,
    START,
    STRUCTURE,
    STRUCTURE_BYTES,
    UNSIGNED,
    ZERO_FILLED,
    append_flags,
    find_enum,
    form,
    state,
)
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value

_UTIME_NOW, _UTIME_OMIT = 0x3FFF_FFFF, 0x3FFF_FFFE
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_UNIX_BYTES: Final = 110  # struct sockaddr_un
_PATH_BYTES: Final = 128  # escaped


def append_structure(s: Scope, kind: str, address: Value) -> None:
    """Append what lies at an address (not null); the address itself where it cannot be read."""
    size, show = _KINDS[kind]
    with _read(s, address, size) as data:
        show(s, data)


class _read:  # noqa: N801 - used like a function
    """``with _read(s, address, size) as data``: on a fault the address is appended instead."""

    def __init__(self, s: Scope, address: Value, size: int) -> None:
        self._s = s
        b = s.b
        assert size <= STRUCTURE_BYTES
        self._data = b.at(state(s), STRUCTURE)
        result = b.helper(helpers.PROBE_READ_USER, "i64", self._data, size, address)
        self._either = b.if_else(result.ne(0))
        self._address = address

    def __enter__(self) -> Value:
        bad, self._good = self._either.__enter__()
        with bad:
            append_address(self._s, self._address)
        self._good.__enter__()
        return self._data

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._good.__exit__(kind, *rest)
        self._either.__exit__(kind, *rest)


# ---- times


def _time(s: Scope, at: int, digits: int) -> None:
    """Append seconds and fraction of a second that stand in the structure."""
    u = s.u
    name = u.function("append_time", ["index", "at", "digits"], lambda b: _emit_time(u, b))
    s.b.call(name, s.header(layout.INDEX), at, digits)


def _emit_time(u: Unit, b: FunctionBuilder) -> None:
    s = runtime_scope(u, b, b.args[0])
    _, at, digits = b.args
    at = b.barrier(at)
    at = b.barrier(b.select(at.eq(0), b.const("i64", 0), 16))
    data = b.at(b.at(state(s), STRUCTURE), at)
    append_number(s, b.load("i64", data), SIGNED)
    append_literal(s, ".")
    fraction = b.load("i64", data, 8)
    most = b.select(digits.eq(9), b.const("i64", 10**9), 10**6)
    with b.if_else(fraction.ult(most)) as (filled, odd):
        with filled:
            append_number(s, fraction, ZERO_FILLED, digits)
        with odd:
            append_number(s, fraction, SIGNED)
    b.ret(0)


def _one_time(digits: int) -> Callable[[Scope, Value], None]:
    def show(s: Scope, _data: Value) -> None:
        append_literal(s, "[")
        _time(s, 0, digits)
        append_literal(s, "]")

    return show


def _two_times(digits: int) -> Callable[[Scope, Value], None]:
    def show(s: Scope, data: Value) -> None:
        for at in (0, 16):
            append_literal(s, "[")
            if digits == 9:
                _file_time(s, data, at)
            else:
                _time(s, at, digits)
            append_literal(s, "]")

    return show


def _file_time(s: Scope, data: Value, at: int) -> None:
    """A time of utimensat(2), which has special values."""
    b = s.b
    fraction = b.load("i64", data, at + 8)
    with b.switch(fraction) as special:
        with special.case(_UTIME_NOW):
            append_literal(s, "UTIME_NOW")
        with special.case(_UTIME_OMIT):
            append_literal(s, "UTIME_OMIT")
        with special.default():
            _time(s, at, 9)


def _interval(digits: int) -> Callable[[Scope, Value], None]:
    def show(s: Scope, _data: Value) -> None:
        append_literal(s, "[")
        _time(s, 0, digits)
        append_literal(s, ",")
        _time(s, 16, digits)
        append_literal(s, "]")

    return show


# ---- signals, limits


def _sigset(s: Scope, data: Value, at: int = 0) -> None:
    b = s.b
    value = b.load("i64", data, at)
    append_literal(s, "[")
    with b.if_else(value.eq(0)) as (empty, some):
        with empty:
            append_literal(s, "EMPTY")
        with some:
            append_flags(s, form(s.u).implied["signal_set"], value)
    append_literal(s, "]")


def _sigaction(s: Scope, data: Value) -> None:
    b = s.b
    handler = b.load("i64", data)
    append_literal(s, "{")
    with b.switch(handler) as known:
        with known.case(0):
            append_literal(s, "SIG_DFL")
        with known.case(1):
            append_literal(s, "SIG_IGN")
        with known.default():
            append_number(s, handler, HEX)
    append_literal(s, ", ")
    append_flags(s, form(s.u).implied["sa_flags"], b.load("i64", data, 8))
    append_literal(s, ", ")
    append_number(s, b.load("i64", data, 16), HEX)
    append_literal(s, ", ")
    _sigset(s, data, 24)
    append_literal(s, "}")


def _rlimit(s: Scope, data: Value) -> None:
    b = s.b
    for at, opening in ((0, "["), (8, ",")):
        append_literal(s, opening)
        value = b.load("i64", data, at)
        with b.if_else(value.eq(-1)) as (infinite, finite):
            with infinite:
                append_literal(s, "RLIM_INFINITY")
            with finite:
                append_number(s, value, UNSIGNED)
    append_literal(s, "]")


_KINDS: Final[dict[str, tuple[int, Callable[[Scope, Value], None]]]] = {
    "timespec": (16, _one_time(9)),
    "timeval": (16, _one_time(6)),
    "timespec2": (32, _two_times(9)),
    "timeval2": (32, _two_times(6)),
    "itimerspec": (32, _interval(9)),
    "itimerval": (32, _interval(6)),
    "sigset": (8, _sigset),
    "sigaction": (32, _sigaction),
    "rlimit": (16, _rlimit),
}


# ---- socket addresses


def append_sockaddr(s: Scope, address: Value, length: Value) -> None:
    """Append a socket address (not null) of so many bytes."""
    b = s.b
    length = length & 0xFFFF_FFFF
    with b.if_else(length.ult(2)) as (short, long):
        with short:
            append_address(s, address)
        with long, _read(s, address, 2) as data:
            family = b.load("i16", data).zext("i64")
            append_literal(s, "{")
            named = find_enum(s, form(s.u).implied["address_family"], family)
            with b.if_else(named.ne(0)) as (known, unknown):
                with known:
                    _body(s, family, address, length)
                with unknown:
                    append_literal(s, "unknown address family ")
                    append_number(s, family, UNSIGNED)
            append_literal(s, "}")


def _body(s: Scope, family: Value, address: Value, length: Value) -> None:
    with s.b.switch(family) as kinds:
        with kinds.case(_AF_UNIX):
            _unix(s, address, length)
        for number, size, show in (
            (_AF_INET, 16, _inet),
            (_AF_INET6, 28, _inet6),
            (_AF_NETLINK, 12, _netlink),
        ):
            with kinds.case(number), s.b.if_(length.uge(size)):
                _fixed(s, address, size, show)


def _fixed(s: Scope, address: Value, size: int, show: Callable[[Scope, Value], None]) -> None:
    """Append a structure of known size behind the family, nothing where it cannot be read."""
    b = s.b
    data = b.at(state(s), STRUCTURE)
    result = b.helper(helpers.PROBE_READ_USER, "i64", data, size, address)
    with b.if_(result.eq(0)):
        append_literal(s, ", ")
        show(s, data)


def _port(s: Scope, data: Value) -> None:
    append_literal(s, ", ")
    append_number(s, s.b.bswap(s.b.load("i16", data, 2)).zext("i64"), UNSIGNED)


def _inet(s: Scope, data: Value) -> None:
    for at in range(4):
        if at:
            append_literal(s, ".")
        append_number(s, s.b.load("i8", data, 4 + at).zext("i64"), UNSIGNED)
    _port(s, data)


def _netlink(s: Scope, data: Value) -> None:
    b = s.b
    append_literal(s, "pid=")
    append_number(s, b.load("i32", data, 4).sext("i64"), SIGNED)
    append_literal(s, ", groups=")
    append_number(s, b.load("i32", data, 8).zext("i64"), 16 | 1 << 12, 8)


def _inet6(s: Scope, data: Value) -> None:
    """Eight groups; the first longest run of two or more zeros as ``::``."""
    b = s.b
    here = state(s)
    _longest_zeros(s, data)
    start, length = b.load("i64", here, START), b.load("i64", here, SPARE)
    for group in range(8):
        inside = b.both(start.ule(group), (start + length).ugt(group))
        with b.if_else(inside) as (hidden, shown):
            with hidden, b.if_(start.eq(group)):
                append_literal(s, "::")
            with shown:
                if group:
                    with b.if_((start + length).ne(group)):
                        append_literal(s, ":")
                value = b.bswap(b.load("i16", data, 8 + 2 * group)).zext("i64")
                append_number(s, value, 16)
    _port(s, data)


def _longest_zeros(s: Scope, data: Value) -> None:
    """Put start and length of the run into the state; a length of 0 when there is none."""
    b = s.b
    here = state(s)
    best_start, best = b.const("i64", 0), b.const("i64", 1)
    start, run = b.const("i64", 0), b.const("i64", 0)
    for group in range(8):
        zero = b.load("i16", data, 8 + 2 * group).eq(0)
        start = b.select(run.eq(0), group, start)
        run = b.select(zero, run + 1, 0)
        longer = run.ugt(best)
        best_start = b.select(longer, start, best_start)
        best = b.select(longer, run, best)
    b.store(best_start, here, START)
    b.store(b.select(best.eq(1), 0, best), here, SPARE)


def _unix(s: Scope, address: Value, length: Value) -> None:
    """The path, ``@`` and the name of an abstract socket, or nothing."""
    b = s.b
    length = b.select(length.ult(_UNIX_BYTES), length, _UNIX_BYTES)
    data = b.at(state(s), STRUCTURE)
    with b.if_(length.ugt(2)):
        result = b.helper(helpers.PROBE_READ_USER, "i64", data, 1, address + 2)
        with b.if_(result.eq(0)):
            append_literal(s, ", ")
            with b.if_else(b.load("i8", data).ne(0)) as (path, abstract):
                with path:
                    _unix_path(s, address + 2, length - 2)
                with abstract:
                    append_literal(s, "@")
                    _abstract(s, address + 3, length - 3)


def _abstract(s: Scope, address: Value, length: Value) -> None:
    with s.b.if_else(length.eq(0)) as (empty, some):
        with empty:
            append_literal(s, '""')
        with some:
            append_buffer_quoted(s, "user", address, length, _UNIX_BYTES, _PATH_BYTES)


def _unix_path(s: Scope, address: Value, length: Value) -> None:
    """A path that ends at a NUL or with the structure."""
    b = s.b
    source = source_room(s)
    count = b.barrier(length)
    count = b.barrier(b.select(count.ult(_UNIX_BYTES), count, _UNIX_BYTES))
    result = b.helper(helpers.PROBE_READ_USER, "i64", source.ptr, count, address)
    with b.if_else(result.ne(0)) as (bad, good):
        with bad:
            append_address(s, address)
        with good:
            b.store(0, b.at(source.ptr, count), ty="i8")
            append_source_quoted(s, ESCAPE_TEXT, _PATH_BYTES, b.const("i1", 0))
