"""Building blocks of the native consumer: numbers to digits, copies and fills.

Copies and fills work on 8 bytes at a time and may write up to :data:`SLACK` bytes behind their
end; the output buffer has that much to spare.
"""

from __future__ import annotations

from pystap.backend.llvm.builder import FunctionBuilder, Module, Value, Var

SLACK = 64
_PAIRS = b"".join(b"%02d" % n for n in range(100))
_POWERS = b"".join((10**n).to_bytes(8, "little") for n in range(20))
_LOWER, _UPPER = b"0123456789abcdef", b"0123456789ABCDEF"


def define_text(m: Module) -> None:
    """Define the functions of this file in a module."""
    _define_count_digits(m)
    _define_put_decimal(m)
    _define_put_bits(m)
    _define_plain(m)
    _define_copy_long(m)
    _define_fill(m)


def bit_length(b: FunctionBuilder, value: Value) -> Value:
    """Number of significant bits of an ``i64``."""
    m = b.m
    m.intrinsic("llvm.ctlz.i64", "declare i64 @llvm.ctlz.i64(i64, i1)")
    zeros = b.emit("i64", f"call i64 @llvm.ctlz.i64(i64 {value.text}, i1 false)")
    return b.const("i64", 64) - zeros


def _define_count_digits(m: Module) -> None:
    """count_digits(u) -> how many decimal digits; 1 for 0."""
    with m.function(
        "count_digits", "i64", [("i64", "u")], linkage="internal", attrs=["alwaysinline"]
    ) as b:
        u = b.args[0] | 1
        guess = bit_length(b, u) * 1233 >> 12  # bits * log10(2), at most one too low
        power = b.load("i64", b.at(b.data(_POWERS), 0, guess, scale=8))
        b.ret(guess + b.args[0].uge(power).zext("i64") + _is_zero_guess(guess, b.args[0]))


def _is_zero_guess(guess: Value, u: Value) -> Value:
    """1 for the number 0, which is below every power of ten but has a digit."""
    return (guess.eq(0) & u.eq(0)).zext("i64")


def _define_put_decimal(m: Module) -> None:
    """put_decimal(end, u): the digits of ``u`` so that they end at ``end``."""
    params = [("ptr", "end"), ("i64", "u")]
    with m.function("put_decimal", "void", params, linkage="internal") as b:
        end, rest = b.var("ptr", b.args[0]), b.var("i64", b.args[1])
        pairs = b.data(_PAIRS)

        def pair(number: Value) -> None:
            end.add(-2)
            b.store(b.load("i16", b.at(pairs, 0, number, scale=2)), end.get(), align=1)

        with b.while_(lambda: rest.get().uge(100)):
            quotient = rest.get() // 100
            pair(rest.get() - quotient * 100)
            rest.set(quotient)
        with b.if_else(rest.get().uge(10)) as (two, one):
            with two:
                pair(rest.get())
            with one:
                b.store((rest.get() + ord("0")).trunc("i8"), end.get() + -1)


def _define_put_bits(m: Module) -> None:
    """put_bits(end, u, bits, digits): digits of 3 or 4 bits so that they end at ``end``."""
    params = [("ptr", "end"), ("i64", "u"), ("i64", "bits"), ("ptr", "digits")]
    with m.function("put_bits", "void", params, linkage="internal") as b:
        end, rest = b.var("ptr", b.args[0]), b.var("i64", b.args[1])
        mask = (b.const("i64", 1) << b.args[2]) - 1
        with b.loop():
            end.add(-1)
            b.store(b.load("i8", b.at(b.args[3], rest.get() & mask)), end.get())
            rest.set(rest.get() >> b.args[2])
            with b.if_(rest.get().eq(0)):
                b.break_()
        b.ret()


def digit_table(b: FunctionBuilder, upper: Value) -> Value:
    """Address of the hexadecimal digits in upper or lower case."""
    return b.select(upper, b.data(_UPPER), b.data(_LOWER))


def count_bit_digits(b: FunctionBuilder, value: Value, bits: int) -> Value:
    """How many digits of ``bits`` bits a number has; 1 for 0."""
    return (bit_length(b, value | 1) + (bits - 1)) // bits


def _define_plain(m: Module) -> None:
    """signed(o, v), unsigned(o, u), hex(o, u, upper): plain numbers; give the end."""
    params = [("ptr", "o"), ("i64", "u")]
    with m.function("unsigned", "ptr", params, linkage="internal") as b:
        end = b.at(b.args[0], b.call("count_digits", b.args[1]))
        b.call("put_decimal", end, b.args[1])
        b.ret(end)
    with m.function("signed", "ptr", params, linkage="internal", attrs=["alwaysinline"]) as b:
        o, value = b.args
        negative = value.slt(0)
        b.store(ord("-"), o, ty="i8")
        start = b.at(o, negative.zext("i64"))
        b.ret(b.call("unsigned", start, b.select(negative, -value, value)))
    params.append(("i64", "upper"))
    with m.function("hex", "ptr", params, linkage="internal", attrs=["alwaysinline"]) as b:
        o, value, upper = b.args
        end = b.at(o, count_bit_digits(b, value, 4))
        b.call("put_bits", end, value, 4, digit_table(b, upper.ne(0)))
        b.ret(end)


def _define_copy_long(m: Module) -> None:
    """copy_long(o, source, size) -> end; reads the source in whole words."""
    params = [("ptr", "o"), ("ptr", "source"), ("i64", "size")]
    with m.function("copy_long", "ptr", params, linkage="internal") as b:
        o, source, size = b.args
        with b.for_range(0, size, 8) as i:
            b.store(b.load("i64", b.at(source, i)), b.at(o, i), align=1)
        b.ret(b.at(o, size))


def _define_fill(m: Module) -> None:
    """fill(o, byte, size) -> end."""
    params = [("ptr", "o"), ("i64", "byte"), ("i64", "size")]
    with m.function("fill", "ptr", params, linkage="internal") as b:
        o, byte, size = b.args
        pattern = byte * 0x0101010101010101
        with b.for_range(0, size, 8) as i:
            b.store(pattern, b.at(o, i), align=1)
        b.ret(b.at(o, size))


def copy_text(b: FunctionBuilder, o: Value, at: Value, size: Value) -> None:
    """Copy a record's string (``at`` is its length word) in the aligned words it is made of."""
    b.store(b.load("i32", at, 4), o, align=1)
    done: Var = b.var("i64", 4)
    with b.while_(lambda: done.get().ult(size)):
        b.store(b.load("i64", b.at(at, done.get() + 4)), b.at(o, done.get()), align=1)
        done.add(8)
