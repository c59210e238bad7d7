"""The native consumer's directives with flags, width or precision, and the rarer conversions."""

from __future__ import annotations

from pystap.backend.llvm.builder import FunctionBuilder, Module, Value
from pystap.output import native_abi as abi
from pystap.output.formats import MAX_FIELD
from pystap.output.native_text import SLACK, copy_text, count_bit_digits, digit_table
from pystap.typing import Final

_SPACE, _ZERO = ord(" "), ord("0")
_ROOM: Final = 64 + SLACK  # on top of width and precision
_OCTAL, _POINTER, _UPPER_HEX = ord("o"), ord("p"), ord("X")


def define_fields(m: Module) -> None:
    """Define ``field`` and what it needs."""
    _define_number(m)
    _define_text(m)
    _define_binary(m)
    _define_field(m)


def _define_field(m: Module) -> None:
    """field(o, room, op, width, precision, at, end) -> end of output, or null.

    ``width`` and ``precision`` are as given, not yet cut; the argument is at ``at``.
    """
    params = [
        ("ptr", "o"),
        ("i64", "room"),
        ("ptr", "op"),
        ("i64", "width"),
        ("i64", "precision"),
        ("ptr", "at"),
        ("ptr", "end"),
    ]
    with m.function("field", "ptr", params, linkage="internal", attrs=["noinline"]) as b:
        o, room, op, given, precision, at, end = b.args
        flags = b.load("i8", op, abi.OP_FLAGS)
        left = (flags & abi.FLAG_LEFT).ne(0) | given.slt(0)
        width = _at_most(b, b.select(given.slt(0), -given, given), MAX_FIELD)
        with b.if_(room.slt(width + (_ROOM + MAX_FIELD))):
            b.ret(b.null())
        leftward = left.zext("i64")
        with b.switch(b.load("i8", op, abi.OP_KIND)) as sw:
            with sw.case(abi.KIND_NUMBER):
                value = b.load("i64", at)
                b.ret(b.call("number", o, op, value, width, precision, leftward))
            with sw.case(abi.KIND_TEXT):
                args = (o, room, op, width, precision, leftward, at, end)
                b.ret(b.call("text", *args))
            with sw.case(abi.KIND_BINARY):
                b.ret(b.call("binary", o, b.load("i64", at), width, precision, leftward))
            with sw.case(abi.KIND_PADDED_CHARACTER):
                pad = _positive(b, width - 1)
                begin = _pad_left(b, o, pad, leftward)
                b.store(b.load("i8", at), begin)
                b.ret(_pad_right(b, begin + 1, pad, leftward))
        b.ret(b.null())


def _at_most(b: FunctionBuilder, value: Value, limit: int) -> Value:
    return b.select(value.ugt(limit), b.const("i64", limit), value)


def _positive(b: FunctionBuilder, value: Value) -> Value:
    """The value, or 0 when it is negative."""
    return b.select(value.slt(0), b.const("i64", 0), value)


def _larger(b: FunctionBuilder, one: Value, other: Value) -> Value:
    return b.select(one.sgt(other), one, other)


def _pad_left(b: FunctionBuilder, o: Value, pad: Value, left: Value) -> Value:
    """Spaces in front of a right-justified field."""
    return b.call("fill", o, _SPACE, b.select(left.eq(0), pad, 0))


def _pad_right(b: FunctionBuilder, o: Value, pad: Value, left: Value) -> Value:
    """Spaces behind a left-justified field."""
    return b.call("fill", o, _SPACE, b.select(left.eq(0), b.const("i64", 0), pad))


def _define_number(m: Module) -> None:
    """number(o, op, value, width, precision, left) -> end: d u o x X p."""
    params = [
        ("ptr", "o"),
        ("ptr", "op"),
        ("i64", "value"),
        ("i64", "width"),
        ("i64", "precision"),
        ("i64", "left"),
    ]
    with m.function("number", "ptr", params, linkage="internal") as b:
        start, op, value, width, precision, left = b.args
        flags, conversion = b.load("i8", op, abi.OP_FLAGS), b.load("i8", op, abi.OP_CONVERSION)
        prefix, prefix_size = b.var("i16", 0), b.var("i64", 0)
        magnitude, digits = b.var("i64", value), b.var("i64")
        alternate = (flags & abi.FLAG_ALTERNATE).ne(0)
        with b.switch(conversion) as sw:
            with sw.case(ord("d")):
                sign = _sign(b, flags, value)
                prefix.set(sign)
                prefix_size.set(sign.ne(0).zext("i64"))
                magnitude.set(b.select(value.slt(0), -value, value))
                digits.set(b.call("count_digits", magnitude.get()))
            with sw.case(ord("u")):
                digits.set(b.call("count_digits", value))
            with sw.case(_OCTAL):
                prefix.set(_ZERO)
                prefix_size.set(alternate.zext("i64"))
                digits.set(count_bit_digits(b, value, 3))
            with sw.default():
                x = b.select(conversion.eq(_UPPER_HEX), b.const("i16", ord("X")), ord("x"))
                prefix.set((x << 8) | _ZERO)
                prefix_size.set((alternate | conversion.eq(_POINTER)).zext("i64") << 1)
                digits.set(count_bit_digits(b, value, 4))
        wanted = b.var("i64", _larger(b, digits.get(), _digits_of_precision(b, precision)))
        fill_zero = (flags & abi.FLAG_ZERO).ne(0) & left.eq(0)
        with b.if_(fill_zero):
            wanted.set(_larger(b, wanted.get(), width - prefix_size.get()))
        pad = _positive(b, width - prefix_size.get() - wanted.get())
        o = _pad_left(b, start, pad, left)
        b.store(prefix.get(), o, align=1)
        o = b.at(o, prefix_size.get())
        o = b.call("fill", o, _ZERO, wanted.get() - digits.get())
        end = b.at(o, digits.get())
        _put_digits(b, conversion, end, magnitude.get())
        b.ret(_pad_right(b, end, pad, left))


def _sign(b: FunctionBuilder, flags: Value, value: Value) -> Value:
    """The sign character of %d as ``i16``, or 0."""
    plus = b.select((flags & abi.FLAG_PLUS).ne(0), b.const("i16", ord("+")), 0)
    space = b.select((flags & abi.FLAG_SPACE).ne(0), b.const("i16", _SPACE), plus)
    return b.select(value.slt(0), b.const("i16", ord("-")), space)


def _digits_of_precision(b: FunctionBuilder, precision: Value) -> Value:
    """Least number of digits; a negative precision is none."""
    return _positive(b, b.select(precision.sgt(MAX_FIELD), b.const("i64", MAX_FIELD), precision))


def _put_digits(b: FunctionBuilder, conversion: Value, end: Value, magnitude: Value) -> None:
    with b.switch(conversion) as sw:
        with sw.case(ord("d"), ord("u")):
            b.call("put_decimal", end, magnitude)
        with sw.default():
            bits = b.select(conversion.eq(_OCTAL), b.const("i64", 3), 4)
            upper = conversion.eq(_UPPER_HEX)
            b.call("put_bits", end, magnitude, bits, digit_table(b, upper))


def _define_text(m: Module) -> None:
    """text(o, room, op, width, precision, left, at, end) -> end of output, or null: s m M."""
    params = [
        ("ptr", "o"),
        ("i64", "room"),
        ("ptr", "op"),
        ("i64", "width"),
        ("i64", "precision"),
        ("i64", "left"),
        ("ptr", "at"),
        ("ptr", "end"),
    ]
    with m.function("text", "ptr", params, linkage="internal") as b:
        o, room, op, width, precision, left, at, end = b.args
        size = b.load("i32", at).zext("i64")
        with b.if_(size.ugt(end.to_int() - at.to_int() - 4)):
            b.ret(b.null())
        # An absent precision is -1, as unsigned number larger than any string.
        used = b.select(precision.sge(0) & precision.ult(size), precision, size)
        hexadecimal = b.load("i8", op, abi.OP_CONVERSION).eq(ord("M"))
        length = b.select(hexadecimal, used << 1, used)
        with b.if_(room.slt(width + length + _ROOM)):
            b.ret(b.null())
        pad = _positive(b, width - length)
        begin = _pad_left(b, o, pad, left)
        with b.if_else(hexadecimal) as (as_hex, plain):
            with as_hex:
                _copy_hex(b, begin, at + 4, used)
            with plain:
                copy_text(b, begin, at, used)
        b.ret(_pad_right(b, b.at(begin, length), pad, left))


def _copy_hex(b: FunctionBuilder, o: Value, source: Value, size: Value) -> None:
    """Two lower-case digits for every byte."""
    table = digit_table(b, b.const("i1", 0))
    with b.for_range(0, size) as i:
        byte = b.load("i8", b.at(source, i)).zext("i64")
        pair = b.at(o, i << 1)
        b.store(b.load("i8", b.at(table, byte >> 4)), pair)
        b.store(b.load("i8", b.at(table, byte & 15)), pair, 1)


def _define_binary(m: Module) -> None:
    """binary(o, value, width, precision, left) -> end: 1, 2, 4 or 8 bytes."""
    params = [
        ("ptr", "o"),
        ("i64", "value"),
        ("i64", "width"),
        ("i64", "precision"),
        ("i64", "left"),
    ]
    with m.function("binary", "ptr", params, linkage="internal") as b:
        o, value, width, precision, left = b.args
        default = b.select(width.eq(0), b.const("i64", 8), width)
        wanted = b.select(precision.sge(0), precision, default)
        size = b.select(wanted.ule(4), b.const("i64", 4), 8)
        size = b.select(wanted.eq(2), b.const("i64", 2), size)
        size = b.select(wanted.ule(1), b.const("i64", 1), size)
        pad = _positive(b, width - size)
        with b.if_(left.ne(0)):
            b.store(value, o, align=1)
            b.ret(b.call("fill", b.at(o, size), 0, pad))
        begin = b.call("fill", o, 0, pad)
        b.store(value, begin, align=1)
        b.ret(b.at(begin, size))
