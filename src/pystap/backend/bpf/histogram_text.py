"""Histograms as strings: the table of :mod:`pystap.output.histogram`, made in the handler."""

from __future__ import annotations

import struct
from functools import partial

from pystap.backend.bpf import emit, layout, stats
from pystap.backend.bpf.bounds import clamp
from pystap.backend.bpf.format import append_number
from pystap.backend.bpf.histograms import buckets
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.quoting import append_literal
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.strings import Builder, Room, fill_zero
from pystap.ir import ops
from pystap.output.histogram import LOG_BUCKETS, LOG_ZERO, log_value
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value
    from pystap.ir.types import Global

_SIGNED: Final = 10 | 1 << 8  # style of pystap.backend.bpf.format: decimal
_MARGIN: Final = 2  # empty rows shown on both sides of the data
_LEAST_WIDTH: Final = 5  # of the column of values
_NEVER: Final = -(1 << 62)
_ROUNDS_MORE: Final = 8

# Words of the area with the state.
_LOW, _HIGH, _MOST, _SCALE = 0, 8, 16, 24
_VALUE_WIDTH, _COUNT_END = 32, 40
_ROW, _BEFORE, _AHEAD = 48, 56, 64  # the row, the last filled one up to it, the next from it on
_SKIPPING: Final = 72
_STATE_BYTES: Final = 80


class _Shape:
    """What is known of a histogram: size, parameters, where its merged counts are."""

    def __init__(self, kind: str, var: Global, count: int) -> None:
        assert var.stats is not None
        self.log = kind == "log"
        self.words = stats.Words(var.stats, {f"hist_{kind}"})
        self.count = count
        self.last = count - 1
        self.start, self.stop, self.step = var.stats.linear or (0, 0, 1)

    def count_of(self, s: Scope, row: Value) -> Value:
        """The count of a row."""
        merged = s.area(stats.MERGED_AREA, self.words.size)
        counts = s.b.at(merged, self.words.log if self.log else self.words.linear)
        return s.b.load("i64", s.b.at(counts, 0, clamp(s, row, self.last), scale=8))


@emit.emits_string(ops.SprintHist)
def _sprint(s: Scope, e: ops.SprintHist, room: Room) -> None:
    u = s.u
    _, count = buckets(s, e.kind, e.var, e.keys, e.pos)
    shape = _Shape(e.kind, e.var, count)
    builder = Builder(s, u.limits.maxstringlen)
    name = u.function(
        f"histogram.{e.var.index}.{e.kind}", ["index"], lambda b: _emit_table(u, b, shape)
    )
    s.b.call(name, s.header(layout.INDEX))
    if e.newline:
        append_literal(s, "\n")
    if room.pad:
        fill_zero(s, room.ptr, room.size)
    builder.finish(room)


def _state(s: Scope, word: int) -> Value:
    return s.b.at(s.area("histogram", _STATE_BYTES), word)


def _get(s: Scope, word: int) -> Value:
    return s.b.load("i64", _state(s, word))


def _set(s: Scope, word: int, value: Value | int) -> None:
    s.b.store(value, _state(s, word))


def _emit_table(u: Unit, b: FunctionBuilder, shape: _Shape) -> None:
    s = runtime_scope(u, b, b.args[0])
    width = u.limits.hist_width
    _set(s, _LOW, -1)
    _set(s, _HIGH, 0)
    _set(s, _MOST, 0)
    run_loop(s, shape.count, partial(_scan, shape), "scan")
    _layout_log(s) if shape.log else _layout_linear(s, shape)
    most = _get(s, _MOST)
    _set(s, _SCALE, b.select(most.ule(width), b.const("i64", 1), (most + (width - 1)) // width))
    _set(s, _COUNT_END, _digits(s, most) + (width + 1))
    Builder(s, u.limits.maxstringlen, fresh=False).append_run(" ", _get(s, _VALUE_WIDTH) - 5)
    append_literal(s, "value |" + "-" * width + " count\n")
    _set(s, _ROW, _get(s, _LOW))
    _set(s, _AHEAD, _get(s, _LOW))
    _set(s, _BEFORE, _NEVER)
    _set(s, _SKIPPING, 0)
    # A round shows a row or looks one further ahead.
    run_loop(s, 2 * shape.count + _ROUNDS_MORE, partial(_round, shape), "rows")
    append_literal(s, "\n")
    b.ret(0)


def _scan(shape: _Shape, s: Scope, index: Value) -> None:
    """Find the range of the data and the greatest count."""
    b = s.b
    count = shape.count_of(s, index)
    with b.if_(count.ne(0)):
        low, most = _get(s, _LOW), _get(s, _MOST)
        _set(s, _LOW, b.select(low.slt(0), index, low))
        _set(s, _HIGH, index)
        _set(s, _MOST, b.select(count.ugt(most), count, most))


def _layout_log(s: Scope) -> None:
    """Rows to be shown, and the width of the widest value."""
    b = s.b
    low, high = _get(s, _LOW), _get(s, _HIGH)
    for _ in range(_MARGIN):
        low = b.select(b.both(low.sgt(0), low.ne(LOG_ZERO)), low - 1, low)
    high = high + _MARGIN
    high = b.select(high.ugt(LOG_BUCKETS - 1), b.const("i64", LOG_BUCKETS - 1), high)
    lengths = b.data(bytes(len(str(log_value(row))) for row in range(LOG_BUCKETS)))
    widths = [
        b.load("i8", b.at(lengths, clamp(s, row, LOG_BUCKETS - 1))).zext("i64")
        for row in (low, high)
    ]
    _set(s, _LOW, low)
    _set(s, _HIGH, high)
    _set(s, _VALUE_WIDTH, _greatest(s, *widths, b.const("i64", _LEAST_WIDTH)))


def _layout_linear(s: Scope, shape: _Shape) -> None:
    b = s.b
    low, high = _get(s, _LOW), _get(s, _HIGH)
    below, above = low.eq(0), high.eq(shape.last)
    low = b.select(below, low, _greatest(s, low - _MARGIN, b.const("i64", 1)))
    most = b.const("i64", shape.last - 1)
    wide = high + _MARGIN
    high = b.select(above, high, b.select(wide.slt(most), wide, most))
    first = below.zext("i64") + len(str(shape.start))
    last = _signed_digits(s, high * shape.step + shape.start) + above.zext("i64")
    _set(s, _LOW, low)
    _set(s, _HIGH, high)
    _set(s, _VALUE_WIDTH, _greatest(s, first, last, b.const("i64", _LEAST_WIDTH)))


def _greatest(s: Scope, first: Value, *others: Value) -> Value:
    for other in others:
        first = s.b.select(first.sgt(other), first, other)
    return first


def _digits(s: Scope, value: Value) -> Value:
    """Decimal digits of a number that is not negative, without a branch for each."""
    count = s.b.const("i64", 1)
    for power in range(1, 19):
        count = count + s.b.barrier((s.b.const("i64", 10**power - 1) - value) >> 63)
    return count


def _signed_digits(s: Scope, value: Value) -> Value:
    negative = value >> 63
    return _digits(s, s.b.select(value.slt(0), -value, value)) + negative


def _round(shape: _Shape, s: Scope, _: Value) -> None:
    b = s.b
    row, high, ahead = _get(s, _ROW), _get(s, _HIGH), _get(s, _AHEAD)
    s.leave_if(row.sgt(high), "break")
    ahead = b.select(ahead.slt(row), row, ahead)
    empty = shape.count_of(s, ahead).eq(0)
    with b.if_(b.both(empty, ahead.slt(high))):
        _set(s, _AHEAD, ahead + 1)
        s.leave("continue")
    _set(s, _AHEAD, ahead)
    _set(s, _ROW, row + 1)
    count = shape.count_of(s, row)
    before = b.select(count.ne(0), row, _get(s, _BEFORE))
    _set(s, _BEFORE, before)
    elision = s.u.limits.hist_elision
    if elision >= 0:
        far = b.both((row - before).sgt(elision), b.either(empty, (ahead - row).sgt(elision)))
        with b.if_(far):
            _skip(s)
            s.leave("continue")
    _set(s, _SKIPPING, 0)
    _append_row(s, shape, row, count)
    s.leave_if(s.header(layout.BUILD).uge(s.u.limits.maxstringlen - 1), "break")


def _skip(s: Scope) -> None:
    """Show that rows are left out, once."""
    with s.b.if_(_get(s, _SKIPPING).eq(0)):
        _set(s, _SKIPPING, 1)
        Builder(s, s.u.limits.maxstringlen, fresh=False).append_run(" ", _get(s, _VALUE_WIDTH))
        append_literal(s, " ~\n")


def _append_row(s: Scope, shape: _Shape, row: Value, count: Value) -> None:
    b = s.b
    _append_log_label(s, row) if shape.log else _append_linear_label(s, shape, row)
    append_literal(s, " |")
    scale = _get(s, _SCALE)
    bar = count // b.select(scale.eq(0), b.const("i64", 1), scale)
    Builder(s, s.u.limits.maxstringlen, fresh=False).append_run("@", bar)
    room = _get(s, _COUNT_END) - bar
    append_number(s, count, _SIGNED, b.select(room.slt(0), 0, room))
    append_literal(s, "\n")


def _append_log_label(s: Scope, row: Value) -> None:
    b = s.b
    labels = b.data(struct.pack(f"<{LOG_BUCKETS}q", *map(log_value, range(LOG_BUCKETS))))
    value = b.load("i64", b.at(labels, 0, clamp(s, row, LOG_BUCKETS - 1), scale=8))
    append_number(s, value, _SIGNED, _get(s, _VALUE_WIDTH))


def _append_linear_label(s: Scope, shape: _Shape, row: Value) -> None:
    b = s.b
    width = _get(s, _VALUE_WIDTH)
    edges = (
        (0, f"<{shape.start}"),
        (shape.last, f">{shape.start + (shape.last - 2) * shape.step}"),
    )
    done = b.new_label("d")
    for edge, label in edges:
        with b.if_(row.eq(edge)):
            Builder(s, s.u.limits.maxstringlen, fresh=False).append_run(" ", width - len(label))
            append_literal(s, label)
            b.terminate(f"br label %{done}")
    append_number(s, (row - 1) * shape.step + shape.start, _SIGNED, width)
    b.jump(done)
    b.place(done)
