"""Writes the native consumer as LLVM IR: ring buffer in, formatted bytes out.

The code is generic: formats reach it as tables (:mod:`pystap.output.native_abi`), so it is
compiled once per installation and kept.  It trusts nothing in a record: every length is tested
against the end of its item before it is used, and whatever does not fit is left to Python.
"""

from __future__ import annotations

from pystap.backend.llvm.builder import FunctionBuilder, Module, Value, Var
from pystap.output import native_abi as abi
from pystap.output.native_fields import define_fields
from pystap.output.native_text import SLACK, copy_text, define_text

_BUSY = 1 << 31
_DISCARD = 1 << 30
_LENGTH = (1 << 30) - 1
_SYS_WRITE = 1
_PLAIN_ROOM = 128  # no plain number with its inline literal needs more


def consumer_ir() -> bytes:
    """The module; its one global function is ``consume(state) -> result``."""
    m = Module("x86_64")
    define_text(m)
    define_fields(m)
    _define_write(m)
    _define_literal(m)
    _define_item(m)
    _define_record(m)
    _define_consume(m)
    return m.text()


def _word(b: FunctionBuilder, state: Value, index: int, ty: str = "i64") -> Value:
    return b.load(ty, state, index * 8)


def _define_write(m: Module) -> None:
    """write_out(state) -> 0, or 1 after an error: writes what is in the output buffer."""
    with m.function("write_out", "i64", [("ptr", "state")], linkage="internal") as b:
        state = b.args[0]
        out, fd = _word(b, state, abi.STATE_OUT, "ptr"), _word(b, state, abi.STATE_FD)
        begin = b.var("i64", _word(b, state, abi.STATE_OUT_BEGIN))
        end = _word(b, state, abi.STATE_OUT_END)
        with b.while_(lambda: begin.get().ult(end)):
            at = begin.get()
            done = b.emit(
                "i64",
                'call i64 asm sideeffect "syscall", "={rax},{rax},{rdi},{rsi},{rdx},'
                '~{rcx},~{r11},~{memory},~{dirflag},~{fpsr},~{flags}"'
                f"(i64 {_SYS_WRITE}, i64 {fd.text}, ptr {b.at(out, at).text}, "
                f"i64 {(end - at).text})",
            )
            with b.if_(done.sle(0)):
                b.store(-done, state, abi.STATE_ERRNO * 8)
                b.ret(1)
            begin.add(done)
            b.store(begin.get(), state, abi.STATE_OUT_BEGIN * 8)
            b.store(_word(b, state, abi.STATE_BYTES) + done, state, abi.STATE_BYTES * 8)
        b.store(0, state, abi.STATE_OUT_BEGIN * 8)
        b.store(0, state, abi.STATE_OUT_END * 8)
        b.ret(0)


def _define_literal(m: Module) -> None:
    """literal(o, op, limit) -> end: an operation's literal text; null if it has no room.

    Short text, which is nearly all there is, is copied without a loop: the room was tested.
    """
    params = [("ptr", "o"), ("ptr", "op"), ("ptr", "limit")]
    with m.function("literal", "ptr", params, linkage="internal", attrs=["alwaysinline"]) as b:
        o, op, limit = b.args
        size = b.load("i32", op, abi.OP_LITERAL_SIZE).zext("i64")
        with b.if_(size.ule(abi.INLINE_LITERAL)):
            for offset in (0, 8):
                b.store(b.load("i64", op, abi.OP_LITERAL + offset), o, offset, align=1)
            b.ret(b.at(o, size))
        with b.if_((limit.to_int() - o.to_int()).slt(size + SLACK)):
            b.ret(b.null())
        b.ret(b.call("copy_long", o, b.load("ptr", op, abi.OP_LITERAL), size))


def _define_item(m: Module) -> None:
    """item(o, limit, ops, count, at, end) -> end of output; null: leave the record to Python.

    ``at`` and ``end`` bound the arguments; their distance is a multiple of 8.
    """
    params = [
        ("ptr", "o"),
        ("ptr", "limit"),
        ("ptr", "ops"),
        ("i64", "count"),
        ("ptr", "at"),
        ("ptr", "end"),
    ]
    with m.function("item", "ptr", params, linkage="internal") as b:
        start, limit, ops, count, first, end = b.args
        o, at, op = b.var("ptr", start), b.var("ptr", first), b.var("ptr", ops)
        last = b.at(ops, count * abi.OP_SIZE)
        with b.while_(lambda: op.get().ne(last)):
            with b.if_((limit.to_int() - o.get().to_int()).slt(_PLAIN_ROOM)):
                b.ret(b.null())
            kind = b.load("i8", op.get(), abi.OP_KIND)
            with b.if_(kind.ne(abi.KIND_LITERAL)):
                with b.if_(at.get().eq(end)):
                    b.ret(b.null())
                _dispatch(b, kind, o, at, op, limit, end)
            after = b.call("literal", o.get(), op.get(), limit)
            with b.if_(after.eq(0)):
                b.ret(b.null())
            o.set(after)
            op.add(abi.OP_SIZE)
        b.ret(o.get())


def _dispatch(
    b: FunctionBuilder, kind: Value, o: Var, at: Var, op: Var, limit: Value, end: Value
) -> None:
    """One directive: advances ``o`` and ``at``, or returns null."""
    with b.switch(kind) as sw:
        with sw.case(abi.KIND_SIGNED):
            o.set(b.call("signed", o.get(), _take(b, at)))
        with sw.case(abi.KIND_STRING):
            _plain_string(b, o, at, limit, end)
        with sw.case(abi.KIND_UNSIGNED):
            o.set(b.call("unsigned", o.get(), _take(b, at)))
        with sw.case(abi.KIND_HEX):
            o.set(b.call("hex", o.get(), _take(b, at), 0))
        with sw.case(abi.KIND_CHARACTER):
            b.store(_take(b, at).trunc("i8"), o.get())
            o.add(1)
        with sw.default():
            width = _star(b, at, end, op, abi.OP_WIDTH, abi.FLAG_STAR_WIDTH)
            precision = _star(b, at, end, op, abi.OP_PRECISION, abi.FLAG_STAR_PRECISION)
            room = limit.to_int() - o.get().to_int()
            after = b.call("field", o.get(), room, op.get(), width, precision, at.get(), end)
            with b.if_(after.eq(0)):
                b.ret(b.null())
            o.set(after)
            _skip(b, kind, at)


def _take(b: FunctionBuilder, at: Var) -> Value:
    """The long at ``at``, which moves behind it; its presence was tested."""
    value = b.load("i64", at.get())
    at.add(8)
    return value


def _star(b: FunctionBuilder, at: Var, end: Value, op: Var, offset: int, flag: int) -> Value:
    """Width or precision: of the operation, or the next argument."""
    number = b.var("i64", b.load("i32", op.get(), offset).sext("i64"))
    with b.if_((b.load("i8", op.get(), abi.OP_FLAGS) & flag).ne(0)):
        number.set(_take(b, at))
        with b.if_(at.get().eq(end)):
            b.ret(b.null())
    return number.get()


def _skip(b: FunctionBuilder, kind: Value, at: Var) -> None:
    """Move behind the argument that field() used; a string was found to fit."""
    with b.if_else(kind.eq(abi.KIND_TEXT)) as (text, number):
        with text:
            size = b.load("i32", at.get()).zext("i64")
            at.set(b.at(at.get(), (size + 11) & -8))
        with number:
            at.add(8)


def _plain_string(b: FunctionBuilder, o: Var, at: Var, limit: Value, end: Value) -> None:
    size = b.load("i32", at.get()).zext("i64")
    with b.if_(size.ugt(end.to_int() - at.get().to_int() - 4)):
        b.ret(b.null())
    with b.if_((limit.to_int() - o.get().to_int()).slt(size + SLACK)):
        b.ret(b.null())
    copy_text(b, o.get(), at.get(), size)
    o.set(b.at(o.get(), size))
    at.set(b.at(at.get(), (size + 11) & -8))


def _define_record(m: Module) -> None:
    """record(state, o, limit, data, length) -> end of output; null: leave it to Python."""
    params = [("ptr", "state"), ("ptr", "o"), ("ptr", "limit"), ("ptr", "data"), ("i64", "length")]
    with m.function("record", "ptr", params, linkage="internal", attrs=["alwaysinline"]) as b:
        state, start, limit, data, length = b.args
        with b.if_(length.ult(8)):
            b.ret(b.null())
        _check_context(b, state, b.load("i64", data))
        o, at = b.var("ptr", start), b.var("i64", 8)
        with b.while_(lambda: at.get().ne(length)):
            left = length - at.get()
            with b.if_(left.ult(8)):
                b.ret(b.null())
            word = b.load("i64", b.at(data, at.get()))
            number, size = word & 0xFFFF_FFFF, word >> 32
            bad = size.ult(8) | size.ugt(left) | (size & 7).ne(0)
            with b.if_(bad | number.uge(_word(b, state, abi.STATE_FORMAT_COUNT))):
                b.ret(b.null())
            entry = b.at(_word(b, state, abi.STATE_FORMATS, "ptr"), number * abi.FORMAT_ENTRY)
            ops = b.load("ptr", entry)
            with b.if_(ops.eq(0)):
                b.ret(b.null())
            args = b.at(data, at.get() + 8)
            end = b.at(data, at.get() + size)
            after = b.call("item", o.get(), limit, ops, b.load("i64", entry, 8), args, end)
            with b.if_(after.eq(0)):
                b.ret(b.null())
            o.set(after)
            at.add(size)
        b.ret(o.get())


def _check_context(b: FunctionBuilder, state: Value, header: Value) -> None:
    """Return null for a record that is, or follows, a held back part of a handler's output."""
    with b.if_((header & (1 << 16)).ne(0)):
        b.ret(b.null())
    table = _word(b, state, abi.STATE_PENDING, "ptr")
    with b.if_(table.ne(0)):
        cpu = header & (abi.PENDING_CPUS - 1)
        level = (header >> 24) & (abi.PENDING_LEVELS - 1)
        held = b.load("i8", b.at(table, cpu * abi.PENDING_LEVELS + level))
        with b.if_(held.ne(0)):
            b.ret(b.null())


def _define_consume(m: Module) -> None:
    """consume(state): format records until there is a reason to return."""
    with m.function("consume", "i64", [("ptr", "state")]) as b:
        state = b.args[0]
        consumer = _word(b, state, abi.STATE_CONSUMER, "ptr")
        producer = _word(b, state, abi.STATE_PRODUCER, "ptr")
        begin = b.load("i64", consumer)
        position, released = b.var("i64", begin), b.var("i64", begin)
        produced = b.var("i64", begin)
        result = b.var("i64", abi.DONE)
        out = _word(b, state, abi.STATE_OUT, "ptr")
        o = b.var("ptr", b.at(out, _word(b, state, abi.STATE_OUT_END)))
        with b.loop():
            with b.if_(position.get().eq(produced.get())):
                produced.set(b.load_acquire("i64", producer))
                with b.if_(position.get().eq(produced.get())):
                    b.break_()
            with b.if_((position.get() - begin).uge(_word(b, state, abi.STATE_BUDGET))):
                result.set(abi.BUDGET)
                b.break_()
            with b.if_((position.get() - released.get()).uge(abi.RELEASE_STEP)):
                released.set(position.get())
                b.store_release(position.get(), consumer)
            _one_record(b, state, position, produced, result, o)
        b.store_release(position.get(), consumer)
        b.store(o.get().to_int() - out.to_int(), state, abi.STATE_OUT_END * 8)
        with b.if_(result.get().ne(abi.WRITE_ERROR) & b.call("write_out", state).ne(0)):
            b.ret(abi.WRITE_ERROR)
        b.ret(result.get())


def _one_record(
    b: FunctionBuilder, state: Value, position: Var, produced: Var, result: Var, o: Var
) -> None:
    """One round of the loop in consume(): leaves it by ``break_`` where it cannot go on."""
    offset = position.get() & _word(b, state, abi.STATE_MASK)
    place = b.at(_word(b, state, abi.STATE_DATA, "ptr"), offset)
    header = b.load_acquire("i32", place)
    with b.if_((header & _BUSY).ne(0)):
        b.break_()
    length = (header & _LENGTH).zext("i64")
    step = (length + 15) & -8
    with b.if_(step.ugt(produced.get() - position.get())):
        result.set(abi.PYTHON)
        b.break_()
    with b.if_((header & _DISCARD).eq(0)):
        _make_room(b, state, result, o)
        limit = b.at(
            _word(b, state, abi.STATE_OUT, "ptr"), _word(b, state, abi.STATE_OUT_SIZE) - SLACK
        )
        after = b.call("record", state, o.get(), limit, b.at(place, 8), length)
        with b.if_(after.eq(0)):
            result.set(abi.PYTHON)
            b.break_()
        o.set(after)
        records = _word(b, state, abi.STATE_RECORDS)
        b.store(records + 1, state, abi.STATE_RECORDS * 8)
    position.add(step)


def _make_room(b: FunctionBuilder, state: Value, result: Var, o: Var) -> None:
    """Write the buffer out when a record might not fit."""
    out = _word(b, state, abi.STATE_OUT, "ptr")
    used = o.get().to_int() - out.to_int()
    full = used.ugt(_word(b, state, abi.STATE_OUT_SIZE) - abi.RECORD_ROOM)
    with b.if_(full):
        b.store(used, state, abi.STATE_OUT_END * 8)
        with b.if_(b.call("write_out", state).ne(0)):
            result.set(abi.WRITE_ERROR)
            b.break_()
        o.set(out)
