"""Expressions as C: numbers as C expressions, strings as pointers or into given memory.

What can fail or has an effect is put into a variable at once, so that the order is the script's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pystap.backend.kmod import aggregates, calls, embedded, intrinsics, keys, printing
from pystap.backend.kmod.writer import number, quoted
from pystap.ir import ops
from pystap.ir.types import Ty
from pystap.longs import signed
from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystap.backend.kmod.writer import Writer


def long_of(w: Writer, expr: ops.Expr) -> str:
    """A C expression of type s64."""
    compile_one = _LONGS.get(type(expr))
    if compile_one is None:
        raise AssertionError(f"{type(expr).__name__} is no number")
    return compile_one(w, expr)


def text_of(w: Writer, expr: ops.Expr) -> str:
    """A C expression of type ``const char *``; what it points to lasts for the statement."""
    match expr:
        case ops.StrConst(value):
            return quoted(value.partition("\0")[0])
        case ops.Local(var):
            return w.variable(var)
        case ops.GlobalGet(var):
            return w.unit.global_name(var)
        case ops.MapGet():
            found = keys.find(w, expr.var, expr.keys)
            return w.temp(f'{found} ? {found} : ""', "const char *")
        case ops.Cond():
            return _text_condition(w, expr)
        case ops.Seq():
            _statements(w, expr)
            return text_of(w, expr.value)
    room = w.string(_room(w, expr))
    text_into(w, expr, room, f"sizeof({room})")
    return room


def text_into(w: Writer, expr: ops.Expr, to: str, size: str) -> None:
    """Put a string into memory, which the expression does not read."""
    match expr:
        case ops.Concat(parts):
            texts = [text_of(w, part) for part in parts]
            with w.block(""):
                w.line(f"struct stap_sink s = stap_sink_of({to}, {size});")
                for text in texts:
                    w.line(f"stap_put_text(&s, {text});")
                w.line("stap_sink_close(&s);")
        case ops.Sprint():
            printing.sprint(w, expr, to, size)
        case ops.SprintHist():
            aggregates.sprint_histogram(w, expr, to, size)
        case ops.Call():
            calls.call(w, expr, to, size)
        case ops.Intrinsic():
            intrinsics.text_into(w, expr, to, size)
        case ops.CExpr():
            embedded.text_into(w, expr, to, size)
        case _:
            w.line(f"stap_copy_string({to}, {text_of(w, expr)}, {size});")


def _room(w: Writer, expr: ops.Expr) -> int:
    return w.unit.sizes.bound(expr)


def value_of(w: Writer, expr: ops.Expr) -> str:
    """A number or a string."""
    return text_of(w, expr) if ops.type_of(expr) is Ty.STR else long_of(w, expr)


def values_of(
    w: Writer,
    exprs: Sequence[ops.Expr],
    evaluate: Callable[[Writer, ops.Expr], str] = value_of,
) -> list[str]:
    """Several numbers and strings, evaluated from left to right."""
    found = []
    for expr in exprs:
        found.append((evaluate(w, expr), len(w.lines), ops.type_of(expr)))
    return [
        value if ty is Ty.STR else w.settle(mark, value) for value, mark, ty in reversed(found)
    ][::-1]


def _text_condition(w: Writer, expr: ops.Cond) -> str:
    cond = long_of(w, expr.cond)
    yes, no = (lambda: text_of(w, expr.yes)), (lambda: text_of(w, expr.no))
    return w.choose(cond, yes, no, "const char *")


def _statements(w: Writer, expr: ops.Seq) -> None:
    from pystap.backend.kmod.statements import statements

    with w.kept_strings():
        statements(w, expr.body)


# --- numbers -------------------------------------------------------------------------------------


def _arith(w: Writer, expr: ops.Arith) -> str:
    left, right = values_of(w, (expr.left, expr.right))
    match expr.op:
        case "/" | "%":
            function = "stap_divide" if expr.op == "/" else "stap_modulo"
            if expr.pos >= 0:
                right = w.temp(right)
                with w.block(f"if (unlikely(!{right}))"):
                    w.line(f'stap_fault(c, {expr.pos}, "division by 0");')
                    w.line(w.goto(w.fault_label()))
            return f"{function}({left}, {right})"
        case "<<":
            return f"(s64)((u64){left} << ({right} & 63))"
        case ">>":
            return f"({left} >> ({right} & 63))"
        case ">>>":
            return f"(s64)((u64){left} >> ({right} & 63))"
    return f"({left} {expr.op} {right})"


def _compare_text(w: Writer, expr: ops.StrCompare) -> str:
    left, right = text_of(w, expr.left), text_of(w, expr.right)
    return w.temp(f"strcmp({left}, {right}) {expr.op} 0")


def _compare(w: Writer, expr: ops.Compare) -> str:
    left, right = values_of(w, (expr.left, expr.right))
    return f"(s64)({left} {expr.op} {right})"


def _logic(w: Writer, expr: ops.Logic) -> str:
    result = w.temp(f"{long_of(w, expr.left)} != 0")
    with w.block(f"if ({'' if expr.op == '&&' else '!'}{result})"):
        w.line(f"{result} = {long_of(w, expr.right)} != 0;")
    return result


def _condition(w: Writer, expr: ops.Cond) -> str:
    cond = long_of(w, expr.cond)
    return w.choose(cond, lambda: long_of(w, expr.yes), lambda: long_of(w, expr.no), "s64")


def _map_get(w: Writer, expr: ops.MapGet) -> str:
    found = keys.find(w, expr.var, expr.keys)
    return w.temp(f"{found} ? *{found} : 0")


def _global_get(w: Writer, expr: ops.GlobalGet) -> str:
    return w.temp(f"atomic64_read(&{w.unit.global_name(expr.var)})")


def _call(w: Writer, expr: ops.Call) -> str:
    return calls.call(w, expr, "", "")


def _load(w: Writer, expr: ops.Load) -> str:
    address = w.temp(long_of(w, expr.addr))
    kind = f"{'s' if expr.signed and not expr.bit_size else 'u'}{expr.size * 8}"
    user = "true" if expr.space == "user" else "false"
    value = w.empty_temp(kind)
    with w.block(f"if (unlikely(!stap_memory_read(&{value}, {address}, {expr.size}, {user})))"):
        w.line(
            f'stap_fault_number(c, {expr.pos}, "{expr.space} read fault at ", '
            f"{address}, 'x', \"\");"
        )
        w.line(w.goto(w.fault_label()))
    if not expr.bit_size:
        return f"(s64){value}"
    shift_left = 64 - expr.bit_offset - expr.bit_size
    kind = "s64" if expr.signed else "u64"
    return f"(s64)(({kind})((u64){value} << {shift_left}) >> {64 - expr.bit_size})"


def _match(w: Writer, expr: ops.Match) -> str:
    subject = text_of(w, expr.operand)
    negation = "!" if expr.negated else ""
    if w.unit.is_tagged(expr.regex):
        return w.temp(
            f"{negation}stap_tagged_search(c, &{w.unit.prefix}regex{expr.regex}, {subject})"
        )
    return w.temp(f"{negation}stap_dfa_search(&{w.unit.prefix}regex{expr.regex}, {subject})")


def _seq(w: Writer, expr: ops.Seq) -> str:
    _statements(w, expr)
    return long_of(w, expr.value)


_CONTEXT: Final = {
    "arg": "(s64)c->event->args[{0}]",
    "sysarg": "(s64)c->event->args[{0}]",
    "sysnr": "c->event->number",
    "sysret": "c->event->result",
    "retval": "c->event->result",
    "probe_id": "(s64)c->probe",
    "reg": "stap_event_register(c, {0})",
    "funcarg": "stap_event_argument(c, {0})",
    "ip": "stap_event_address(c)",
}


def _context_value(_w: Writer, expr: ops.ContextValue) -> str:
    return _CONTEXT[expr.kind].format(expr.index)


_LONGS: Final[dict[type, Callable[[Writer, Any], str]]] = {
    ops.Const: lambda _w, e: number(signed(e.value)),
    ops.Local: lambda w, e: w.variable(e.var),
    ops.GlobalGet: _global_get,
    ops.MapGet: _map_get,
    ops.MapHas: lambda w, e: keys.has(w, e),
    ops.Arith: _arith,
    ops.Neg: lambda w, e: f"(s64)-(u64){long_of(w, e.operand)}",
    ops.BitNot: lambda w, e: f"~{long_of(w, e.operand)}",
    ops.Not: lambda w, e: f"(s64)!{long_of(w, e.operand)}",
    ops.Compare: _compare,
    ops.StrCompare: _compare_text,
    ops.Logic: _logic,
    ops.Cond: _condition,
    ops.Call: _call,
    ops.Intrinsic: lambda w, e: intrinsics.long_of(w, e),
    ops.Load: _load,
    ops.ContextValue: _context_value,
    ops.StatGet: lambda w, e: aggregates.extract(w, e),
    ops.HistGet: lambda w, e: aggregates.bucket(w, e),
    ops.Match: _match,
    ops.Seq: _seq,
    ops.CExpr: embedded.long_of,
}
