"""The text of system call arguments and results: what decoders in the kernel must give too.

``argstr`` is cut to what a string holds, never within an escape.  Kinds are explained in
:mod:`pystap.probes.syscall_table`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from pystap.ir.tables import TABLES, FlagTable, NameTable
from pystap.longs import signed
from pystap.probes.syscall_table import (
    ARGUMENT_SHIFT,
    POINT_NAME,
    Argument,
    Syscall,
    by_number,
)
from pystap.typing import Final, Protocol

_WORD: Final = (1 << 64) - 1
_WORD32: Final = (1 << 32) - 1

# Bytes of a path, of one string of argv, and of a buffer that are shown at most (a path and a
# string of argv also take no more than that when escaped).
PATH_BYTES: Final = 255
ARGV_BYTES: Final = 64
BUFFER_BYTES: Final = 32
ARGV_STRINGS: Final = 16
ENVP_STRINGS: Final = 512

_O_CREAT, _O_TMPFILE_BIT = 0o100, 0o20000000
_SOL_SOCKET: Final = 1
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_UTIME: Final = {0x3FFF_FFFF: "UTIME_NOW", 0x3FFF_FFFE: "UTIME_OMIT"}


class UserMemory(Protocol):
    """Memory of the calling task; the quoting ones are the intrinsics of these names."""

    def read(self, address: int, size: int) -> bytes | None:
        """``size`` bytes, None where not all can be read."""
        ...

    def string_quoted(self, address: int, most: int, room: int) -> str:
        """``user_string_quoted``."""
        ...

    def buffer_quoted(self, address: int, size: int, room: int) -> str:
        """``user_buffer_quoted``."""
        ...


def syscall_name(nr: int) -> str:
    """``openat``; with POINT_NAME in ``nr`` the name in probe points; unknown: the number."""
    number = nr & (POINT_NAME - 1)
    call = by_number().get(number)
    if call is None:
        return str(number)
    return call.point if nr & POINT_NAME else call.name


def retstr(nr: int, value: int) -> str:
    """``3``, ``-2 (ENOENT)``, ``0x7f...`` as the call's result is shown."""
    call = by_number().get(nr & (POINT_NAME - 1))
    value &= _WORD
    number = signed(value)
    if -4095 <= number < 0:
        label = _names("errno").name(-number)
        return f"{number} ({label})" if label else str(number)
    shown = {"ptr": f"{value:#x}", "oct": _octal(value), "ulong": str(value)}
    return shown.get(call.result if call else "int", str(number))


def argstr(nr: int, args: Sequence[int], memory: UserMemory, limit: int = 512) -> str:
    """All arguments, or the one asked for above ARGUMENT_SHIFT; empty for unknown calls.

    ``limit`` is the most bytes of a string, its NUL included.
    """
    call = by_number().get(nr & (POINT_NAME - 1))
    if call is None:
        return ""
    decoder = _Decoder(call, [arg & _WORD for arg in args], memory)
    chosen = nr >> ARGUMENT_SHIFT
    if chosen:
        text = decoder.text(chosen - 1) if chosen <= len(call.arguments) else ""
        return _cut(text or "", limit - 1)
    texts = (decoder.text(index) for index in range(len(call.arguments)))
    return _cut(", ".join(text for text in texts if text is not None), limit - 1)


def _cut(text: str, most: int) -> str:
    """As much as fits without a part of an escape (backslashes begin nothing else here)."""
    if len(text) <= most:
        return text
    end = 0
    while end < most:
        size = 1
        if text[end] == "\\":
            size = 4 if text[end + 1].isdigit() else 2
        if end + size > most:
            break
        end += size
    return text[:end]


class _Decoder:
    """The arguments of one call."""

    def __init__(self, call: Syscall, args: list[int], memory: UserMemory) -> None:
        self._call = call
        self._args = args
        self._memory = memory

    def text(self, index: int) -> str | None:
        """One argument, None when it is not shown."""
        argument = self._call.arguments[index]
        value = self._args[index]
        if argument.width != "long":
            value &= _WORD32
        rule = _NUMBERS.get(argument.kind)
        if rule is not None:
            return rule(value)
        if argument.kind == "none" or (argument.kind == "openmode" and not self._makes(argument)):
            return None
        return self._other(argument, value)

    def _other(self, argument: Argument, value: int) -> str:
        kind, param = argument.kind, argument.param
        if kind == "openmode":
            return _octal(value)
        if kind in ("flags", "oflags"):
            return _flags(param, value, kind == "oflags")
        if kind in ("enum", "dirfd"):
            return _enum(param or "dirfd", value)
        if kind in ("sockopt", "protocol"):
            return self._conditional(kind, int(param), value)
        if value == 0:
            return "NULL"
        if kind == "path":
            return self._memory.string_quoted(value, PATH_BYTES, PATH_BYTES)
        if kind == "buf":
            return self._buffer(value, self._args[int(param)])
        if kind == "sockaddr":
            return self._sockaddr(value, self._args[int(param)])
        if kind == "argv":
            return self._argv(value)
        if kind == "envp":
            return self._envp(value)
        size, show = _STRUCTURES[kind]
        data = self._memory.read(value, size)
        return f"{value:#x}" if data is None else show(data)

    def _makes(self, argument: Argument) -> bool:
        """Whether open flags ask for a new file."""
        return bool(self._args[int(argument.param)] & (_O_CREAT | _O_TMPFILE_BIT))

    def _conditional(self, kind: str, other: int, value: int) -> str:
        decides = self._args[other] & _WORD32
        if kind == "sockopt":
            named, table = decides == _SOL_SOCKET, "socket_option"
        else:
            named, table = decides in (_AF_INET, _AF_INET6), "ipproto"
        return _enum(table, value) if named else str(signed(value, 32))

    def _buffer(self, address: int, count: int) -> str:
        if count == 0:
            return '""'
        shown = min(count, BUFFER_BYTES)
        text = self._memory.buffer_quoted(address, shown, 4 * BUFFER_BYTES)
        return text + ("..." if count > shown and text.startswith('"') else "")

    def _sockaddr(self, address: int, length: int) -> str:
        length = min(length & _WORD32, 128)
        head = self._memory.read(address, 2) if length >= 2 else None
        if head is None:
            return f"{address:#x}"
        [family] = struct.unpack("<H", head)
        body = None
        if family == _AF_UNIX:
            body = self._unix(address, length)
        elif family in _ADDRESSES and length >= _ADDRESSES[family][0]:
            size, show = _ADDRESSES[family]
            data = self._memory.read(address, size)
            body = None if data is None else show(data)
        label = _names("address_family").name(family)
        if not label:
            return f"{{unknown address family {family}}}"
        return f"{{{label}, {body}}}" if body else f"{{{label}}}"

    def _unix(self, address: int, length: int) -> str:
        """The path, ``@`` and the name of an abstract socket, or nothing."""
        length = min(length, 110)
        first = self._memory.read(address + 2, 1) if length > 2 else None
        if first is None:
            return ""
        if first != b"\0":
            data = self._memory.read(address + 2, length - 2)
            if data is None:
                return f"{address + 2:#x}"
            shown = len(data.split(b"\0", 1)[0])  # it may well end without a NUL
            return self._memory.buffer_quoted(address + 2, shown, 128)
        if length == 3:
            return '@""'
        return "@" + self._memory.buffer_quoted(address + 3, length - 3, 128)

    def _argv(self, address: int) -> str:
        texts: list[str] = []
        for index in range(ARGV_STRINGS + 1):
            pointer = self._pointer(address + 8 * index)
            if pointer is None and not index:
                return f"{address:#x}"
            if pointer is None or (pointer and index == ARGV_STRINGS):
                texts.append("...")
                break
            if not pointer:
                break
            texts.append(self._memory.string_quoted(pointer, ARGV_BYTES, ARGV_BYTES))
        return f"[{', '.join(texts)}]"

    def _envp(self, address: int) -> str:
        for count in range(ENVP_STRINGS):
            pointer = self._pointer(address + 8 * count)
            if pointer is None and not count:
                return f"{address:#x}"
            if not pointer:
                return f"[/* {count} vars */]"
        return f"[/* {ENVP_STRINGS}+ vars */]"

    def _pointer(self, address: int) -> int | None:
        data = self._memory.read(address, 8)
        return None if data is None else int.from_bytes(data, "little")


# --- numbers ------------------------------------------------------------------------------------


def _octal(value: int) -> str:
    return f"0{value:o}" if value else "0"


_NUMBERS: Final[dict[str, Callable[[int], str]]] = {
    "int": lambda value: str(signed(value, 32)),
    "uint": str,
    "long": lambda value: str(signed(value)),
    "ulong": str,
    "hex": lambda value: f"{value:#x}",
    "ptr": lambda value: f"{value:#x}",
    "oct": _octal,
}


def _names(table: str) -> NameTable:
    found = TABLES[table]
    assert isinstance(found, NameTable), table
    return found


def _enum(table: str, value: int) -> str:
    """A name, compared by 32 bits, or the number as an int."""
    value &= _WORD32
    names = _names(table)
    return names.name(value) or names.name(signed(value, 32)) or str(signed(value, 32))


def _flags(table: str, value: int, octal: bool = False) -> str:
    found = TABLES[table]
    assert isinstance(found, FlagTable), table
    return found.text(value) if not octal else _octal_flags(found, value)


def _octal_flags(table: FlagTable, value: int) -> str:
    """The same as FlagTable.text with the rest in octal (permissions)."""
    parts, rest = [], value
    for flag in table.flags:
        if value & flag.mask == flag.value and (rest & flag.mask or not flag.value):
            parts.append(flag.name)
            rest &= ~flag.mask
    if rest or not parts:
        parts.append(_octal(rest))
    return "|".join(parts)


# --- structures ---------------------------------------------------------------------------------


def _fraction(value: int, digits: int) -> str:
    """Digits after the point; what is no fraction of a second is shown as it is."""
    return f"{value:0{digits}d}" if 0 <= value < 10**digits else str(value)


def _time(data: bytes, digits: int) -> str:
    seconds, fraction = struct.unpack("<qq", data)
    return f"{seconds}.{_fraction(fraction, digits)}"


def _two_times(data: bytes, digits: int) -> str:
    """Both in brackets; utimensat(2) has special values for nanoseconds."""
    texts = []
    for part in (data[:16], data[16:]):
        special = _UTIME.get(int.from_bytes(part[8:], "little")) if digits == 9 else None
        texts.append(f"[{special or _time(part, digits)}]")
    return "".join(texts)


def _interval(data: bytes, digits: int) -> str:
    return f"[{_time(data[:16], digits)},{_time(data[16:], digits)}]"


def _sigset(data: bytes) -> str:
    value = int.from_bytes(data, "little")
    return f"[{_flags('signal_set', value) if value else 'EMPTY'}]"


def _sigaction(data: bytes) -> str:
    handler, flags, restorer = struct.unpack_from("<QQQ", data)
    shown = {0: "SIG_DFL", 1: "SIG_IGN"}.get(handler, f"{handler:#x}")
    return f"{{{shown}, {_flags('sa_flags', flags)}, {restorer:#x}, {_sigset(data[24:])}}}"


def _rlimit(data: bytes) -> str:
    limits = struct.unpack("<QQ", data)
    return "[{},{}]".format(*("RLIM_INFINITY" if n == _WORD else n for n in limits))


# Kind -> bytes to read, and how to show them.
_STRUCTURES: Final[dict[str, tuple[int, Callable[[bytes], str]]]] = {
    "timespec": (16, lambda data: f"[{_time(data, 9)}]"),
    "timeval": (16, lambda data: f"[{_time(data, 6)}]"),
    "timespec2": (32, lambda data: _two_times(data, 9)),
    "timeval2": (32, lambda data: _two_times(data, 6)),
    "itimerspec": (32, lambda data: _interval(data, 9)),
    "itimerval": (32, lambda data: _interval(data, 6)),
    "sigset": (8, _sigset),
    "sigaction": (32, _sigaction),
    "rlimit": (16, _rlimit),
}


def _inet(data: bytes) -> str:
    port = int.from_bytes(data[2:4], "big")
    return f"{'.'.join(map(str, data[4:8]))}, {port}"


def _inet6(data: bytes) -> str:
    return f"{ipv6_text(data[8:24])}, {int.from_bytes(data[2:4], 'big')}"


def _netlink(data: bytes) -> str:
    pid, groups = struct.unpack_from("<iI", data, 4)
    return f"pid={pid}, groups={groups:08x}"


def ipv6_text(data: bytes) -> str:
    """Sixteen bytes in the short form: the first longest run of two or more zeros as ``::``."""
    parts = [f"{int.from_bytes(data[at : at + 2], 'big'):x}" for at in range(0, 16, 2)]
    best, length = 0, 0
    start = 0
    while start < 8:
        end = start
        while end < 8 and parts[end] == "0":
            end += 1
        if end - start > length:
            best, length = start, end - start
        start = end + 1
    if length < 2:
        return ":".join(parts)
    return f"{':'.join(parts[:best])}::{':'.join(parts[best + length :])}"


# Family -> bytes to read, and how to show them.
_ADDRESSES: Final[dict[int, tuple[int, Callable[[bytes], str]]]] = {
    _AF_INET: (16, _inet),
    _AF_INET6: (28, _inet6),
    _AF_NETLINK: (12, _netlink),
}
