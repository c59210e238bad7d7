"""Records of the ring buffer: packing, walking, and putting handlers' output together.

The general layout is described in :mod:`pystap.output.formats`.  Control items carry after their
item word (all offsets from there, little endian):

``ITEM_WARN``, ``ITEM_SYSTEM``
    one string
``ITEM_EXIT``
    nothing
``ITEM_ERROR``
    ====  ===  =====================================================================
    0     u64  message: index into the artifact's messages, or ``ERROR_TEXT``: the
               string below is the whole message
    8     u64  two longs for the ``%d %u %x %p ...`` directives of the message, in
    16    u64  the order of their use; 0 when not used
    24    u32  probe: index into the artifact's probes, ``NO_ID`` when unknown
    28    u32  position: of the failing operation in the artifact's positions, or
               ``NO_ID``
    32    u32  calls: how many call sites follow
    36    u32  slots: how many u32 the table of call sites has; even, >= calls
    40    u32  positions of the call sites, innermost first; the rest of the table
               is ignored, so that a handler can write a table of fixed size
    ..    str  argument of the message's ``%s``; may be empty
    ====  ===  =====================================================================
``ITEM_SYMBOL``
    reserved: text made in user space from addresses; delivered as raw bytes
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pystap.output.formats import (
    ITEM_CONTROL,
    ITEM_ERROR,
    ITEM_EXIT,
    ITEM_SYMBOL,
    ITEM_SYSTEM,
    ITEM_WARN,
    RECORD_MORE,
)
from pystap.typing import Final, NamedTuple, TypeAlias

ERROR_TEXT: Final = (1 << 64) - 1
NO_ID: Final = 0xFFFF_FFFF
WORD: Final = 8
_CONTEXT: Final = 0xFF00_FFFF  # header bits that name cpu and level

_LONG = struct.Struct("<q")
_ITEM = struct.Struct("<II")
_ERROR = struct.Struct("<QqqIIII")

Value: TypeAlias = int | bytes | Sequence[int]


class RecordError(Exception):
    """A record does not have the documented layout; nothing of it can be trusted."""


class ErrorItem(NamedTuple):
    """A run-time error.  ``message`` is an index or :data:`ERROR_TEXT`; ids may be
    :data:`NO_ID`; ``calls`` are positions of call sites, innermost first."""

    message: int
    values: tuple[int, int]
    probe: int
    position: int
    calls: tuple[int, ...]
    text: bytes


class WarnItem(NamedTuple):
    """``warn(text)``."""

    text: bytes


class SystemItem(NamedTuple):
    """``system(command)``."""

    command: bytes


class ExitItem(NamedTuple):
    """``exit()``."""


class SymbolItem(NamedTuple):
    """Reserved; ``data`` is the item without its first word."""

    data: bytes


Control: TypeAlias = ErrorItem | WarnItem | SystemItem | ExitItem | SymbolItem


# ---- packing (runtimes written in Python, and tests)


def pack_record(items: Sequence[bytes], cpu: int = 0, level: int = 0, more: bool = False) -> bytes:
    """A record of packed items."""
    header = cpu | level << 24 | (RECORD_MORE if more else 0)
    return header.to_bytes(WORD, "little") + b"".join(items)


def pack_item(number: int, args: Sequence[Value] = ()) -> bytes:
    """An item: a format with its arguments, or a control item."""
    return _pack(number, b"".join(map(pack_value, args)))


def pack_error(error: ErrorItem) -> bytes:
    """An ``ITEM_ERROR`` item."""
    slots = (len(error.calls) + 1) & ~1
    calls = (*error.calls, NO_ID)[:slots]
    head = _ERROR.pack(
        error.message, *error.values, error.probe, error.position, len(error.calls), slots
    )
    return _pack(ITEM_ERROR, head + struct.pack(f"<{slots}I", *calls) + pack_value(error.text))


def pack_value(value: Value) -> bytes:
    """A long (taken modulo 2^64), a string, or the bucket counts of a histogram."""
    if isinstance(value, int):
        return (value & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(WORD, "little")
    if isinstance(value, bytes):
        data = len(value).to_bytes(4, "little") + value
        return data + bytes(-len(data) % WORD)
    return struct.pack(f"<Q{len(value)}Q", len(value), *value)


def _pack(number: int, body: bytes) -> bytes:
    return _ITEM.pack(number, _ITEM.size + len(body)) + body


# ---- walking


def items(record: bytes) -> list[tuple[int, int, int]]:
    """The items of a record as (id, begin of the arguments, end).  Raises :class:`RecordError`."""
    out: list[tuple[int, int, int]] = []
    at = WORD
    length = len(record)
    if length < WORD:
        raise RecordError(f"record of {length} bytes")
    while at < length:
        if length - at < WORD:
            raise RecordError(f"{length - at} stray bytes at the end of a record")
        number, size = _ITEM.unpack_from(record, at)
        if size < WORD or size % WORD or size > length - at:
            raise RecordError(f"item {number:#x} with size {size}, {length - at} bytes left")
        out.append((number, at + WORD, at + size))
        at += size
    return out


def values(record: bytes, kinds: str, at: int, end: int) -> list[Value]:
    """Arguments of the given kinds (see :mod:`formatspec`) between two offsets of a record.

    Raises :class:`RecordError` when they do not fit.
    """
    out: list[Value] = []
    for kind in kinds:
        if end - at < WORD:
            raise RecordError(f"item ends before its argument {len(out) + 1} of {len(kinds)}")
        if kind == "l":
            out.append(_LONG.unpack_from(record, at)[0])
            at += WORD
        elif kind == "s":
            text, at = _string(record, at, end)
            out.append(text)
        else:
            count = int.from_bytes(record[at : at + WORD], "little")
            at += WORD
            if count > (end - at) // WORD:
                raise RecordError(f"histogram of {count} buckets in {end - at} bytes")
            out.append(struct.unpack_from(f"<{count}Q", record, at))
            at += count * WORD
    return out


def control(record: bytes, number: int, at: int, end: int) -> Control:
    """The control item with id ``number`` and these argument bounds."""
    if number == ITEM_ERROR:
        return _error(record, at, end)
    if number == ITEM_WARN:
        return WarnItem(_string(record, at, end)[0])
    if number == ITEM_SYSTEM:
        return SystemItem(_string(record, at, end)[0])
    if number == ITEM_EXIT:
        return ExitItem()
    if number == ITEM_SYMBOL:
        return SymbolItem(record[at:end])
    raise RecordError(f"item id {number:#x} is unknown")


def is_control(number: int) -> bool:
    """Whether an item id is not a format."""
    return number >= ITEM_CONTROL


def _string(record: bytes, at: int, end: int) -> tuple[bytes, int]:
    if end - at < WORD:
        raise RecordError("item ends before its string")
    length = int.from_bytes(record[at : at + 4], "little")
    if length > end - at - 4:
        raise RecordError(f"string of {length} bytes where {end - at - 4} are left")
    return record[at + 4 : at + 4 + length], at + (length + 4 + 7 & ~7)


def _error(record: bytes, at: int, end: int) -> ErrorItem:
    if end - at < _ERROR.size:
        raise RecordError(f"error item of {end - at} bytes")
    message, first, second, probe, position, count, slots = _ERROR.unpack_from(record, at)
    at += _ERROR.size
    if count > slots or slots % 2 or slots > (end - at) // 4:
        raise RecordError(f"error item with {count} of {slots} call sites")
    calls = struct.unpack_from(f"<{count}I", record, at)
    text, _ = _string(record, at + slots * 4, end)
    return ErrorItem(message, (first, second), probe, position, calls, text)


# ---- one handler's output over several records


class Reassembler:
    """Holds records marked MORE back until their handler's last one, per cpu and level."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: dict[int, list[bytes]] = {}

    def __bool__(self) -> bool:
        return bool(self._pending)

    def feed(self, record: bytes) -> list[bytes]:
        """Take one record; gives the records that are complete now, in order, maybe none."""
        header = int.from_bytes(record[:WORD], "little")
        context = header & _CONTEXT
        if header & RECORD_MORE:
            self._pending.setdefault(context, []).append(record)
            return []
        if not self._pending:
            return [record]
        return [*self._pending.pop(context, ()), record]

    def contexts(self) -> list[tuple[int, int]]:
        """(cpu, level) of handlers that have not finished yet."""
        return [(key & 0xFFFF, key >> 24) for key in self._pending]

    def rest(self) -> list[bytes]:
        """Give up waiting (at the end of a session): everything held back, in order."""
        held = [record for records in self._pending.values() for record in records]
        self._pending.clear()
        return held
