"""The native consumer's Python side: its code on disk, its tables, and one call to run it."""

from __future__ import annotations

import ctypes
import os
import struct

import pystap
from pystap.output import native_abi as abi
from pystap.output.formats import MAX_FIELD, STAR, Directive, Format
from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pystap.backend.llvm.native import NativeCode
    from pystap.output.consumer import Ring

_CPU: Final = "x86-64"  # the code gains nothing from newer instructions
_GENERATORS: Final = ("native_abi.py", "native_code.py", "native_fields.py", "native_text.py")
_DIGEST_SIZE: Final = 32

_FLAGS: Final = {
    "": 0,
    "-": abi.FLAG_LEFT,
    "+": abi.FLAG_PLUS,
    " ": abi.FLAG_SPACE,
    "#": abi.FLAG_ALTERNATE,
    "0": abi.FLAG_ZERO,
}
_PLAIN: Final = {
    "d": abi.KIND_SIGNED,
    "u": abi.KIND_UNSIGNED,
    "x": abi.KIND_HEX,
    "s": abi.KIND_STRING,
    "c": abi.KIND_CHARACTER,
}
_GENERAL: Final = {
    **dict.fromkeys("duoxXp", abi.KIND_NUMBER),
    **dict.fromkeys("smM", abi.KIND_TEXT),
    "c": abi.KIND_PADDED_CHARACTER,
    "b": abi.KIND_BINARY,
}
_HEAD = struct.Struct("<BBBxIii")


def compile_consumer() -> bytes:
    """The consumer's object file, made by LLVM: 0.1 to 0.2 s.  Raises ``LlvmError``."""
    from pystap.backend.llvm import binding
    from pystap.output.native_code import consumer_ir

    return binding.compile_object(consumer_ir(), binding.X86_TRIPLE, _CPU, unroll=False)


def cache_path(cache_dir: str) -> str:
    """Where the object is kept: named by version, processor, and content of its generators."""
    import zlib

    key = abi.REVISION
    here = os.path.dirname(__file__)
    for name in _GENERATORS:
        try:
            with open(os.path.join(here, name), "rb") as file:
                key = zlib.crc32(file.read(), key)
        except FileNotFoundError:
            continue  # installed without sources: the version says it all
    return os.path.join(cache_dir, f"consumer-{pystap.__version__}-{_CPU}-{key:08x}.o")


def load_cached(cache_dir: str) -> NativeCode | None:
    """Map the code kept in a directory; None when there is none that can be trusted.

    Trusted is an intact file that only this user or root can have written.
    """
    from hashlib import sha256

    from pystap.backend.llvm.native import NativeCode, supported

    if not supported():
        return None
    try:
        with open(cache_path(cache_dir), "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
                return None
            data = file.read()
    except OSError:
        return None
    digest, content = data[:_DIGEST_SIZE], data[_DIGEST_SIZE:]
    return NativeCode(content) if sha256(content).digest() == digest else None


def store_cached(cache_dir: str, content: bytes) -> None:
    """Keep an object; the file appears complete or not at all.  Raises OSError."""
    from hashlib import sha256

    from pystap.wholefile import write_whole

    write_whole(cache_path(cache_dir), sha256(content).digest(), content)


class NativeConsumer:
    """One ring buffer consumed by machine code.

    ``run`` formats until something is left to Python; the unwritten bytes are in the buffer only
    after a write error, otherwise everything formatted is written when it returns.
    """

    def __init__(
        self, code: NativeCode, ring: Ring, formats: Sequence[Format], out_fd: int
    ) -> None:
        self._code = code  # owns the mapping behind self._consume
        prototype = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)
        self._consume: Any = code.function("consume", prototype)
        self._tables = FormatTables(formats)
        self._out = ctypes.create_string_buffer(abi.OUT_SIZE)
        self._pending = ctypes.create_string_buffer(abi.PENDING_CPUS * abi.PENDING_LEVELS)
        self._state = (ctypes.c_uint64 * abi.STATE_WORDS)()
        self._state_address = ctypes.addressof(self._state)
        for index, value in (
            (abi.STATE_CONSUMER, ring.consumer_address),
            (abi.STATE_PRODUCER, ring.producer_address),
            (abi.STATE_DATA, ring.data_address),
            (abi.STATE_MASK, ring.size - 1),
            (abi.STATE_FORMATS, self._tables.address),
            (abi.STATE_FORMAT_COUNT, len(formats)),
            (abi.STATE_OUT, ctypes.addressof(self._out)),
            (abi.STATE_OUT_SIZE, abi.OUT_SIZE),
            (abi.STATE_FD, out_fd),
            (abi.STATE_BUDGET, ring.size),
        ):
            self._state[index] = value

    def run(self) -> int:
        """Consume; gives DONE, BUDGET, PYTHON or WRITE_ERROR of :mod:`native_abi`."""
        return int(self._consume(self._state_address))

    @property
    def records(self) -> int:
        """Records formatted here so far."""
        return int(self._state[abi.STATE_RECORDS])

    @property
    def bytes_written(self) -> int:
        """Bytes written here so far."""
        return int(self._state[abi.STATE_BYTES])

    @property
    def errno(self) -> int:
        """Of the write that failed; 0 if it wrote nothing without an error."""
        return int(self._state[abi.STATE_ERRNO])

    def unwritten(self) -> bytes:
        """Take over the bytes a failed write left in the buffer."""
        begin, end = self._state[abi.STATE_OUT_BEGIN], self._state[abi.STATE_OUT_END]
        self._state[abi.STATE_OUT_BEGIN] = self._state[abi.STATE_OUT_END] = 0
        return self._out.raw[begin:end]

    def hold_back(self, contexts: Iterable[tuple[int, int]]) -> None:
        """Leave records of these (cpu, level) to Python from now on."""
        contexts = list(contexts)
        if not contexts and not self._state[abi.STATE_PENDING]:
            return
        ctypes.memset(self._pending, 0, len(self._pending))
        address = 0
        for cpu, level in contexts:
            slot = cpu % abi.PENDING_CPUS * abi.PENDING_LEVELS + level % abi.PENDING_LEVELS
            self._pending[slot] = b"\1"
            address = ctypes.addressof(self._pending)
        self._state[abi.STATE_PENDING] = address

    def set_fd(self, fd: int) -> None:
        """Write to another descriptor from now on."""
        self._state[abi.STATE_FD] = fd


class FormatTables:
    """The formats as the machine code reads them; owns the memory."""

    def __init__(self, formats: Sequence[Format]) -> None:
        self._texts: list[ctypes.Array[ctypes.c_char]] = []
        operations: list[bytes] = []
        spans: list[tuple[int, int] | None] = []
        for fmt in formats:
            if all(map(_is_native, fmt.directives)):
                begin = len(operations)
                self._compile(fmt, operations)
                spans.append((begin, len(operations) - begin))
            else:
                spans.append(None)
        self._operations = ctypes.create_string_buffer(b"".join(operations) + b"\0")
        base = ctypes.addressof(self._operations)
        self._entries = (ctypes.c_uint64 * (2 * len(formats) + 2))()
        for index, span in enumerate(spans):
            if span:
                self._entries[2 * index] = base + span[0] * abi.OP_SIZE
                self._entries[2 * index + 1] = span[1]
        self.address = ctypes.addressof(self._entries)

    def _compile(self, fmt: Format, operations: list[bytes]) -> None:
        """Append one format's operations; a literal joins the directive in front of it."""
        directives = list(fmt.directives)
        at = 0
        while at < len(directives):
            directive = directives[at]
            if not directive.conv:
                operations.append(self._operation(Directive(""), directive.text))
                at += 1
                continue
            text = ""
            if at + 1 < len(directives) and not directives[at + 1].conv:
                text = directives[at + 1].text
            operations.append(self._operation(directive, text))
            at += 2 if text else 1

    def _operation(self, directive: Directive, text: str) -> bytes:
        conversion = directive.conv
        flags = _FLAGS[directive.flag]
        if directive.width == STAR:
            flags |= abi.FLAG_STAR_WIDTH
        if directive.precision == STAR:
            flags |= abi.FLAG_STAR_PRECISION
        width = min(directive.width or 0, MAX_FIELD)
        precision = -1 if directive.precision is None else min(directive.precision, 0x7FFF_FFFF)
        if not conversion:
            kind = abi.KIND_LITERAL
        elif not flags and not width and precision < 0 and conversion in _PLAIN:
            kind = _PLAIN[conversion]
        else:
            kind = _GENERAL[conversion]
        head = _HEAD.pack(kind, flags, ord(conversion or " "), len(text), width, precision)
        return head + self._literal(text.encode("latin-1"))

    def _literal(self, text: bytes) -> bytes:
        if len(text) <= abi.INLINE_LITERAL:
            return text.ljust(abi.INLINE_LITERAL, b"\0")
        buffer = ctypes.create_string_buffer(text, len(text) + 8)  # read in words of 8
        self._texts.append(buffer)
        return struct.pack("<QQ", ctypes.addressof(buffer), 0)


def _is_native(directive: Directive) -> bool:
    """Histograms and the quoting forms of %c and %s are left to Python."""
    if directive.conv in ("c", "s") and directive.flag == "#":
        return False
    return not directive.conv or directive.conv in _GENERAL
