"""Arguments of system calls as text, one emitter for each kind of argument."""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.bpf import helpers
from pystap.backend.bpf.format import append_number
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.quoting import (
    append_address,
    append_buffer_quoted,
    append_literal,
    append_string_quoted,
)
from pystap.backend.bpf.syscall_structures import append_sockaddr, append_structure
from pystap.backend.bpf.syscall_tables import (
    ARGS,
    COUNT,
    FOUND,
    HEX,
    POINTER,
    SIGNED,
    SPARE,
    UNSIGNED,
    append_enum,
    append_flags,
    append_int,
    append_octal,
    form,
    state,
)
from pystap.probes.syscall_decode import (
    ARGV_BYTES,
    ARGV_STRINGS,
    BUFFER_BYTES,
    ENVP_STRINGS,
    PATH_BYTES,
)
from pystap.probes.syscall_table import KINDS
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import Value

_ARGUMENTS: Final = 6
_CREATING: Final = 0o100 | 0o20000000  # O_CREAT, and the bit of O_TMPFILE
_SOL_SOCKET, _AF_INET, _AF_INET6 = 1, 2, 10

_NUMBERS: Final[dict[str, int]] = {
    "uint": UNSIGNED,
    "long": SIGNED,
    "ulong": UNSIGNED,
    "hex": HEX,
    "ptr": HEX,
}


def shown(s: Scope, kind: Value, param: Value) -> Value:
    """``i1``: whether an argument is shown at all."""
    b = s.b
    flags = argument(s, param)
    idle = b.both(kind.eq(KINDS.index("openmode")), (flags & _CREATING).eq(0))
    return b.either(kind.eq(KINDS.index("none")), idle) ^ 1


def argument(s: Scope, index: Value) -> Value:
    """An argument of the call by its index."""
    b = s.b
    at = b.barrier(index)
    at = b.barrier(b.select(at.ult(_ARGUMENTS), at, 0))
    return b.load("i64", b.at(state(s), ARGS, at, scale=8))


def append_kind(s: Scope, kind: Value, param: Value, value: Value) -> None:
    """Append one argument, of a kind that the calls of the program have."""
    wanted = form(s.u).kinds
    with s.b.switch(kind) as kinds:
        for number, name in enumerate(KINDS):
            if name in wanted:
                with kinds.case(number):
                    _append(s, name, param, value)


def _append(s: Scope, kind: str, param: Value, value: Value) -> None:
    if kind in _NUMBERS:
        append_number(s, value, _NUMBERS[kind])
    elif kind in _SIMPLE:
        _SIMPLE[kind](s, param, value)
    elif kind != "none":
        with s.b.if_else(value.eq(0)) as (null, other):
            with null:
                append_literal(s, "NULL")
            with other:
                if kind in _POINTERS:
                    _POINTERS[kind](s, param, value)
                else:
                    append_structure(s, kind, value)


# ---- numbers


def _int(s: Scope, _param: Value, value: Value) -> None:
    append_int(s, value)


def _octal(s: Scope, _param: Value, value: Value) -> None:
    append_octal(s, value)


def _flags(s: Scope, param: Value, value: Value) -> None:
    append_flags(s, param, value)


def _octal_flags(s: Scope, param: Value, value: Value) -> None:
    append_flags(s, param, value, octal=1)


def _enum(s: Scope, param: Value, value: Value) -> None:
    append_enum(s, param, value)


def _dirfd(s: Scope, _param: Value, value: Value) -> None:
    append_enum(s, form(s.u).implied["dirfd"], value)


def _sockopt(s: Scope, param: Value, value: Value) -> None:
    level = argument(s, param) & 0xFFFF_FFFF
    _named_if(s, level.eq(_SOL_SOCKET), "socket_option", value)


def _protocol(s: Scope, param: Value, value: Value) -> None:
    family = argument(s, param) & 0xFFFF_FFFF
    internet = s.b.either(family.eq(_AF_INET), family.eq(_AF_INET6))
    _named_if(s, internet, "ipproto", value)


def _named_if(s: Scope, named: Value, table: str, value: Value) -> None:
    with s.b.if_else(named) as (name, plain):
        with name:
            append_enum(s, form(s.u).implied[table], value)
        with plain:
            append_int(s, value)


_SIMPLE: Final[dict[str, Callable[[Scope, Value, Value], None]]] = {
    "int": _int,
    "oct": _octal,
    "openmode": _octal,
    "flags": _flags,
    "oflags": _octal_flags,
    "enum": _enum,
    "dirfd": _dirfd,
    "sockopt": _sockopt,
    "protocol": _protocol,
}


# ---- memory


def _path(s: Scope, _param: Value, value: Value) -> None:
    append_string_quoted(s, "user", value, PATH_BYTES, PATH_BYTES)


def _buffer(s: Scope, param: Value, value: Value) -> None:
    b = s.b
    size = argument(s, param)
    with b.if_else(size.eq(0)) as (empty, some):
        with empty:
            append_literal(s, '""')
        with some:
            taken = b.select(size.ult(BUFFER_BYTES), size, BUFFER_BYTES)
            fine = append_buffer_quoted(s, "user", value, taken, BUFFER_BYTES, 4 * BUFFER_BYTES)
            with b.if_(b.both(fine, size.ugt(BUFFER_BYTES))):
                append_literal(s, "...")


def _sockaddr(s: Scope, param: Value, value: Value) -> None:
    append_sockaddr(s, value, argument(s, param))


def _argv(s: Scope, _param: Value, value: Value) -> None:
    """The strings of a list that a null pointer ends."""
    b = s.b
    here = state(s)
    b.store(value, here, POINTER)
    with b.if_else(_read_pointer(s, value)) as (good, bad):
        with good:
            append_literal(s, "[")
            run_loop(s, ARGV_STRINGS + 1, _append_string, "argv")
            append_literal(s, "]")
        with bad:
            append_address(s, value)


def _read_pointer(s: Scope, address: Value) -> Value:
    """Read a pointer into the state; ``i1``: it could be read."""
    b = s.b
    word = b.at(state(s), SPARE)
    return b.helper(helpers.PROBE_READ_USER, "i64", word, 8, address).eq(0)


def _append_string(s: Scope, index: Value) -> None:
    b = s.b
    here = state(s)
    readable = _read_pointer(s, b.load("i64", here, POINTER) + index * 8)
    pointer = b.load("i64", here, SPARE)
    s.leave_if(b.both(readable, pointer.eq(0)), "break")
    with b.if_(index.ne(0)):
        append_literal(s, ", ")
    with b.if_(b.either(readable ^ 1, index.eq(ARGV_STRINGS))):
        append_literal(s, "...")
        s.leave("break")
    append_string_quoted(s, "user", pointer, ARGV_BYTES, ARGV_BYTES)


def _envp(s: Scope, _param: Value, value: Value) -> None:
    """How many pointers there are before the null one."""
    b = s.b
    here = state(s)
    b.store(value, here, POINTER)
    b.store(0, here, FOUND)
    with b.if_else(_read_pointer(s, value)) as (good, bad):
        with good:
            rounds = run_loop(s, ENVP_STRINGS, _count_pointer, "envp")
            found = b.load("i64", here, FOUND)
            b.store(b.select(found.ne(0), rounds - 1, rounds), here, COUNT)
            append_literal(s, "[/* ")
            append_number(s, b.load("i64", here, COUNT), UNSIGNED)
            with b.if_(found.eq(0)):
                append_literal(s, "+")
            append_literal(s, " vars */]")
        with bad:
            append_address(s, value)


def _count_pointer(s: Scope, index: Value) -> None:
    b = s.b
    here = state(s)
    readable = _read_pointer(s, b.load("i64", here, POINTER) + index * 8)
    s.leave_if(b.both(readable, b.load("i64", here, SPARE).ne(0)), "continue")
    b.store(1, here, FOUND)
    s.leave("break")


_POINTERS: Final[dict[str, Callable[[Scope, Value, Value], None]]] = {
    "path": _path,
    "buf": _buffer,
    "sockaddr": _sockaddr,
    "argv": _argv,
    "envp": _envp,
}
