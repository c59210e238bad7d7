"""Strings: values of NUL-terminated bytes in memory, passed by reference where possible."""

from __future__ import annotations

from functools import partial

from pystap.backend.bpf import emit, helpers, layout
from pystap.backend.bpf.layout import encode, round_up
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.ir import ops
from pystap.typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value

LARGEST_DUMP = 4096  # a page: most raw bytes that one directive prints
_INLINE_LITERAL = 64  # longest literal (with NUL) stored as immediate words
_INLINE_COPY = 128  # most bytes copied or cleared word by word
SHORT = 32  # most bytes of a string handled word by word


class Text:
    """A string in memory: at most ``bound`` bytes with its NUL.

    ``readable`` bytes (a multiple of 8) can be read at the address.  The address may be given by
    what emits it: each use does so then, which takes fewer registers than to have it wait.
    """

    __slots__ = ("_address", "bound", "readable")

    def __init__(self, address: Value | Callable[[], Value], bound: int, readable: int) -> None:
        self._address = address
        self.bound = bound
        self.readable = readable

    @property
    def ptr(self) -> Value:
        """Emit the address."""
        return self._address() if callable(self._address) else self._address


class Bytes(NamedTuple):
    """Raw bytes in memory, NULs included: ``size`` of them, at most ``most``."""

    ptr: Value
    size: Value
    most: int


def dump_size(expr: ops.Expr) -> int:
    """Most bytes an argument has that is printed as raw bytes; -1 for any other argument."""
    if not isinstance(expr, ops.Intrinsic) or expr.name not in ("kernel_bytes", "user_bytes"):
        return -1
    count = expr.args[1]
    return min(max(count.value, 0), LARGEST_DUMP) if isinstance(count, ops.Const) else LARGEST_DUMP


class Room(NamedTuple):
    """Where a string is to be written: ``size`` bytes, a multiple of 8.

    At most ``limit`` bytes with the NUL are used; ``pad`` asks for zeros behind the string.
    """

    ptr: Value
    size: int
    limit: int
    pad: bool = False


def bound(s: Scope, expr: ops.Expr) -> int:
    """Most bytes, NUL included, of a string expression's value."""
    most = s.u.limits.maxstringlen
    match expr:
        case ops.StrConst(value):
            return min(len(value) + 1, most)
        case ops.Local(var) | ops.GlobalGet(var) | ops.MapGet(var):
            return min(var.bound or most, most)
        case ops.Call():
            return min(max(t.bound or most for t in expr.targets), most)
        case ops.Cond():
            return max(bound(s, expr.yes), bound(s, expr.no))
        case ops.Concat(parts):
            return min(sum(bound(s, p) - 1 for p in parts) + 1, most)
        case ops.Seq():
            return bound(s, expr.value)
        case ops.Intrinsic(name):
            from pystap.ir.intrinsics import INTRINSICS

            return min(INTRINSICS[name].bound or most, most)
        case _:
            return most


def reference(s: Scope, expr: ops.Expr) -> Text:
    """Emit a string expression; where its value is.  Temporary memory is used if need be."""
    match expr:
        case ops.StrConst(value):
            return literal(s, value)
        case ops.Local(var):
            size = bound(s, expr)
            return Text(partial(s.local, var), size, round_up(size))
        case ops.GlobalGet(var):
            from pystap.backend.bpf.globals_ import address

            size = bound(s, expr)
            return Text(partial(address, s, var), size, round_up(size))
        case ops.Seq():
            emit.statements(s, expr.body)
            return reference(s, expr.value)
    size = bound(s, expr)
    if s.context is None:
        room = Room(s.temporary(size), round_up(size), size)
        emit.string_into(s, expr, room)
        return Text(room.ptr, size, room.size)
    place = s.body.frame.allocate(size)
    emit.string_into(s, expr, Room(s.address(place), round_up(size), size))
    return Text(lambda: s.address(place), size, round_up(size))


def literal(s: Scope, value: str) -> Text:
    """A literal in read-only memory."""
    data = encode(value, s.u.limits.maxstringlen)
    size = len(data)
    data += bytes(-size % 8)
    return Text(lambda: s.b.data(data), size, len(data))


@emit.emits_string(ops.StrConst)
def _const(s: Scope, e: ops.StrConst, room: Room) -> None:
    data = encode(e.value, room.limit)
    if len(data) > _INLINE_LITERAL:
        copy(s, literal(s, e.value), room)
        return
    data += bytes((room.size if room.pad else round_up(len(data))) - len(data))
    store_bytes(s, data, room.ptr)


def store_bytes(s: Scope, data: bytes, ptr: Value) -> None:
    """Store known bytes, a multiple of 8, as words."""
    zeros = len(data)
    while zeros > 64 and not any(data[zeros - 8 : zeros]):
        zeros -= 8
    for at in range(0, zeros, 8):
        s.b.store(int.from_bytes(data[at : at + 8], "little"), ptr, at)
    if zeros < len(data):
        fill_zero(s, s.b.at(ptr, zeros), len(data) - zeros)


def fill_zero(s: Scope, ptr: Value, size: int) -> None:
    """Zero ``size`` bytes, a multiple of 8.

    Not by memset: LLVM joins neighbouring ones until they need a library call.
    """
    b = s.b
    if size > _INLINE_COPY:
        b.helper(helpers.PROBE_READ_KERNEL, "i64", ptr, size, b.data(bytes(size)))
        return
    for at in range(0, size, 8):
        b.store(0, ptr, at)


def copy_words(s: Scope, source: Value, target: Value, size: int) -> None:
    """Copy ``size`` bytes, a multiple of 8."""
    b = s.b
    if size > _INLINE_COPY:
        b.helper(helpers.PROBE_READ_KERNEL, "i64", target, size, source)
        return
    for at in range(0, size, 8):
        b.store(b.load("i64", source, at), target, at)


@emit.emits_string(ops.Local, ops.GlobalGet)
def _variable(s: Scope, e: ops.Local | ops.GlobalGet, room: Room) -> None:
    copy(s, reference(s, e), room)


@emit.emits_string(ops.Cond)
def _cond(s: Scope, e: ops.Cond, room: Room) -> None:
    from pystap.backend.bpf.expressions import condition

    with s.b.if_else(condition(s, e.cond)) as (yes, no):
        with yes:
            emit.string_into(s, e.yes, room)
        with no:
            emit.string_into(s, e.no, room)


@emit.emits_string(ops.Seq)
def _seq(s: Scope, e: ops.Seq, room: Room) -> None:
    emit.statements(s, e.body)
    emit.string_into(s, e.value, room)


@emit.emits_string(ops.Concat)
def _concat(s: Scope, e: ops.Concat, room: Room) -> None:
    """Join in the room itself: it is fresh memory (see :func:`assign`)."""
    parts = [reference(s, part) for part in e.parts]
    if room.pad:
        fill_zero(s, room.ptr, room.size)
    builder = Builder(s, room.limit)
    for part in parts:
        builder.append(part)
    builder.finish(room)


class Builder:
    """Puts a string together in the context's builder area, which has room for two strings.

    ``limit`` is the most the string can have with its NUL.  Run-time functions go on (``fresh``
    unset) where their caller stopped.
    """

    __slots__ = ("area", "limit", "s")

    def __init__(self, s: Scope, limit: int, *, fresh: bool = True) -> None:
        self.s = s
        self.limit = limit
        self.area = s.area("build", 2 * s.u.max_string + 64)
        if fresh:
            s.b.store(0, self.area, ty="i8")
            s.set_header(layout.BUILD, 0)

    def append(self, text: Text) -> None:
        """Append a string, cut where the limit is."""
        self._append(text.ptr, min(text.bound, self.limit))

    def append_part(self, source: Value, length: Value) -> None:
        """Append the first ``length`` bytes of a string, or all of it."""
        b = self.s.b
        size = b.barrier(length + 1)
        self._append(source, b.barrier(b.select(size.ult(self.limit), size, self.limit)))

    def append_run(self, char: str, count: Value) -> None:
        """Append a character some times; not at all when ``count`` is negative."""
        b = self.s.b
        with b.if_(count.sgt(0)):
            size = b.barrier(count + 1)
            size = b.barrier(b.select(size.ult(self.limit), size, self.limit))
            self._append(literal(self.s, char * (self.limit - 1)).ptr, size)

    def _append(self, source: Value, size: Value | int) -> None:
        s, b = self.s, self.s.b
        at = self.position()
        where = b.at(self.area, at)
        n = b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", where, size, source)
        s.set_header(layout.BUILD, at + b.select(n.sgt(0), n - 1, 0))

    def position(self) -> Value:
        """Bytes so far; the verifier knows they are less than the limit."""
        b = self.s.b
        at = b.barrier(self.s.header(layout.BUILD, volatile=True))
        return b.barrier(b.select(at.ult(self.limit), at, self.limit - 1))

    def close(self) -> None:
        """Let nothing that is appended from now on be part of the string: it has a NUL here."""
        b = self.s.b
        b.store(0, b.at(self.area, self.position()), ty="i8")
        self.s.set_header(layout.BUILD, self.limit - 1)

    def finish(self, room: Room) -> None:
        """Copy the string to its place."""
        size = min(self.limit, room.limit)
        self.s.b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", room.ptr, size, self.area)


def copy(s: Scope, text: Text, room: Room) -> None:
    """Copy a string to other memory."""
    b = s.b
    size = min(text.bound, room.limit)
    if room.pad:
        fill_zero(s, room.ptr, room.size)
    elif text.bound <= room.limit and size <= SHORT:
        for at in range(0, round_up(size), 8):
            b.store(b.load("i64", text.ptr, at), room.ptr, at)
        return
    b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", room.ptr, size, text.ptr)


def assign(s: Scope, expr: ops.Expr, room: Room) -> None:
    """Write an expression's value over a variable that the expression may read."""
    match expr:
        case ops.StrConst() | ops.Local() | ops.GlobalGet():
            emit.string_into(s, expr, room)
        case _:
            copy(s, reference(s, expr), room)


def discard(s: Scope, expr: ops.Expr) -> None:
    """Emit a string expression for its effect only."""
    reference(s, expr)


# ---- comparison


@emit.emits_long(ops.StrCompare)
def _compare(s: Scope, e: ops.StrCompare) -> Value:
    b = s.b
    left, right = reference(s, e.left), reference(s, e.right)
    if e.op in ("==", "!="):
        for one, expr in ((left, e.right), (right, e.left)):
            if isinstance(expr, ops.StrConst):
                same = _equals_literal(s, one, encode(expr.value, s.u.limits.maxstringlen))
                return (same if e.op == "==" else same ^ 1).zext("i64")
    order = compare(s, left, right)
    predicate = {"==": "eq", "!=": "ne", "<": "slt", "<=": "sle", ">": "sgt", ">=": "sge"}[e.op]
    return b.compare(predicate, order, 0).zext("i64")


def _equals_literal(s: Scope, text: Text, data: bytes) -> Value:
    """``i1``: the string has these bytes (the NUL included)."""
    b, ptr = s.b, text.ptr
    if len(data) > text.bound:
        return b.const("i1", 0)
    if len(data) > 128:
        return compare(s, text, literal(s, data[:-1].decode("latin-1"))).eq(0)
    differ = b.const("i64", 0)
    for at in range(0, len(data), 8):
        part = data[at : at + 8]
        word = b.load("i64", ptr, at)
        if len(part) < 8:
            word = word & ((1 << 8 * len(part)) - 1)
        differ = differ | (word ^ int.from_bytes(part, "little"))
    return differ.eq(0)


def compare(s: Scope, left: Text, right: Text) -> Value:
    """Negative, zero or positive as ``left`` is less than, equal to or greater than ``right``.

    Both are copied to the comparison area first, so that the run-time function needs no pointer
    arguments.
    """
    u, b = s.u, s.b
    area = s.area("compare", 2 * u.max_string)
    size = min(left.bound, right.bound)
    for text, at in ((left, 0), (right, u.max_string)):
        # One byte more than the shorter can have shows which one is longer.
        most = min(text.bound, size + 1)
        room = Room(b.at(area, at), u.max_string, most)
        copy(s, text, room)
    name = u.function("string_compare", ["index"], lambda fb: _emit_compare(u, fb))
    return b.call(name, s.header(layout.INDEX))


def _emit_compare(u: Unit, b: FunctionBuilder) -> None:
    s = runtime_scope(u, b, b.args[0])
    area = s.area("compare", 2 * u.max_string)
    with b.for_range(0, u.max_string, 8) as at:
        here = b.at(area, at)
        x, y = b.load("i64", here), b.load("i64", here, u.max_string)
        with b.if_(x.ne(y)):
            # Words compare like strings as big-endian numbers, cut behind the first NUL.
            mask = _until_nul(x)
            b.ret(big_endian_order(b, x & mask, y & mask))
        with b.if_(_zero_bytes(x).ne(0)):
            b.ret(0)
    b.ret(0)


def big_endian_order(b: FunctionBuilder, x: Value, y: Value) -> Value:
    """-1, 0 or 1 as the bytes of a word sort before, like or after those of another."""
    one, other = b.bswap(x), b.bswap(y)
    order = b.select(one.ult(other), b.const("i64", -1), 1)
    return b.select(one.eq(other), 0, order)


def order_word(s: Scope, word: Value) -> Value:
    """A long that sorts like the first eight bytes of a string, given as a word."""
    word = word & _until_nul(word)
    return s.b.bswap(word) ^ -(1 << 63)


def short_length(s: Scope, words: list[Value]) -> Value:
    """Length of a string given as its words, without a call."""
    b = s.b
    length = b.const("i64", 0)
    open_ = b.const("i64", 1)  # 0 behind the end
    for word in words:
        zeros = _zero_bytes(word)
        # Each byte up to the first zero one has its lowest bit set below the mark.
        below = (zeros & -zeros) - 1
        bytes_ = ((below & 0x0101010101010101) * 0x0101010101010101) >> 56
        ended = zeros.ne(0)
        length = length + (bytes_ - ended.zext("i64")) * open_
        open_ = b.select(ended, 0, open_)
    return length


def words_of(s: Scope, text: Text) -> list[Value]:
    """The words of a short string."""
    ptr = text.ptr
    return [s.b.load("i64", ptr, at) for at in range(0, round_up(text.bound), 8)]


def _zero_bytes(word: Value) -> Value:
    """Not zero if a byte of the word is zero; the lowest set bit marks the first."""
    return (word - 0x0101010101010101) & ~word & 0x8080808080808080


def _until_nul(word: Value) -> Value:
    """Mask of the bytes of a word up to its first zero byte, that one included."""
    zeros = _zero_bytes(word)
    lowest = zeros & -zeros
    # From bit 7 of the zero byte: (bit << 1) - 1 covers it; no zero byte gives all ones.
    return (lowest << 1) - 1
