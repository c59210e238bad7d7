"""The print family: every call becomes one format with its arguments.

Numbers print as ``%d``, strings as ``%s``; constants become part of the literal text.
"""

from __future__ import annotations

from collections.abc import Iterator

from pystap.diag.diagnostic import Diagnostic, DiagnosticError
from pystap.ir import ops
from pystap.ir.lower import expr as lower_expr
from pystap.ir.lower.scope import Frame
from pystap.ir.types import Ty
from pystap.lang import ast
from pystap.output.formats import MAX_FIELD, STAR, Directive, Format
from pystap.output.formatspec import FormatError, parse_format
from pystap.typing import Final

_MEMORY: Final = ("m", "M")
_DUMPS: Final = ("kernel_bytes", "user_bytes")
_POINTER_DIGITS: Final = 16


def effect_of_print(frame: Frame, expr: ast.Print) -> list[ops.Stmt]:
    """A call that prints."""
    if expr.args and isinstance(expr.args[0], ast.Histogram):
        hist = expr.args[0]
        stat, keys = lower_expr.stat_of(frame, hist.stat)
        newline = expr.name.endswith("ln")
        return [ops.EmitHist(hist.kind, stat, keys, newline, frame.pos(hist.tok))]
    made = _Pieces(frame, expr)
    if not made.directives:
        return []
    return [*made.before(), ops.Emit(Format(tuple(made.directives)), made.args)]


def value_of_print(frame: Frame, expr: ast.Print) -> ops.Expr:
    """A call of the ``sprint`` family, or one that prints and has the value 0."""
    if expr.name[0] != "s":
        return ops.Seq(effect_of_print(frame, expr), ops.Const(0))
    if expr.args and isinstance(expr.args[0], ast.Histogram):
        hist = expr.args[0]
        stat, keys = lower_expr.stat_of(frame, hist.stat)
        newline = expr.name.endswith("ln")
        return ops.SprintHist(hist.kind, stat, keys, newline, frame.pos(hist.tok))
    made = _Pieces(frame, expr)
    if not made.args:
        return frame.shared.string("".join(d.text for d in made.directives))
    if made.directives == [Directive("s")]:
        return made.args[0]
    body = made.before()
    value = ops.Sprint(Format(tuple(made.directives)), made.args)
    return ops.Seq(body, value) if body else value


class _Pieces:
    """Collects the parts of a format and the arguments they take."""

    def __init__(self, frame: Frame, expr: ast.Print) -> None:
        self.frame = frame
        self.directives: list[Directive] = []
        self.args: list[ops.Expr] = []
        self.pos = frame.pos(expr.tok) if expr.name.endswith("printf") else -1
        name = expr.name.removeprefix("s")
        if name == "printf":
            self._formatted(expr)
        elif name == "print_char":
            self._convert(Directive("c"), lower_expr.value(frame, expr.args[0]))
        else:
            self._listed(expr, newline=name.endswith("ln"))

    def _listed(self, expr: ast.Print, newline: bool) -> None:
        """``print``, ``printd`` and their forms with a newline."""
        for i, arg in enumerate(expr.args):
            if i and expr.delimiter is not None:
                self._text(expr.delimiter.value)
            value = lower_expr.value(self.frame, arg)
            self._convert(Directive("s" if ops.type_of(value) is Ty.STR else "d"), value)
        if newline:
            self._text("\n")

    def _formatted(self, expr: ast.Print) -> None:
        """``printf``."""
        assert expr.format is not None
        try:
            fmt = parse_format(expr.format.value)
        except FormatError as error:
            raise DiagnosticError(
                Diagnostic("semantic error", error.message, expr.format.tok)
            ) from error
        args = iter(expr.args)
        for directive in fmt.directives:
            if not directive.conv:
                self._text(directive.text)
            elif directive.conv in _MEMORY:
                self._dump(directive, args)
            else:
                if directive == Directive("p") and self.frame.shared.wide_pointers:
                    directive = Directive("x", flag="#", precision=_POINTER_DIGITS)
                directive = self._stars(directive, args)
                self._convert(directive, lower_expr.value(self.frame, next(args)))

    def _stars(self, d: Directive, args: Iterator[ast.Expr]) -> Directive:
        """Take the width and precision that arguments give; constant ones go into the format."""
        if d.width == STAR:
            width = lower_expr.value(self.frame, next(args))
            if isinstance(width, ops.Const) and 0 <= width.value <= MAX_FIELD:
                d = d._replace(width=width.value)
            else:
                self.args.append(self._checked(width, -MAX_FIELD))
        if d.precision == STAR:
            precision = lower_expr.value(self.frame, next(args))
            if isinstance(precision, ops.Const) and precision.value <= MAX_FIELD:
                d = d._replace(precision=precision.value if precision.value >= 0 else None)
            elif d.conv == "s":
                self.args.append(precision)
            else:
                self.args.append(self._checked(precision, -(1 << 63)))
        return d

    def _checked(self, size: ops.Expr, least: int) -> ops.Expr:
        """A width or precision; one that no field has is a run-time error."""
        if isinstance(size, ops.Const) and least <= size.value <= MAX_FIELD:
            return size
        return ops.Intrinsic("field_size", [size, ops.Const(least)], self.pos)

    def _dump(self, d: Directive, args: Iterator[ast.Expr]) -> None:
        """``%m`` and ``%M``: the bytes are read here and printed like a string."""
        d_width = self._stars(d._replace(precision=None), args)
        count: ops.Expr = ops.Const(1 if d.precision is None else d.precision)
        if d.precision == STAR:
            count = lower_expr.value(self.frame, next(args))
        addr = lower_expr.value(self.frame, next(args))
        name = _DUMPS[d.flag == "#"]
        flag = "" if d.flag == "#" else d.flag
        self.directives.append(d_width._replace(flag=flag))
        self.args.append(ops.Intrinsic(name, [addr, count], self.pos))

    def _convert(self, directive: Directive, value: ops.Expr) -> None:
        """One converted argument."""
        match value:
            case ops.Const(number) if directive == Directive("d"):
                self._text(str(number))
            case ops.StrConst(text) if directive == Directive("s"):
                self._text(text)
            case ops.Const(number) if directive == Directive("c") and number & 0xFF:
                self._text(chr(number & 0xFF))
            case _:
                self.directives.append(directive)
                self.args.append(value)

    def before(self) -> list[ops.Stmt]:
        """What runs first: memory is read when all arguments have been evaluated."""
        dumps = [i for i, arg in enumerate(self.args) if _is_dump(arg)]
        if not dumps or all(map(_is_harmless, self.args[dumps[0] + 1 :])):
            return []
        body: list[ops.Stmt] = []
        for i, arg in enumerate(self.args):
            if isinstance(arg, ops.Intrinsic) and _is_dump(arg):
                arg.args = [self._kept(operand, body) for operand in arg.args]
            else:
                self.args[i] = self._kept(arg, body)
        return body

    def _kept(self, value: ops.Expr, body: list[ops.Stmt]) -> ops.Expr:
        if _is_plain(value):
            return value
        var = self.frame.temp(ops.type_of(value))
        body.append(ops.SetLocal(var, value))
        return ops.Local(var)

    def _text(self, text: str) -> None:
        """Literal text, joined with literal text before it."""
        if not text:
            return
        if self.directives and not self.directives[-1].conv:
            text = self.directives.pop().text + text
        self.directives.append(Directive("", text))


def _is_dump(value: ops.Expr) -> bool:
    return isinstance(value, ops.Intrinsic) and value.name in _DUMPS


def _is_plain(value: ops.Expr) -> bool:
    return isinstance(value, ops.Const | ops.StrConst)


def _is_harmless(value: ops.Expr) -> bool:
    """Whether evaluating an argument later than it is its turn makes no difference."""
    if isinstance(value, ops.Intrinsic) and _is_dump(value):
        return all(map(_is_harmless, value.args))
    return _is_plain(value) or isinstance(value, ops.Local)
