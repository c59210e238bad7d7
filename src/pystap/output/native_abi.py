"""What the native consumer's machine code and its Python side agree on: numbers and layouts."""

from __future__ import annotations

from pystap.typing import Final

# Changes of the layouts below, and of the code made for them, count up.
REVISION: Final = 1

# State: an array of u64 words.
STATE_CONSUMER: Final = 0  # address of the consumer position
STATE_PRODUCER: Final = 1  # address of the producer position
STATE_DATA: Final = 2  # address of the data area
STATE_MASK: Final = 3  # size of the data area - 1
STATE_FORMATS: Final = 4  # address of the format table
STATE_FORMAT_COUNT: Final = 5
STATE_PENDING: Final = 6  # address of the table of contexts with output held back, or 0
STATE_OUT: Final = 7  # address of the output buffer
STATE_OUT_SIZE: Final = 8
STATE_OUT_BEGIN: Final = 9  # offsets of the bytes in the buffer that are not written yet
STATE_OUT_END: Final = 10
STATE_FD: Final = 11
STATE_BUDGET: Final = 12  # return after so many bytes of ring buffer
STATE_RECORDS: Final = 13  # records formatted here, counted up
STATE_BYTES: Final = 14  # bytes written here, counted up
STATE_ERRNO: Final = 15  # of the write that failed
STATE_WORDS: Final = 16

# Results of consume().
DONE: Final = 0  # nothing left that is committed
BUDGET: Final = 1  # the budget is used up
PYTHON: Final = 2  # the record at the consumer position is not for this code
WRITE_ERROR: Final = 3  # STATE_ERRNO says why; unwritten bytes are still in the buffer

# One output buffer; every record finds at least RECORD_ROOM free bytes.
OUT_SIZE: Final = 1 << 18
RECORD_ROOM: Final = 1 << 16
RELEASE_STEP: Final = 1 << 18  # bytes of ring buffer given back at once

# Contexts with output held back: one byte for (cpu % 1024) * 8 + level % 8.
PENDING_CPUS: Final = 1024
PENDING_LEVELS: Final = 8

# Format table: entries of two u64: address of the operations (0: left to Python), their number.
FORMAT_ENTRY: Final = 16

# Operation: one directive and the literal text behind it.
OP_SIZE: Final = 32
OP_KIND: Final = 0  # u8
OP_FLAGS: Final = 1  # u8
OP_CONVERSION: Final = 2  # u8: the conversion's character
OP_LITERAL_SIZE: Final = 4  # u32
OP_WIDTH: Final = 8  # i32
OP_PRECISION: Final = 12  # i32, -1: none
OP_LITERAL: Final = 16  # up to 16 bytes of text, or the address of longer text
INLINE_LITERAL: Final = 16

KIND_LITERAL: Final = 0
KIND_SIGNED: Final = 1  # %d without flags, width and precision
KIND_STRING: Final = 2  # %s likewise
KIND_UNSIGNED: Final = 3
KIND_HEX: Final = 4  # %x
KIND_CHARACTER: Final = 5
KIND_NUMBER: Final = 6  # any of d u o x X p
KIND_TEXT: Final = 7  # any of s m M
KIND_PADDED_CHARACTER: Final = 8
KIND_BINARY: Final = 9

FLAG_LEFT: Final = 1
FLAG_PLUS: Final = 2
FLAG_SPACE: Final = 4
FLAG_ALTERNATE: Final = 8
FLAG_ZERO: Final = 16
FLAG_STAR_WIDTH: Final = 32
FLAG_STAR_PRECISION: Final = 64
