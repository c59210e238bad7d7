"""What is known of each system call, and its compact form for decoders in the kernel.

Kinds of arguments, with what follows the dot:

==============  ==================================================================
``none``        not shown (the upper half of an offset)
``int uint``    32-bit number, signed or unsigned
``long ulong``  64-bit number, signed or unsigned
``hex``         hexadecimal
``ptr``         an address, hexadecimal
``oct``         octal with a leading 0
``path``        address of a string, shown quoted
``buf.N``       address of bytes, as many as argument N says; the first 32 quoted
``dirfd``       file descriptor or AT_FDCWD
``flags.T``     names of table T joined by ``|``, the rest hexadecimal
``oflags.T``    the same with the rest octal
``enum.T``      a name of table T, or the number
``sockopt.N``   a socket option, by name when argument N is SOL_SOCKET
``protocol.N``  a protocol, by name when argument N is AF_INET or AF_INET6
``openmode.N``  octal, shown when argument N has O_CREAT or O_TMPFILE
``sockaddr.N``  a socket address of as many bytes as argument N says
``timespec``    ``[SECONDS.NANOSECONDS]``; ``timespec2``: two of them
``timeval``     ``[SECONDS.MICROSECONDS]``; ``timeval2``: two of them
``itimerspec``  interval and value: ``[0.000000000,1.500000000]``; ``itimerval``: microseconds
``sigset``      ``[SIGINT|SIGTERM]``, ``[EMPTY]``
``sigaction``   ``{HANDLER, FLAGS, RESTORER, [MASK]}``
``rlimit``      ``[SOFT,HARD]``
``argv``        ``["a", "b"]``, at most 16 strings
``envp``        ``[/* N vars */]``, counted up to 512
==============  ==================================================================

Results are decimal, or ``-2 (ENOENT)`` for errors; ``ptr``: hexadecimal, ``oct``: octal,
``ulong``: unsigned decimal.
"""

from __future__ import annotations

import os
import struct
from functools import lru_cache

from pystap.typing import Final, NamedTuple

_DATA: Final = os.path.join(os.path.dirname(__file__), "data", "syscalls.txt")

KINDS: Final = (
    "none", "int", "uint", "long", "ulong", "hex", "ptr", "oct", "path", "buf", "dirfd", "flags",
    "oflags", "enum", "sockopt", "protocol", "openmode", "sockaddr", "timespec", "timespec2",
    "timeval", "timeval2", "itimerspec", "itimerval", "sigset", "sigaction", "rlimit", "argv",
    "envp",
)  # fmt: skip
RESULTS: Final = ("int", "ptr", "oct", "ulong")

# Tables that kinds use without naming them.
IMPLIED_TABLES: Final = {
    "dirfd": ("dirfd",),
    "sockopt": ("socket_option",),
    "protocol": ("ipproto",),
    "sockaddr": ("address_family",),
    "sigset": ("signal_set",),
    "sigaction": ("sa_flags", "signal_set"),
}


class Argument(NamedTuple):
    """One argument.

    ``names`` are script variables with its number, ``texts`` those with its text, ``raw`` those
    with the unquoted string it points to.  ``parameter`` and ``ctype`` are the kernel's own.
    """

    kind: str
    param: str  # of the kind: a table, or the index of an argument
    names: tuple[str, ...]
    texts: tuple[str, ...]
    raw: tuple[str, ...]
    parameter: str
    ctype: str

    @property
    def width(self) -> str:
        """What the kernel takes of the register: an ``int``, a ``uint`` or all of it (``long``).

        The kind decides for numbers (file descriptors are unsigned in many prototypes), the C
        type for the rest.
        """
        if self.kind in _INT_KINDS or self.kind in _UINT_KINDS:
            return "int" if self.kind in _INT_KINDS else "uint"
        return ctype_width(self.ctype)


_INT_KINDS: Final = ("int", "dirfd", "enum", "sockopt", "protocol")
_UINT_KINDS: Final = ("uint", "oct", "openmode", "oflags")
_INT_TYPES: Final = (
    "int", "pid_t", "key_t", "clockid_t const", "clockid_t", "timer_t", "mqd_t", "__s32",
    "key_serial_t", "rwf_t",
)  # fmt: skip
_UINT_TYPES: Final = ("unsigned int", "u32", "__u32", "uid_t", "gid_t", "qid_t", "umode_t")


def ctype_width(ctype: str) -> str:
    """``int`` or ``uint`` for C types of 32 bits, ``long`` for the others."""
    if ctype in _INT_TYPES or ctype.startswith("enum "):
        return "int"
    return "uint" if ctype in _UINT_TYPES else "long"


class Syscall:
    """One system call; ``point`` is its name in probe points."""

    __slots__ = ("_arguments", "_text", "name", "number", "point")

    def __init__(self, line: str) -> None:
        head, _, self._text = line.partition("|")
        number, _, names = head.strip().partition(" ")
        self.number = int(number)
        self.name, _, point = names.partition("=")
        self.point = point or self.name
        self._arguments: tuple[Argument, ...] | None = None

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """In order, at most six."""
        if self._arguments is None:
            arguments, prototype, *_ = self._text.split("|")
            declared = prototype.strip().split(", ") if prototype.strip() else []
            pairs = zip(arguments.split(), declared, strict=True)
            self._arguments = tuple(_argument(text, declaration) for text, declaration in pairs)
        return self._arguments

    @property
    def result(self) -> str:
        """How the result is shown, one of RESULTS."""
        _, _, *result = self._text.split("|")
        return result[0].strip() if result else "int"


@lru_cache(maxsize=1)
def syscalls() -> tuple[Syscall, ...]:
    """All of them, by number."""
    with open(_DATA, encoding="ascii") as file:
        lines = file.read().splitlines()
    return tuple(Syscall(line) for line in lines if line and not line.startswith("#"))


@lru_cache(maxsize=1)
def by_number() -> dict[int, Syscall]:
    """Number -> system call."""
    return {call.number: call for call in syscalls()}


def _argument(text: str, declaration: str) -> Argument:
    variables, _, kind = text.partition(":")
    kind, _, param = kind.partition(".")
    ctype, _, parameter = declaration.rpartition(" ")
    names, *extra = variables.split("+")
    listed = tuple(name for name in names.split("/") if name != "-")
    split = _string_variables if kind in ("path", "argv", "envp") else _number_variables
    numbers, texts = split(kind, listed, tuple(extra))
    raw = tuple(f"{name}_unquoted" for name in texts) if kind == "path" else ()
    return Argument(kind, param, numbers, texts, raw, parameter, ctype)


def _string_variables(
    kind: str, names: tuple[str, ...], extra: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``filename`` is the text and ``filename_uaddr`` the address."""
    texts = tuple(name for name in names if not name.endswith("_uaddr"))
    addresses = tuple(name for name in names if name.endswith("_uaddr"))
    if kind == "path":
        addresses += tuple(f"{name}_uaddr" for name in texts)
    return addresses, texts + extra


def _number_variables(
    kind: str, names: tuple[str, ...], extra: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``flags`` is the number and ``flags_str`` the text, where there is more to show."""
    if kind in ("none", "int", "uint", "long", "ulong", "hex", "ptr", "oct", "openmode"):
        return names, extra
    texts = tuple(f"{name.removesuffix('_uaddr')}_str" for name in names)
    return names, texts + extra


# --- the compact form ---------------------------------------------------------------------------

# Numbers from 0 have a slot each, whether there is such a system call or not.
SLOTS: Final = 512
NAME_BYTES: Final = 32
# Above the number of a call: asks syscall_name for its name in probe points, and syscall_argstr
# for one argument alone (shifted: its index plus one).
POINT_NAME: Final = 1 << 16
ARGUMENT_SHIFT: Final = 16

# One slot: number of arguments, index of the result in RESULTS, then for each of six arguments
# its kind (index in KINDS, with 0x80 when only the lower 32 bits count) and parameter (index of a
# table or of an argument), and padding.
NARROW: Final = 0x80
SLOT: Final = struct.Struct("<BB12s2x")
# One table: index of its first entry, number of entries, and 1 for flags or 0 for names.
TABLE: Final = struct.Struct("<HHHxx")
# One entry: mask (0 for the text of a value without flags), value, then place and length of its
# name among the texts, where a NUL follows it.  Names of numbers have a mask of 32 bits.
ENTRY: Final = struct.Struct("<QQHHxxxx")


class Encoded(NamedTuple):
    """The tables for a decoder in the kernel, little endian; see SLOT, TABLE and ENTRY.

    ``names`` has SLOTS names of NAME_BYTES bytes, padded with zeros, then as many names in probe
    points.  ``implied`` gives the index of ``errno`` and of the tables that kinds use by
    themselves.
    """

    slots: bytes
    names: bytes
    tables: bytes
    entries: bytes
    texts: bytes
    implied: dict[str, int]
    entry_count: int
    longest: int  # bytes of the longest text of an entry
    kinds: frozenset[str]  # of the arguments there are


@lru_cache(maxsize=8)
def encoded(numbers: frozenset[int] | None = None) -> Encoded:
    """The compact form, of all calls or of some; tables nobody refers to are empty.

    Of all: about 8 KB of slots, 32 KB of names, 56 KB of tables.
    """
    calls = [call for call in syscalls() if numbers is None or call.number in numbers]
    order = _table_order()
    kinds = frozenset(argument.kind for call in calls for argument in call.arguments)
    tables, entries, texts = _encode_tables(order, _tables_of(calls, kinds))
    slots = bytearray(SLOTS * SLOT.size)
    names = bytearray(2 * SLOTS * NAME_BYTES)
    for call in calls:
        packed = b"".join(_encode_argument(argument, order) for argument in call.arguments)
        slot = SLOT.pack(len(call.arguments), RESULTS.index(call.result), packed)
        slots[call.number * SLOT.size : (call.number + 1) * SLOT.size] = slot
    for call in syscalls():
        for place, name in ((call.number, call.name), (call.number + SLOTS, call.point)):
            padded = name.encode("ascii").ljust(NAME_BYTES, b"\0")
            names[place * NAME_BYTES : (place + 1) * NAME_BYTES] = padded
    return Encoded(
        bytes(slots),
        bytes(names),
        tables,
        entries,
        texts,
        {name: order[name] for name in _implied()},
        len(entries) // ENTRY.size,
        max(ENTRY.unpack_from(entries, at)[3] for at in range(0, len(entries), ENTRY.size)),
        kinds,
    )


def _implied() -> list[str]:
    return [*dict.fromkeys(name for names in IMPLIED_TABLES.values() for name in names), "errno"]


@lru_cache(maxsize=1)
def _table_order() -> dict[str, int]:
    """Table -> index, in order of first use."""
    named = (a.param for c in syscalls() for a in c.arguments if a.kind in _BY_TABLE)
    return {name: index for index, name in enumerate(dict.fromkeys([*_implied(), *named]))}


def _tables_of(calls: list[Syscall], kinds: frozenset[str]) -> set[str]:
    named = {a.param for call in calls for a in call.arguments if a.kind in _BY_TABLE}
    implied = {table for kind in kinds for table in IMPLIED_TABLES.get(kind, ())}
    return {"errno", *named, *implied}


_BY_TABLE: Final = ("flags", "oflags", "enum")


def _encode_argument(argument: Argument, order: dict[str, int]) -> bytes:
    if argument.kind in _BY_TABLE:
        param = order[argument.param]
    else:
        param = int(argument.param or 0)
    narrow = 0 if argument.width == "long" else NARROW
    return bytes((KINDS.index(argument.kind) | narrow, param))


def _encode_tables(order: dict[str, int], wanted: set[str]) -> tuple[bytes, bytes, bytes]:
    from pystap.ir.tables import TABLES, FlagTable

    tables, entries, texts = bytearray(), bytearray(), bytearray()
    count = 0
    for name in order:
        if name not in wanted:
            tables += TABLE.pack(0, 0, 0)
            continue
        table = TABLES[name]
        rows: list[tuple[int, int, str]]
        if isinstance(table, FlagTable):
            rows = [(flag.mask, flag.value, flag.name) for flag in table.flags]
            rows += [(0, 0, table.zero)] if table.zero else []
        else:
            rows = [(0xFFFF_FFFF, n & 0xFFFF_FFFF, label) for n, label in table.names.items()]
        tables += TABLE.pack(count, len(rows), isinstance(table, FlagTable))
        count += len(rows)
        for mask, value, label in rows:
            entries += ENTRY.pack(mask, value, len(texts), len(label))
            texts += label.encode("ascii") + b"\0"
    return bytes(tables), bytes(entries), bytes(texts)
