"""Expressions compiled to Python closures over a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pystap.backend.reference import access
from pystap.backend.reference.context_values import compile_context_value
from pystap.backend.reference.faults import InterpreterError
from pystap.backend.reference.intrinsics import implementation
from pystap.backend.reference.longs import MASK, TOTAL, divide, extend, remainder, wrap
from pystap.backend.reference.memory import MemoryFault
from pystap.backend.reference.printing import apply_format, decode, histogram_text, until_nul
from pystap.backend.reference.state import Frame
from pystap.ir import errors, ops
from pystap.ir.types import Ty
from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystap.backend.reference.arrays import Key
    from pystap.backend.reference.compiler import Scope
    from pystap.backend.reference.state import Context, Evaluate
    from pystap.ir.types import Global

COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def compile_expr(scope: Scope, expr: ops.Expr) -> Evaluate:
    """A closure that gives the value of ``expr``: an int in signed 64-bit range, or a str with
    one character a byte and no NUL."""
    compile_one = _COMPILERS.get(type(expr))
    if compile_one is None:
        raise InterpreterError(f"unknown expression {type(expr).__name__}")
    return compile_one(scope, expr)


def compile_list(scope: Scope, exprs: Sequence[ops.Expr]) -> Callable[[Frame], list[Any]]:
    """A closure that gives the values of several expressions, evaluated left to right."""
    parts = [compile_expr(scope, e) for e in exprs]
    return lambda frame: [part(frame) for part in parts]


def compile_key(scope: Scope, exprs: Sequence[ops.Expr]) -> Callable[[Frame], Key]:
    """A closure that gives the key tuple of an array element."""
    if len(exprs) == 1:
        only = compile_expr(scope, exprs[0])
        return lambda frame: (only(frame),)
    parts = [compile_expr(scope, e) for e in exprs]
    return lambda frame: tuple([part(frame) for part in parts])


def compile_pattern(
    scope: Scope, exprs: Sequence[ops.Expr | None]
) -> Callable[[Frame], tuple[Any, ...]]:
    """Like :func:`compile_key` with None for parts that match anything."""
    parts = [None if e is None else compile_expr(scope, e) for e in exprs]
    return lambda frame: tuple([part and part(frame) for part in parts])


# --- constants and variables ---------------------------------------------------------------------


def _const(_scope: Scope, expr: ops.Const) -> Evaluate:
    value = wrap(expr.value)
    return lambda _frame: value


def _str_const(scope: Scope, expr: ops.StrConst) -> Evaluate:
    value = until_nul(expr.value)
    if len(value) > scope.most_bytes:
        raise InterpreterError(f"string literal of {len(value)} bytes")
    return lambda _frame: value


def _local(scope: Scope, expr: ops.Local) -> Evaluate:
    slot = scope.slot(expr.var)
    return lambda frame: frame.variables[slot]


def _global_get(_scope: Scope, expr: ops.GlobalGet) -> Evaluate:
    var = expr.var

    def get(frame: Frame) -> Any:
        access.check_read(frame.context, var)
        return frame.context.state.globals[var.index]

    return get


def _map_get(scope: Scope, expr: ops.MapGet) -> Evaluate:
    var = expr.var
    key = compile_key(scope, expr.keys)
    absent: int | str = "" if var.value is Ty.STR else 0

    def get(frame: Frame) -> Any:
        wanted = key(frame)
        access.check_read(frame.context, var)
        return frame.context.state.array(var).get(wanted, absent)

    return get


def _map_has(scope: Scope, expr: ops.MapHas) -> Evaluate:
    var = expr.var
    pattern = compile_pattern(scope, expr.keys)

    def has(frame: Frame) -> int:
        wanted = pattern(frame)
        access.check_read(frame.context, var)
        return int(frame.context.state.array(var).has(wanted))

    return has


# --- operators -----------------------------------------------------------------------------------


def _arith(scope: Scope, expr: ops.Arith) -> Evaluate:
    left, right = compile_expr(scope, expr.left), compile_expr(scope, expr.right)
    if expr.op in TOTAL:
        total = TOTAL[expr.op]
        return lambda frame: total(left(frame), right(frame))
    partial = divide if expr.op == "/" else remainder
    position = expr.pos

    def apply(frame: Frame) -> int:
        dividend, divisor = left(frame), right(frame)
        if divisor == 0:
            if position < 0:
                raise InterpreterError("division by 0 where none was possible")
            raise frame.context.fault(errors.DIVISION_BY_ZERO, position)
        return partial(dividend, divisor)

    return apply


def _neg(scope: Scope, expr: ops.Neg) -> Evaluate:
    operand = compile_expr(scope, expr.operand)
    return lambda frame: wrap(-operand(frame))


def _bit_not(scope: Scope, expr: ops.BitNot) -> Evaluate:
    operand = compile_expr(scope, expr.operand)
    return lambda frame: ~operand(frame)


def _not(scope: Scope, expr: ops.Not) -> Evaluate:
    operand = compile_expr(scope, expr.operand)
    return lambda frame: int(operand(frame) == 0)


def _compare(scope: Scope, expr: ops.Compare | ops.StrCompare) -> Evaluate:
    left, right = compile_expr(scope, expr.left), compile_expr(scope, expr.right)
    holds = COMPARISONS[expr.op]
    return lambda frame: int(holds(left(frame), right(frame)))


def _logic(scope: Scope, expr: ops.Logic) -> Evaluate:
    left, right = compile_expr(scope, expr.left), compile_expr(scope, expr.right)
    if expr.op == "&&":
        return lambda frame: int(left(frame) != 0 and right(frame) != 0)
    return lambda frame: int(left(frame) != 0 or right(frame) != 0)


def _cond(scope: Scope, expr: ops.Cond) -> Evaluate:
    cond = compile_expr(scope, expr.cond)
    yes, no = compile_expr(scope, expr.yes), compile_expr(scope, expr.no)
    return lambda frame: yes(frame) if cond(frame) else no(frame)


def _concat(scope: Scope, expr: ops.Concat) -> Evaluate:
    parts = compile_list(scope, expr.parts)
    most = scope.most_bytes
    return lambda frame: "".join(parts(frame))[:most]


def _sprint(scope: Scope, expr: ops.Sprint) -> Evaluate:
    args = compile_list(scope, expr.args)
    fmt, most = expr.format, scope.most_bytes
    return lambda frame: until_nul(decode(apply_format(fmt, args(frame))[:most]))


def _seq(scope: Scope, expr: ops.Seq) -> Evaluate:
    body = scope.block(expr.body)
    value = compile_expr(scope, expr.value)

    def run(frame: Frame) -> Any:
        if body(frame):
            raise InterpreterError("a statement of a Seq left it")
        return value(frame)

    return run


def _match(scope: Scope, expr: ops.Match) -> Evaluate:
    operand = compile_expr(scope, expr.operand)
    pattern, negated = scope.regex(expr.regex), expr.negated

    def match(frame: Frame) -> int:
        captures = pattern.search(operand(frame))
        frame.context.captures = captures
        return int((captures is None) == negated)

    return match


# --- calls ---------------------------------------------------------------------------------------


def _call(scope: Scope, expr: ops.Call) -> Evaluate:
    args = compile_list(scope, expr.args)
    targets = [scope.function(f) for f in expr.targets]
    position, deepest = expr.pos, scope.module.limits.maxnesting

    def call(frame: Frame) -> Any:
        context = frame.context
        values = args(frame)
        if len(context.callers) >= deepest:
            raise context.fault(errors.MAXNESTING_EXCEEDED, position)
        context.callers.append(position)
        try:
            for target in targets:
                done, result = target.run(context, values)
                if done:
                    return result
        finally:
            context.callers.pop()
        raise context.fault(errors.FUNCTIONS_EXHAUSTED, position)

    return call


def _intrinsic(scope: Scope, expr: ops.Intrinsic) -> Evaluate:
    args = compile_list(scope, expr.args)
    run = implementation(expr)
    most = scope.most_bytes

    def call(frame: Frame) -> Any:
        result = run(frame.context, expr, *args(frame))
        if isinstance(result, str):
            return result[:most]
        return 0 if result is None else wrap(result)

    return call


def _load(scope: Scope, expr: ops.Load) -> Evaluate:
    address = compile_expr(scope, expr.addr)
    kernel = expr.space == "kernel"
    message = errors.KERNEL_READ_FAULT if kernel else errors.USER_READ_FAULT

    def load(frame: Frame) -> int:
        environment = frame.context.state.environment
        memory = environment.kernel if kernel else environment.user
        at = address(frame) & MASK
        try:
            data = memory.read(at, expr.size)
        except MemoryFault:
            raise frame.context.fault(message % at, expr.pos) from None
        return _loaded(int.from_bytes(data, "little"), expr)

    return load


def _loaded(raw: int, expr: ops.Load) -> int:
    if not expr.bit_size:
        return extend(raw, expr.size, expr.signed)
    field = raw >> expr.bit_offset & (1 << expr.bit_size) - 1
    if expr.signed and field >> expr.bit_size - 1:
        field -= 1 << expr.bit_size
    return wrap(field)


# --- aggregates ----------------------------------------------------------------------------------


def _stat_get(scope: Scope, expr: ops.StatGet) -> Evaluate:
    key = compile_key(scope, expr.keys)
    op, position = expr.op, expr.pos

    def get(frame: Frame) -> int:
        whole = access.merged(frame.context, expr.var, key(frame))
        if whole.count == 0 and op not in ("count", "sum"):
            raise frame.context.fault(errors.EMPTY_AGGREGATE, position)
        return whole.extract(op)

    return get


def compile_buckets(
    scope: Scope, expr: ops.SprintHist | ops.EmitHist
) -> Callable[[Frame], list[int]]:
    """A closure that gives the counts of a histogram; an empty one is a run-time error."""
    key = compile_key(scope, expr.keys)
    return lambda frame: counts_of(frame.context, expr.kind, expr.var, key(frame), expr.pos)


def counts_of(context: Context, kind: str, var: Global, key: Key, position: int) -> list[int]:
    """The counts of a histogram; an empty one is a run-time error."""
    whole = access.merged(context, var, key)
    if whole.count == 0:
        raise context.fault(errors.EMPTY_AGGREGATE, position)
    return whole.buckets(kind)


def _hist_get(scope: Scope, expr: ops.HistGet) -> Evaluate:
    key = compile_key(scope, expr.keys)
    bucket = compile_expr(scope, expr.bucket)

    def get(frame: Frame) -> int:
        element, index = key(frame), bucket(frame)
        counts = counts_of(frame.context, expr.kind, expr.var, element, expr.pos)
        if not 0 <= index < len(counts):
            raise frame.context.fault(errors.HISTOGRAM_RANGE, expr.pos)
        return counts[index]

    return get


def compile_histogram(
    scope: Scope, expr: ops.SprintHist | ops.EmitHist
) -> Callable[[Frame], bytes]:
    """A closure that gives a histogram as printed."""
    counts = compile_buckets(scope, expr)
    limits = scope.module.limits
    return lambda frame: histogram_text(expr.kind, expr.var, counts(frame), expr.newline, limits)


def _sprint_hist(scope: Scope, expr: ops.SprintHist) -> Evaluate:
    text = compile_histogram(scope, expr)
    most = scope.most_bytes
    return lambda frame: decode(text(frame)[:most])


_COMPILERS: Final[dict[type, Callable[[Scope, Any], Evaluate]]] = {
    ops.Const: _const,
    ops.StrConst: _str_const,
    ops.Local: _local,
    ops.GlobalGet: _global_get,
    ops.MapGet: _map_get,
    ops.MapHas: _map_has,
    ops.Arith: _arith,
    ops.Neg: _neg,
    ops.BitNot: _bit_not,
    ops.Not: _not,
    ops.Compare: _compare,
    ops.StrCompare: _compare,
    ops.Logic: _logic,
    ops.Cond: _cond,
    ops.Concat: _concat,
    ops.Sprint: _sprint,
    ops.Call: _call,
    ops.Intrinsic: _intrinsic,
    ops.Load: _load,
    ops.ContextValue: compile_context_value,
    ops.StatGet: _stat_get,
    ops.HistGet: _hist_get,
    ops.SprintHist: _sprint_hist,
    ops.Match: _match,
    ops.Seq: _seq,
}
