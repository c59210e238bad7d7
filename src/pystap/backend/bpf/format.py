"""``sprintf`` and its kin: strings put together in the handler.

Every directive appends to the builder area (see :mod:`strings`).  Results are those of
:mod:`pystap.output.render`, cut to what a string can hold.
"""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.bpf import emit, helpers, layout, strings
from pystap.backend.bpf.escapes import ESCAPE_CHARACTER, ESCAPE_STRING, escape_function
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.strings import Builder, Bytes, Room, Text
from pystap.ir import ops
from pystap.ir.types import Ty
from pystap.output.formats import STAR, Directive
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value

SOURCE_AREA: Final = "source"  # a string that a run-time function works on
_DIGITS_AREA: Final = "digits"
_CHARACTER: Final = -2  # in place of a precision: the field is one character, maybe NUL
_MOST_DIGITS: Final = 24  # of a long in octal: 22
_ON_STACK: Final = 4  # so many arguments are not worth the memory

# How a number is written: the base, and these bits.
_SIGNED, _UPPER, _PLUS, _BLANK, _ZERO, _LEFT = (1 << bit for bit in range(8, 14))
_PREFIX_OCTAL, _PREFIX_HEX = 1 << 14, 1 << 15
_BASES: Final = {"d": 10 | _SIGNED, "u": 10, "o": 8, "x": 16, "X": 16 | _UPPER}
_FLAGS: Final = {"-": _LEFT, "+": _PLUS, " ": _BLANK, "0": _ZERO}


@emit.emits_string(ops.Sprint)
def _sprint(s: Scope, e: ops.Sprint, room: Room) -> None:
    arguments = [_argument(s, arg, len(e.args)) for arg in e.args]
    builder = Builder(s, s.u.limits.maxstringlen)
    rest = (argument() for argument in arguments)
    for directive in e.format.directives:
        if not directive.conv:
            builder.append(strings.literal(s, directive.text))
            continue
        width = next(rest) if directive.width == STAR else directive.width or 0
        precision = next(rest) if directive.precision == STAR else directive.precision
        if precision is None:
            precision = -1
        value = next(rest)
        assert not isinstance(width, Text | Bytes)
        assert not isinstance(precision, Text | Bytes)
        if isinstance(value, Bytes):
            from pystap.backend.bpf.dumps import append_to_builder

            width = _signed_width(s, directive, width)
            append_to_builder(s, value, width, hexadecimal=directive.conv == "M")
        elif isinstance(value, Text):
            _append_text(s, builder, directive, value, width, precision)
        else:
            _append_long(s, directive, value, width, precision)
    if room.pad:
        strings.fill_zero(s, room.ptr, room.size)
    builder.finish(room)


def _argument(s: Scope, arg: ops.Expr, count: int) -> Callable[[], Value | Text | Bytes]:
    """Emit an argument; what gives its value when it is formatted.

    Of many arguments the longs are kept in the frame: the stack has no room for them.
    """
    if strings.dump_size(arg) >= 0:
        from pystap.backend.bpf.dumps import read

        dump = read(s, arg)
        return lambda: dump
    if ops.type_of(arg) is Ty.STR:
        text = strings.reference(s, arg)
        return lambda: text
    value = emit.long(s, arg)
    if count <= _ON_STACK or s.context is None:
        return lambda: value
    kept = s.temporary(8)
    s.b.store(value, kept)
    return lambda: s.b.load("i64", kept)


def _append_text(
    s: Scope, builder: Builder, d: Directive, text: Text, width: Operand, precision: Operand
) -> None:
    if width == 0 and precision == -1 and d.flag != "#":
        builder.append(text)
        return
    u = s.u
    strings.copy(s, text, source_room(s))
    if d.conv == "s" and d.flag == "#":
        _append_escaped(s, width, precision, ESCAPE_STRING)
        return
    name = u.function("format_text", ["index", "width", "precision"], lambda b: _emit_text(u, b))
    s.b.call(name, s.header(layout.INDEX), _signed_width(s, d, width), precision)


def _append_long(s: Scope, d: Directive, value: Value, width: Operand, precision: Operand) -> None:
    u, b = s.u, s.b
    if d.conv == "c":
        b.store(value & 0xFF, source_room(s).ptr)
        if d.flag == "#":
            _append_escaped(s, width, -1, ESCAPE_CHARACTER)
            return
        name = u.function(
            "format_text", ["index", "width", "precision"], lambda fb: _emit_text(u, fb)
        )
        b.call(name, s.header(layout.INDEX), _signed_width(s, d, width), _CHARACTER)
        return
    if d.conv == "b":
        name = u.function(
            "format_binary",
            ["index", "value", "width", "precision"],
            lambda fb: _emit_binary(u, fb),
        )
        b.call(name, s.header(layout.INDEX), value, _signed_width(s, d, width), precision)
        return
    append_number(s, value, number_style(d), width, precision)


def number_style(d: Directive) -> int:
    """How a directive writes its number."""
    style = _BASES["x" if d.conv == "p" else d.conv] | _FLAGS.get(d.flag, 0)
    if d.conv == "p" or (d.flag == "#" and d.conv in "xX"):
        style |= _PREFIX_HEX
    elif d.flag == "#" and d.conv == "o":
        style |= _PREFIX_OCTAL
    return style


def append_number(
    s: Scope, value: Value, style: int, width: Operand = 0, precision: Operand = -1
) -> None:
    """Append a number to the builder area."""
    u = s.u
    name = u.function(
        "format_number",
        ["index", "value", "style", "width", "precision"],
        lambda b: _emit_number(u, b),
    )
    s.b.call(name, s.header(layout.INDEX), value, style, width, precision)


def source_room(s: Scope) -> Room:
    """The area for a string that a run-time function works on."""
    size = s.u.max_string
    return Room(s.area(SOURCE_AREA, size + 8), size, s.u.limits.maxstringlen)


def _signed_width(s: Scope, d: Directive, width: Operand) -> Operand:
    """Width, negative when the field is left-justified."""
    if d.flag != "-":
        return width
    if isinstance(width, int):
        return -width
    return s.b.select(width.slt(0), width, -width)


def _append_escaped(s: Scope, width: Operand, precision: Operand, mode: int) -> None:
    """Append the source area escaped.  The field is made behind the text built so far."""
    u = s.u
    name = u.function(
        "format_escaped",
        ["index", "width", "precision", "mode"],
        lambda b: _emit_escaped(u, b),
    )
    s.b.call(name, s.header(layout.INDEX), width, precision, mode)


# ---- run-time functions


def _runtime(u: Unit, b: FunctionBuilder) -> tuple[Scope, Builder]:
    s = runtime_scope(u, b, b.args[0])
    return s, Builder(s, u.limits.maxstringlen, fresh=False)


def _emit_number(u: Unit, b: FunctionBuilder) -> None:
    s, builder = _runtime(u, b)
    _, value, style, width, precision = b.args
    left = s.forget(b.either((style & _LEFT).ne(0), width.slt(0)).zext("i64")).ne(0)
    width = s.forget(b.select(width.slt(0), -width, width))
    negative = b.both((style & _SIGNED).ne(0), value.slt(0))
    sign = b.var("i64", 0)
    for bit, char in ((_PLUS, "+"), (_BLANK, " ")):
        with b.if_(b.both((style & bit).ne(0), (style & _SIGNED).ne(0))):
            sign.set(ord(char))
    with b.if_(negative):
        sign.set(ord("-"))
    with b.if_((style & _PREFIX_OCTAL).ne(0)):
        sign.set(ord("0"))
    with b.if_((style & _PREFIX_HEX).ne(0)):
        sign.set(
            b.select((style & _UPPER).ne(0), ord("0") | ord("X") << 8, ord("0") | ord("x") << 8)
        )
    prefix = source_room(s).ptr
    b.store(sign.get(), prefix)
    prefix_size = b.select(
        sign.get().eq(0), 0, b.select(sign.get().ugt(255), b.const("i64", 2), 1)
    )
    prefix_size = s.forget(prefix_size)
    magnitude = s.forget(b.select(negative, -value, value))
    digits, count = _digits(s, magnitude, style)
    zeros = b.var("i64", precision - count)
    with b.if_(b.both((style & _ZERO).ne(0), left ^ 1)):
        filled = width - prefix_size - count
        zeros.set(b.select(filled.sgt(zeros.get()), filled, zeros.get()))
    missing = s.forget(b.select(zeros.get().slt(0), 0, zeros.get()))
    spaces = width - prefix_size - count - missing
    builder.append_run(" ", s.forget(b.select(left, 0, spaces)))
    builder.append(Text(prefix, 3, 8))
    builder.append_run("0", missing)
    builder.append(Text(digits, _MOST_DIGITS, _MOST_DIGITS))
    builder.append_run(" ", s.forget(b.select(left, spaces, 0)))
    b.ret(0)


def _digits(s: Scope, value: Value, style: Value) -> tuple[Value, Value]:
    """Write a number's digits to the end of the digits area: where they begin, how many."""
    b = s.b
    area = s.area(_DIGITS_AREA, 2 * _MOST_DIGITS)
    base = style & 0xFF
    base = b.select(base.eq(0), b.const("i64", 10), base)
    letters = b.select((style & _UPPER).ne(0), b.const("i64", ord("A") - 10), ord("a") - 10)
    letters = s.forget(letters)
    rest = b.var("i64", value)
    b.store(0, area, _MOST_DIGITS - 1, ty="i8")
    # The count lives in memory: the verifier must not go on separately for each.
    s.set_header(layout.SCRATCH, 0)
    with b.for_range(0, _MOST_DIGITS - 2) as i:
        now = rest.get()
        digit = now % base
        char = b.select(digit.ult(10), digit + ord("0"), digit + letters)
        b.store(char.trunc("i8"), b.at(area, b.const("i64", _MOST_DIGITS - 2) - i))
        s.set_header(layout.SCRATCH, i + 1)
        rest.set(now // base)
        with b.if_(rest.get().eq(0)):
            b.break_()
    count = b.barrier(s.header(layout.SCRATCH, volatile=True))
    count = b.barrier(b.select(count.ugt(_MOST_DIGITS - 1), _MOST_DIGITS - 1, count))
    return b.at(area, b.const("i64", _MOST_DIGITS - 1) - count), count


def _emit_text(u: Unit, b: FunctionBuilder) -> None:
    """Append the source area cut to the precision and filled with blanks to the width."""
    s, builder = _runtime(u, b)
    _, width, precision = b.args
    source = source_room(s)
    length = _cut(s, source, precision)
    character = precision.eq(_CHARACTER)
    spaces = b.select(width.slt(0), -width, width) - b.select(character, 1, length)
    with b.if_(width.sge(0)):
        builder.append_run(" ", spaces)
    builder.append(Text(source.ptr, source.limit, source.size))
    with b.if_(b.both(character, length.eq(0))):
        builder.close()
    with b.if_(width.slt(0)):
        builder.append_run(" ", spaces)
    b.ret(0)


def _cut(s: Scope, source: Room, precision: Value) -> Value:
    """End the source area's string behind ``precision`` bytes unless negative; its length."""
    b = s.b
    length = string_length(s, source.ptr, source.limit)
    with b.if_(b.both(precision.sge(0), precision.slt(length))):
        end = b.barrier(b.select(precision.ult(source.limit), precision, 0))
        b.store(0, b.at(source.ptr, b.barrier(b.select(end.ult(source.limit), end, 0))), ty="i8")
    short = b.both(precision.sge(0), precision.slt(length))
    return b.select(short, precision, length)


def string_length(s: Scope, ptr: Value, limit: int) -> Value:
    """Length of a string of at most ``limit`` bytes with its NUL."""
    b = s.b
    sink = s.area("sink", s.u.max_string)
    n = b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", sink, limit, ptr)
    return b.select(n.sgt(0), n - 1, 0)


def _emit_escaped(u: Unit, b: FunctionBuilder) -> None:
    """Append the source area, cut to the precision and escaped, filled with blanks."""
    s, builder = _runtime(u, b)
    index, width, precision, mode = b.args
    source = source_room(s)
    with b.if_(mode.ne(ESCAPE_CHARACTER)):
        _cut(s, source, precision)
    # Escape into the place behind the text so far, then move it if blanks go in front.
    start = builder.position()
    b.call(escape_function(u), index, mode, u.limits.maxstringlen)
    length = builder.position() - start
    spaces = b.select(width.slt(0), -width, width) - length
    with b.if_(spaces.sgt(0)), b.if_else(width.slt(0)) as (left, right):
        with left:
            builder.append_run(" ", spaces)
        with right:
            _move_right(s, builder, start, spaces)
    b.ret(0)


def _move_right(s: Scope, builder: Builder, start: Value, spaces: Value) -> None:
    b = s.b
    source = source_room(s)
    at = b.barrier(start)
    at = b.barrier(b.select(at.ult(builder.limit), at, builder.limit - 1))
    b.helper(
        helpers.PROBE_READ_KERNEL_STR, "i64", source.ptr, source.limit, b.at(builder.area, at)
    )
    s.set_header(layout.BUILD, at)
    builder.append_run(" ", spaces)
    builder.append(Text(source.ptr, source.limit, source.size))


def _emit_binary(u: Unit, b: FunctionBuilder) -> None:
    """Append the low 1, 2, 4 or 8 bytes of a number.

    A wider field is filled with zero bytes; the string ends at the first of them.
    """
    s, builder = _runtime(u, b)
    _, value, width, precision = b.args
    size = b.select(precision.sge(0), precision, b.select(width.slt(0), -width, width))
    size = b.select(b.both(precision.slt(0), width.eq(0)), b.const("i64", 8), size)
    word = b.select(size.sgt(4), value, value & 0xFFFF_FFFF)
    word = b.select(size.sle(2), word & 0xFFFF, word)
    word = b.select(size.sle(1), word & 0xFF, word)
    count = b.select(size.sgt(2), b.const("i64", 4), b.select(size.slt(1), 1, size))
    count = b.select(size.sgt(4), b.const("i64", 8), count)
    wide = b.select(width.slt(0), -width, width).sgt(count)
    source = source_room(s)
    b.store(b.select(b.both(wide, width.sgt(0)), 0, word), source.ptr)
    b.store(0, source.ptr, 8)
    start = builder.position()
    builder.append(Text(source.ptr, 9, 16))
    with b.if_(b.either(wide, (builder.position() - start).slt(count))):
        builder.close()
    b.ret(0)


# ---- messages


def format_message(s: Scope, template: str) -> None:
    """Write a run-time error's message, its values those of the pending error, to its area."""
    from pystap.backend.bpf.errors import error_text
    from pystap.output.formatspec import parse_format

    limit = s.u.limits.maxstringlen
    builder = Builder(s, limit)
    used = 0
    for d in parse_format(template).directives:
        if not d.conv:
            builder.append(strings.literal(s, d.text))
            continue
        value = s.header(layout.ERROR_VALUE + 8 * used)
        used += 1
        append_number(s, value, number_style(d), d.width or 0)
    builder.finish(Room(error_text(s), s.u.max_string, limit))
