"""Raw bytes of memory for the directives m and M; they may hold NULs, so they are no strings."""

from __future__ import annotations

from pystap.backend.bpf import emit, helpers, layout, strings
from pystap.backend.bpf.bounds import clamp
from pystap.backend.bpf.errors import raise_error
from pystap.backend.bpf.faulting import read_memory
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.memory import FAULTS, READ
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.strings import LARGEST_DUMP, Builder, Bytes, dump_size
from pystap.ir import errors, ops
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value


def read(s: Scope, expr: ops.Expr) -> Bytes:
    """Emit the reading of the bytes into temporary memory; a fault is a run-time error."""
    assert isinstance(expr, ops.Intrinsic)
    b = s.b
    space, most = expr.name.partition("_")[0], dump_size(expr)
    address, count = (emit.long(s, a) for a in expr.args)
    with b.if_(count.sgt(LARGEST_DUMP)):
        raise_error(s, errors.MEMORY_DUMP_SIZE, expr.pos, count)
    count = b.select(count.slt(0), 0, count)
    size = clamp(s, count, most)
    room = s.temporary(max(most, 1))
    failed = read_memory(s.u, b, READ[space], room, size, address)
    with b.if_(b.both(failed.ne(0), count.ne(0))):
        raise_error(s, FAULTS[space], expr.pos, address)
    kept = s.temporary(8)
    b.store(count, kept)
    return Bytes(room, b.load("i64", kept, volatile=True), most)


def append_to_item(s: Scope, item: Value, at: Value, dump: Bytes) -> Value:
    """Write bytes as a string argument at offset ``at`` of an item; the offset behind."""
    b = s.b
    where = b.at(item, at)
    size = clamp(s, dump.size, dump.most)
    b.store(size.trunc("i32"), where)
    b.helper(helpers.PROBE_READ_KERNEL, "i64", b.at(where, 4), size, dump.ptr)
    return at + ((clamp(s, size, dump.most) + 11) & -8)


def append_to_builder(s: Scope, dump: Bytes, width: Operand, *, hexadecimal: bool) -> None:
    """Append bytes (or their hexadecimal digits) to the string that is built.

    ``width`` is negative for a left-justified field.
    """
    from pystap.backend.bpf.format import source_room

    b, u = s.b, s.u
    source = source_room(s)
    most = min(dump.most, source.limit - 1)
    size = clamp(s, dump.size, most)
    b.helper(helpers.PROBE_READ_KERNEL, "i64", source.ptr, size, dump.ptr)
    b.store(0, b.at(source.ptr, clamp(s, size, most)), ty="i8")
    emitter = _emit_hexadecimal if hexadecimal else _emit_plain
    name = u.function(
        "format_hex" if hexadecimal else "format_bytes",
        ["index", "count", "width"],
        lambda fb: emitter(u, fb),
    )
    b.call(name, s.header(layout.INDEX), dump.size, width)


def _emit_plain(u: Unit, b: FunctionBuilder) -> None:
    """Append ``count`` bytes of the source area; the string ends at the first NUL."""
    from pystap.backend.bpf.format import source_room

    index, count, width = b.args
    s = runtime_scope(u, b, index)
    builder = Builder(s, u.limits.maxstringlen, fresh=False)
    spaces = b.select(width.slt(0), -width, width) - count
    with b.if_(width.sgt(0)):
        builder.append_run(" ", spaces)
    source = source_room(s)
    start = builder.position()
    builder.append(strings.Text(source.ptr, source.limit, source.size))
    with b.if_((builder.position() - start).ult(count)):
        builder.close()
    with b.if_(width.slt(0)):
        builder.append_run(" ", spaces)
    b.ret(0)


def _emit_hexadecimal(u: Unit, b: FunctionBuilder) -> None:
    """Append the hexadecimal digits of ``count`` bytes of the source area."""
    index, count, width = b.args
    s = runtime_scope(u, b, index)
    builder = Builder(s, u.limits.maxstringlen, fresh=False)
    spaces = b.select(width.slt(0), -width, width) - count * 2
    with b.if_(width.sgt(0)):
        builder.append_run(" ", spaces)
    s.set_header(layout.SCRATCH, count)
    run_loop(s, u.limits.maxstringlen // 2 + 1, _append_digits, "hex")
    with b.if_(width.slt(0)):
        builder.append_run(" ", spaces)
    b.ret(0)


def _append_digits(s: Scope, index: Value) -> None:
    from pystap.backend.bpf.format import source_room

    b = s.b
    s.leave_if(index.uge(s.header(layout.SCRATCH)), "break")
    source = source_room(s)
    byte = b.load("i8", b.at(source.ptr, clamp(s, index, source.limit - 1))).zext("i64")
    digits = b.const("i64", 0)
    for shift, nibble in ((0, byte >> 4), (8, byte & 15)):
        digit = b.select(nibble.ult(10), nibble + ord("0"), nibble + (ord("a") - 10))
        digits = digits | (digit << shift)
    builder = Builder(s, s.u.limits.maxstringlen, fresh=False)
    where = b.barrier(builder.position())
    room = b.const("i64", builder.limit - 1) - where
    # Of the last pair one digit may fit.
    digits = b.select(room.eq(1), digits & 0xFF, digits)
    fitting = b.select(room.ult(2), room, b.const("i64", 2))
    with b.if_(room.eq(0)):
        s.leave("break")
    b.store(digits.trunc("i32"), b.at(builder.area, where), align=1)
    s.set_header(layout.BUILD, where + fitting)
