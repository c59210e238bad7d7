"""Output: items are put together in the context and leave as one ring-buffer record a handler.

The record layout is that of :mod:`pystap.output.formats`.
"""

from __future__ import annotations

from pystap.backend.bpf import emit, helpers, layout, strings
from pystap.backend.bpf.artifact import CONTROL_LOST, LEVEL_NONE, LEVELS
from pystap.backend.bpf.layout import Frame, round_up, string_item_size
from pystap.backend.bpf.scope import Body, NeedsContext, Scope, runtime_scope
from pystap.backend.bpf.strings import Text
from pystap.ir import ops
from pystap.ir.types import Ty
from pystap.output.formats import ITEM_EXIT, RECORD_MORE
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.emit import Waiting
    from pystap.backend.bpf.strings import Bytes
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value

RECORD_HEADER: Final = 8
_LEAST_AREA: Final = 2048
_MOST_IN_PLACE: Final = 512


def area_size(unit: Unit) -> int:
    """Bytes of the output area: room for the largest item, and for several usual ones."""
    return max(_LEAST_AREA, RECORD_HEADER + unit.analysis.largest_item)


def begin_item(s: Scope, most: int) -> Value:
    """Address for an item of up to ``most`` bytes; what is there goes out first if need be."""
    b, u = s.b, s.u
    size = area_size(u)
    last = size - RECORD_HEADER - most
    with b.if_(s.header(layout.OUT).ugt(last)):
        b.call(flush_function(u), s.header(layout.INDEX), RECORD_MORE)
    at = b.barrier(s.header(layout.OUT, volatile=True))
    # A mask, as the area is twice as large as what is used of it: what it yields stays bounded
    # on the stack, where older verifiers forget what a comparison told.
    at = at & ((1 << last.bit_length()) - 1)
    return b.at(b.at(s.area("output", 2 * size), RECORD_HEADER), at)


def end_item(s: Scope, number: int, item: Value, size: Value | int) -> None:
    """Finish the item begun last; ``size`` is its length in bytes."""
    b = s.b
    if isinstance(size, int):
        b.store(number | size << 32, item)
    else:
        b.store((size << 32) | number, item)
    s.set_header(layout.OUT, s.header(layout.OUT) + size)


def append_string(s: Scope, item: Value, at: Value, source: Value, bound: int) -> Value:
    """Write a string of at most ``bound`` bytes with NUL at offset ``at``; the offset behind."""
    b = s.b
    where = b.at(item, at)
    if bound <= strings.SHORT:
        name = s.u.subroutine(
            f"put_short.{bound}",
            [("ptr", "where"), ("ptr", "source")],
            lambda fb: _emit_put_short(s.u, fb, bound),
            hot=True,
        )
        return at + b.call(name, where, source)
    n = b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", b.at(where, 4), bound, source)
    length = n - 1
    length = b.barrier(b.select(length.ugt(bound - 1), 0, length))
    b.store(length.trunc("i32"), where)
    return at + ((length + 11) & -8)


def _emit_put_short(u: Unit, b: FunctionBuilder, bound: int) -> None:
    """Write length and bytes of a short string as words; how many bytes that takes."""
    where, source = b.args
    s = Scope(u, Body(Frame(b.name), False), b, None)
    words = strings.words_of(s, Text(source, bound, round_up(bound)))
    length = b.barrier(strings.short_length(s, words))
    length = b.barrier(b.select(length.ult(bound), length, 0))
    carried = length  # the length takes the low half of the first word
    for i in range(string_item_size(bound) // 8):
        here = words[i] if i < len(words) else b.const("i64", 0)
        b.store(carried | (here << 32), where, 8 * i)
        carried = here >> 32
    b.ret((length + 11) & -8)


@emit.emits_statement(ops.Emit)
def _emit(s: Scope, e: ops.Emit) -> None:
    number = s.u.format(e.format)
    arguments: list[Waiting | Text | Bytes] = []
    most = 8
    held = s.held
    for arg in e.args:
        if strings.dump_size(arg) >= 0:
            from pystap.backend.bpf import dumps

            dump = dumps.read(s, arg)
            most += string_item_size(dump.most)
            arguments.append(dump)
        elif ops.type_of(arg) is Ty.STR:
            text = strings.reference(s, arg)
            most += string_item_size(text.bound)
            arguments.append(text)
        else:
            most += 8
            arguments.append(emit.waiting(s, arg))
    s.held = held
    if s.context is None:
        _emit_in_place(s, number, arguments, most)
        return
    item = begin_item(s, most)
    end = _write_arguments(s, item, arguments)
    end_item(s, number, item, end)


def _write_arguments(
    s: Scope, item: Value, arguments: list[Waiting | Text | Bytes]
) -> Value | int:
    """Write the arguments of an item; its size."""
    at: Value = s.b.const("i64", 8)
    fixed = 8  # offset while no string came yet
    for argument in arguments:
        if isinstance(argument, strings.Bytes):
            from pystap.backend.bpf import dumps

            at = dumps.append_to_item(s, item, at, argument)
            fixed = -1
        elif isinstance(argument, Text):
            at = append_string(s, item, at, argument.ptr, argument.bound)
            fixed = -1
        elif fixed >= 0:
            s.b.store(emit.present(argument), item, fixed)
            fixed += 8
            at = s.b.const("i64", fixed)
        else:
            s.b.store(emit.present(argument), s.b.at(item, at))
            at = at + 8
    return at if fixed < 0 else fixed


def _emit_in_place(
    s: Scope, number: int, arguments: list[Waiting | Text | Bytes], most: int
) -> None:
    """Write the only item of a handler without context straight into the ring buffer.

    What the item does not use of the room for its longest form stays a part of it.
    """
    if most > _MOST_IN_PLACE or s.emitted:
        raise NeedsContext
    s.emitted = True
    b = s.b
    size = RECORD_HEADER + most
    cpu = b.helper(helpers.GET_SMP_PROCESSOR_ID, "i64") & 0xFFFF
    ring = b.map_fd(s.u.output_map())
    wake = _crossing(s, ring, b.const("i64", size))
    record = b.helper(helpers.RINGBUF_RESERVE, "ptr", ring, size, 0)
    with b.if_else(record.eq(0)) as (full, fine):
        with full:
            b.atomic_rmw("add", s.control(CONTROL_LOST), 1, order="monotonic")
        with fine:
            b.store(cpu | LEVEL_NONE << 24, record)
            item = b.at(record, RECORD_HEADER)
            b.store(number | most << 32, item)
            _write_arguments(s, item, arguments)
            flags = b.select(wake, b.const("i64", helpers.RB_FORCE_WAKEUP), helpers.RB_NO_WAKEUP)
            b.helper(helpers.RINGBUF_SUBMIT, "void", record, flags)


def exit_item(s: Scope) -> None:
    """Tell the session that exit() was called."""
    end_item(s, ITEM_EXIT, begin_item(s, 8), 8)
    s.set_header(layout.WAKE, 1)


def flush_function(unit: Unit) -> str:
    """The run-time function that sends the output area: (context index, flags of the header)."""
    return unit.function(
        "output_flush", ["index", "flags"], lambda b: _emit_flush_function(unit, b)
    )


def _emit_flush_function(unit: Unit, b: FunctionBuilder) -> None:
    s = runtime_scope(unit, b, b.args[0])
    _flush(s, b.args[1])
    b.ret(0)


def flush(s: Scope) -> None:
    """Send what is in the output area."""
    if not s.u.analysis.large:
        _flush(s, 0)
        return
    with s.b.if_(s.header(layout.OUT).ne(0)):
        s.b.call(flush_function(s.u), s.header(layout.INDEX), 0)


def _flush(s: Scope, flags: Value | int) -> None:
    b, u = s.b, s.u
    size = area_size(u)
    out = s.area("output", 2 * size)
    with b.if_(s.header(layout.OUT).ne(0)):
        # Checked in a register of its own, or the verifier does not see what the check means.
        length = b.barrier(s.header(layout.OUT, volatile=True))
        with b.if_(length.ule(size - RECORD_HEADER)):
            _send(s, out, b.barrier(length) + RECORD_HEADER, flags)
        s.set_header(layout.OUT, 0)


def _send(s: Scope, out: Value, length: Value, flags: Value | int) -> None:
    """Put the record's header in front and give the record to the ring buffer."""
    b = s.b
    cpu = b.helper(helpers.GET_SMP_PROCESSOR_ID, "i64") & 0xFFFF
    level = s.header(layout.INDEX) - cpu * LEVELS
    b.store(cpu | (level << 24) | flags, out)
    ring = b.map_fd(s.u.output_map())
    wake = _wake_flags(s, ring, length)
    failed = b.helper(helpers.RINGBUF_OUTPUT, "i64", ring, out, length, wake)
    s.set_header(layout.WAKE, 0)
    with b.if_(failed.ne(0)):
        b.atomic_rmw("add", s.control(CONTROL_LOST), 1, order="monotonic")


def _wake_flags(s: Scope, ring: Value, length: Value) -> Value:
    """Wake the session when asked to, and when the buffer gets a quarter full."""
    b = s.b
    wake = b.either(_crossing(s, ring, length), s.header(layout.WAKE).ne(0))
    return b.select(wake, b.const("i64", helpers.RB_FORCE_WAKEUP), helpers.RB_NO_WAKEUP)


def _crossing(s: Scope, ring: Value, length: Value) -> Value:
    """``i1``: with ``length`` bytes more the buffer is a quarter full, and was not before."""
    b = s.b
    waiting = b.helper(helpers.RINGBUF_QUERY, "i64", ring, helpers.RB_AVAIL_DATA)
    quarter = b.helper(helpers.RINGBUF_QUERY, "i64", ring, helpers.RB_RING_SIZE) >> 2
    return b.both(waiting.ult(quarter), (waiting + length).uge(quarter))
