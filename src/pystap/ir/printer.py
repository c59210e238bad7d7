"""The IR as text, for ``-p3`` of runtimes without a source form, ``--vp`` and golden tests.

Globals print as ``@name``, variables that translation added as ``%N``.
"""

from __future__ import annotations

from collections import Counter

from pystap.ir import ops
from pystap.ir.module import Function, Handler, Module, Probe
from pystap.ir.types import Global, LocalVar, StatSpec, Ty
from pystap.output.formats import STAR, Directive, Format

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def print_module(module: Module, positions: bool = False) -> str:
    """The whole module, one statement a line; with ``positions`` each operation that can fail
    is followed by ``!LINE:COLUMN``."""
    lines: list[str] = [_global_text(g) for g in module.globals]
    lines += [_condition_text(module, index) for index in range(len(module.conditions))]
    lines += [f"regex {i} {quote(r.pattern)}" for i, r in enumerate(module.regexes)]
    lines += [f"c {quote(text.text)}" for text in module.c_texts]
    for function in module.functions:
        lines += ["", _function_head(function)]
        params = len(function.params)
        lines += _Frame(function.locals, module, positions).body(function.body, params)
    for handler in module.handlers:
        lines += ["", *_handler_head(handler, module)]
        lines += _Frame(handler.locals, module, positions).body(handler.body, 0)
    return "\n".join(lines).lstrip("\n") + "\n"


def _condition_text(module: Module, index: int) -> str:
    text = f"condition {index} {print_expr(module.conditions[index])}"
    locks = module.condition_locks[index] if module.condition_locks else []
    return f"{text} locked {_locks_text(locks)}" if locks else text


def _locks_text(locks: list[tuple[Global, ops.LockMode]]) -> str:
    return ", ".join(f"@{g.name} {mode}" for g, mode in locks)


def print_expr(expr: ops.Expr) -> str:
    """One expression; locals print by name."""
    return _Frame([], Module(), False).expr(expr)


def print_body(body: list[ops.Stmt], owner: Function | Handler) -> str:
    """The statements of one function or handler, for messages of tests."""
    return "\n".join(_Frame(owner.locals, Module(), False).block(body, 0))


def format_text(fmt: Format) -> str:
    """A format as a printf text, quoted."""
    return '"' + "".join(_directive(d) for d in fmt.directives) + '"'


def quote(text: str) -> str:
    """A string literal."""
    return '"' + "".join(_char(c) for c in text) + '"'


def _char(c: str) -> str:
    if c in _ESCAPES:
        return _ESCAPES[c]
    return c if " " <= c <= "~" else f"\\{ord(c):03o}"


def _directive(d: Directive) -> str:
    if not d.conv:
        return "".join("%%" if c == "%" else _char(c) for c in d.text)
    if d.conv.startswith("hist_"):
        return f"%{{{d.conv}}}"
    width = "" if d.width is None else "*" if d.width == STAR else str(d.width)
    precision = ""
    if d.precision is not None:
        precision = "." + ("*" if d.precision == STAR else str(d.precision))
    return f"%{d.flag}{width}{precision}{d.conv}"


def _type(ty: Ty, bound: int) -> str:
    return f"{ty.value}:{bound}" if ty is Ty.STR else ty.value


def _stat_text(spec: StatSpec) -> str:
    parts: list[str] = [*sorted(spec.parts)]
    if spec.shift:
        parts.append(f"shift {spec.shift}")
    if spec.linear:
        parts.append("linear " + " ".join(str(n) for n in spec.linear))
    return f"stats({', '.join(parts)})"


def _global_text(g: Global) -> str:
    value = _stat_text(g.stats) if g.stats else _type(g.value, g.bound)
    if g.kind == "scalar":
        init = quote(g.init) if isinstance(g.init, str) else str(g.init)
        return f"global @{g.name}: {value}" + (f" = {init}" if g.init else "")
    bounds = g.key_bounds or (0,) * len(g.keys)
    keys = ", ".join(_type(k, b) for k, b in zip(g.keys, bounds))
    declared = " declared" if g.capacity_declared else ""
    wrap = " wrap" if g.wrap else ""
    return f"global @{g.name}[{keys}]: {value}, {g.capacity}{declared}{wrap}"


def _function_head(f: Function) -> str:
    params = ", ".join(f"{p.name}: {_type(p.ty, p.bound)}" for p in f.params)
    recursive = " recursive" if f.recursive else ""
    return f"function {f.name}({params}): {_type(f.result, f.bound)}{recursive}"


def _handler_head(handler: Handler, module: Module) -> list[str]:
    return [_probe_text(p) for p in module.probes if p.handler == handler.index] + [
        f"handler {handler.index}"
    ]


def _probe_text(p: Probe) -> str:
    name = f" as {p.name}" if p.name != p.point else ""
    condition = f" if condition {p.condition}" if p.condition >= 0 else ""
    return f"probe {p.point}{name}{condition}"


class _Frame:
    """Prints the body of one function or handler."""

    def __init__(self, variables: list[LocalVar], module: Module, positions: bool) -> None:
        self.locals = variables
        self.module = module
        self.positions = positions
        self.twice = {n for n, k in Counter(v.name for v in variables).items() if k > 1}

    def body(self, body: list[ops.Stmt], params: int) -> list[str]:
        """Locals (parameters aside) and statements."""
        head = [f"    local {self.name(v)}: {_type(v.ty, v.bound)}" for v in self.locals[params:]]
        return head + self.block(body, 1)

    def name(self, var: LocalVar) -> str:
        """Unique name of a local."""
        if not var.name:
            return f"%{var.index}"
        return f"{var.name}.{var.index}" if var.name in self.twice else var.name

    def at(self, pos: int) -> str:
        """Mark of a position."""
        if not self.positions or pos < 0:
            return ""
        place = self.module.positions[pos]
        return f" !{place.line}:{place.column}"

    # --- statements -----------------------------------------------------------------------------

    def block(self, body: list[ops.Stmt], depth: int) -> list[str]:
        """Statements, indented."""
        lines: list[str] = []
        for stmt in body:
            lines += self.stmt(stmt, depth)
        return lines

    def stmt(self, stmt: ops.Stmt, depth: int) -> list[str]:
        """One statement with all below it."""
        pad = "    " * depth
        if isinstance(stmt, (ops.If, ops.Loop, ops.Foreach, ops.ForeachHist, ops.Try, ops.Locked)):
            return self.compound(stmt, depth, pad)
        return [pad + self.simple(stmt)]

    def compound(
        self,
        stmt: ops.If | ops.Loop | ops.Foreach | ops.ForeachHist | ops.Try | ops.Locked,
        depth: int,
        pad: str,
    ) -> list[str]:
        """A statement that holds others."""
        match stmt:
            case ops.If(cond, then, orelse):
                lines = [f"{pad}if {self.expr(cond)}", *self.block(then, depth + 1)]
                if orelse:
                    lines += [f"{pad}else", *self.block(orelse, depth + 1)]
                return lines
            case ops.Loop(cond, body, step):
                lines = [f"{pad}while {self.expr(cond)}", *self.block(body, depth + 1)]
                if step:
                    lines += [f"{pad}step", *self.block(step, depth + 1)]
                return lines
            case ops.Foreach(body=body):
                return [pad + self.foreach(stmt), *self.block(body, depth + 1)]
            case ops.ForeachHist(kind, stat, keys, bucket, limit, order, body, pos):
                source = f"@hist_{kind}({self.element(stat, keys)})"
                head = f"foreach {self.name(bucket)} in {source}{self.sorting(order, '')}"
                head += self.limit(limit) + self.at(pos)
                return [pad + head, *self.block(body, depth + 1)]
            case ops.Try(body, var, handler):
                name = f" {self.name(var)}" if var else ""
                return [
                    f"{pad}try",
                    *self.block(body, depth + 1),
                    f"{pad}catch{name}",
                    *self.block(handler, depth + 1),
                ]
            case ops.Locked(locks, body):
                return [f"{pad}locked {_locks_text(locks)}", *self.block(body, depth + 1)]

    def foreach(self, stmt: ops.Foreach) -> str:
        """Head line of an iteration."""
        value = f"{self.name(stmt.value)} = " if stmt.value else ""
        keys = ", ".join(self.name(k) for k in stmt.keys)
        head = f"foreach {value}[{keys}] in @{stmt.var.name}"
        if stmt.slice is not None:
            head += self.keys(stmt.slice)
        by = f"key {stmt.column}"
        if stmt.column == 0:
            by = f"@{stmt.sort_op}" if stmt.var.stats else "value"
        return head + self.sorting(stmt.order, by) + self.limit(stmt.limit) + self.at(stmt.pos)

    def sorting(self, order: int, by: str) -> str:
        """Sort directive."""
        if not order:
            return ""
        return f" sorted {'up' if order > 0 else 'down'}" + (f" by {by}" if by else "")

    def limit(self, limit: ops.Expr | None) -> str:
        """Limit of rounds."""
        return "" if limit is None else f" limit {self.expr(limit)}"

    def simple(self, stmt: ops.Stmt) -> str:
        """A statement on one line."""
        match stmt:
            case ops.SetLocal(var, value):
                return f"{self.name(var)} = {self.expr(value)}"
            case ops.SetGlobal(g, value):
                return f"@{g.name} = {self.expr(value)}"
            case ops.AddGlobal(g, delta):
                return f"@{g.name} += {self.expr(delta)}"
            case ops.SetMap(g, keys, value, pos):
                return f"{self.element(g, keys)} = {self.expr(value)}{self.at(pos)}"
            case ops.AddMap(g, keys, delta, pos):
                return f"{self.element(g, keys)} += {self.expr(delta)}{self.at(pos)}"
            case ops.StatAdd(g, keys, value, pos):
                return f"{self.element(g, keys)} <<< {self.expr(value)}{self.at(pos)}"
            case ops.DeleteGlobal(g):
                return f"delete @{g.name}"
            case ops.DeleteMap(g, slots):
                return f"delete @{g.name}{self.keys(slots)}"
            case ops.Store(addr, space, size, value, pos):
                target = f"store.{space}.{size}({self.expr(addr)})"
                return f"{target} = {self.expr(value)}{self.at(pos)}"
            case ops.SetContext(kind, index, bits, value, pos):
                return f"context.{kind}[{index}].{bits} = {self.expr(value)}{self.at(pos)}"
            case ops.CBody(text, _, pos):
                return f"c {quote(text.text)}{self.at(pos)}"
            case ops.Break():
                return "break"
            case ops.Continue():
                return "continue"
            case ops.Return(value):
                return "return" if value is None else f"return {self.expr(value)}"
            case ops.Next():
                return "next"
            case ops.Emit(fmt, args, pos):
                return f"emit {self.formatted(fmt, args)}{self.at(pos)}"
            case ops.EmitHist(kind, g, keys, newline, pos):
                line = " newline" if newline else ""
                return f"emit @hist_{kind}({self.element(g, keys)}){line}{self.at(pos)}"
            case ops.Eval(value):
                return f"eval {self.expr(value)}"
            case ops.Action(count, pos):
                return f"action {count}{self.at(pos)}"
            case _:
                raise TypeError(f"not a simple statement: {stmt!r}")

    # --- expressions ----------------------------------------------------------------------------

    def expr(self, expr: ops.Expr) -> str:
        """An expression; operators are always in parentheses."""
        match expr:
            case ops.Const(value):
                return str(value)
            case ops.StrConst(text):
                return quote(text)
            case ops.Local(var):
                return self.name(var)
            case ops.GlobalGet(g):
                return f"@{g.name}"
            case ops.MapGet(g, keys):
                return self.element(g, keys)
            case ops.MapHas(g, slots):
                return f"({self.keys(slots)} in @{g.name})"
            case ops.Neg(operand):
                return f"-{self.expr(operand)}"
            case ops.BitNot(operand):
                return f"~{self.expr(operand)}"
            case ops.Not(operand):
                return f"!{self.expr(operand)}"
            case ops.Cond(cond, yes, no):
                return f"({self.expr(cond)} ? {self.expr(yes)} : {self.expr(no)})"
            case ops.Concat(parts):
                return "(" + " . ".join(self.expr(p) for p in parts) + ")"
            case ops.Seq(body, value):
                inner = "; ".join(line.strip() for line in self.block(body, 0))
                return f"{{{inner}; {self.expr(value)}}}"
            case _:
                return self.binary(expr) or self.operation(expr)

    def binary(self, expr: ops.Expr) -> str:
        """Operators with two operands, or nothing."""
        match expr:
            case ops.Arith(op, left, right, pos):
                return f"({self.expr(left)} {op} {self.expr(right)}{self.at(pos)})"
            case ops.Compare(op, left, right) | ops.Logic(op, left, right):
                return f"({self.expr(left)} {op} {self.expr(right)})"
            case ops.StrCompare(op, left, right):
                return f"({self.expr(left)} {op}s {self.expr(right)})"
            case ops.Match(regex, operand, negated):
                return f"({self.expr(operand)} {'!~' if negated else '=~'} regex {regex})"
            case _:
                return ""

    def operation(self, expr: ops.Expr) -> str:
        """Everything that reads like a call."""
        match expr:
            case ops.Sprint(fmt, args, pos):
                return f"sprint({self.formatted(fmt, args)}{self.at(pos)})"
            case ops.Call(targets, args, pos):
                names = "|".join(t.name for t in targets)
                return f"{names}({self.joined(args)}{self.at(pos)})"
            case ops.Intrinsic(name, args, pos, const):
                consts = [quote(c) if isinstance(c, str) else str(c) for c in const]
                inside = ", ".join([f"${c}" for c in consts] + [self.expr(a) for a in args])
                return f"#{name}({inside}{self.at(pos)})"
            case ops.Load(addr, space, size, signed, pos, bit_offset, bit_size):
                kind = f"load.{space}.{'s' if signed else 'u'}{size * 8}"
                bits = f".bits{bit_offset}+{bit_size}" if bit_size else ""
                return f"{kind}{bits}({self.expr(addr)}{self.at(pos)})"
            case ops.ContextValue(kind, index):
                indexed = kind in ("arg", "sysarg", "reg", "funcarg")
                return f"context.{kind}" + (f"[{index}]" if indexed else "")
            case ops.StatGet(op, g, keys, pos):
                return f"@{op}({self.element(g, keys)}{self.at(pos)})"
            case ops.HistGet(kind, g, keys, bucket, pos):
                element = self.element(g, keys)
                return f"@hist_{kind}({element})[{self.expr(bucket)}{self.at(pos)}]"
            case ops.CExpr(text, ty, _, pos):
                return f"c.{ty.value} {quote(text.text)}{self.at(pos)}"
            case ops.SprintHist(kind, g, keys, newline, pos):
                line = " newline" if newline else ""
                return f"sprint(@hist_{kind}({self.element(g, keys)}){line}{self.at(pos)})"
            case _:
                raise TypeError(f"not an expression: {expr!r}")

    def formatted(self, fmt: Format, args: list[ops.Expr]) -> str:
        """A format and its arguments."""
        return ", ".join([format_text(fmt), *(self.expr(a) for a in args)])

    def joined(self, exprs: list[ops.Expr]) -> str:
        """Expressions joined by commas."""
        return ", ".join(self.expr(e) for e in exprs)

    def keys(self, keys: list[ops.Expr | None]) -> str:
        """``[a, *]``."""
        return "[" + ", ".join("*" if k is None else self.expr(k) for k in keys) + "]"

    def element(self, g: Global, keys: list[ops.Expr]) -> str:
        """A global or its element."""
        return f"@{g.name}" + (f"[{self.joined(keys)}]" if keys else "")
