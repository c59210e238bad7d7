"""Format descriptions: the one data type the translator, the formatters and ``sprintf`` share.

A record in the ring buffer is (all little endian, every part 8-byte aligned)::

    u64 header      bits 0..15 cpu, bit 16 MORE (the handler's output goes on in its next record),
                    bits 24..31 context level
    item*           u64: low 32 bits item id, high 32 bits total size of the item in bytes
                    then the arguments: a long is 8 bytes; a string is u32 length and that many
                    bytes, padded to 8; a histogram is a u64 bucket-count and the buckets (u64)

Item ids below ``ITEM_CONTROL`` index the program's format table; the others are control items.
"""

from __future__ import annotations

from pystap.typing import Final, NamedTuple

RECORD_MORE: Final = 1 << 16
ITEM_CONTROL: Final = 0xFFFF_0000
ITEM_ERROR: Final = 0xFFFF_0001  # run-time error; layout in pystap.output.records
ITEM_WARN: Final = 0xFFFF_0002  # warn("..."): one string
ITEM_EXIT: Final = 0xFFFF_0003  # exit() was called: no arguments
ITEM_SYSTEM: Final = 0xFFFF_0004  # system("..."): one string
ITEM_SYMBOL: Final = 0xFFFF_0005  # text made in user space from an address; see records
MAX_FIELD: Final = 4096  # bytes: the widest field, and the most digits a precision asks for
STAR: Final = -1  # width or precision taken from a preceding argument


class Directive(NamedTuple):
    """One part of a format.

    ``conv`` is ``""`` for literal text (in ``text``) or one of ``d u o x X p c s b m M``, or
    ``hist_log`` / ``hist_linear`` (``params`` then holds start, stop, step).  ``flag`` is one of
    ``- + # 0``, a space, or empty.  ``width`` and ``precision`` are None when absent,
    :data:`STAR` when an argument gives them.  An argument of ``m`` and ``M`` is passed as string
    (the bytes were read in the handler).
    """

    conv: str
    text: str = ""
    flag: str = ""
    width: int | None = None
    precision: int | None = None
    params: tuple[int, ...] = ()


class Format(NamedTuple):
    """A whole format: what one print call makes of its arguments."""

    directives: tuple[Directive, ...]
