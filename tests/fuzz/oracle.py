"""A third opinion: walks the parse tree by the rules of the language, without any of the passes.

Serves the programs made here and no others; gives up (:class:`Unsure`) on what depends on how
statements are counted or calls nested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from pystap.backend.reference.intrinsics.strings import IMPLEMENTATIONS as STRINGS
from pystap.backend.reference.regex import Pattern
from pystap.backend.reference.stats import Aggregate
from pystap.ir.types import StatSpec
from pystap.lang import ast
from pystap.output.formatspec import parse_format
from pystap.output.render import render, render_histogram

from .arithmetic import compare, compute, wrap
from .scope import Shape

Value = int | str
_DEEPEST = 8  # calls; more may exceed MAXNESTING
_MOST_STEPS = 3000  # statements; more may exceed MAXACTION as it is by itself
_MOST_ELEMENTS = 2048


class Unsure(Exception):  # noqa: N818
    """What the program does is not for this oracle to say."""


class Fault(Exception):  # noqa: N818
    """A run-time error."""


class _Jump(Exception):  # noqa: N818
    """``break``, ``continue``, ``next``, ``return`` or ``abort``."""

    def __init__(self, kind: str, value: Value = 0) -> None:
        super().__init__(kind)
        self.kind = kind
        self.value = value


@dataclass
class Array:
    """An array global."""

    name: str
    capacity: int
    declared: bool
    wrap: bool
    default: Callable[[], Any]
    elements: dict[tuple[Value, ...], Any] = field(default_factory=dict)

    def room_for(self, key: tuple[Value, ...]) -> None:
        """Make room for a key that may be new."""
        if key in self.elements or len(self.elements) < self.capacity:
            return
        if not self.wrap:
            size = f"size limit ({self.capacity})" if self.declared else "MAXMAPENTRIES"
            raise Fault(f"Array overflow, check {size}")
        del self.elements[next(iter(self.elements))]


@dataclass
class Outcome:
    """What a session did."""

    output: bytes
    errors: list[str]
    failed: bool


class Oracle:
    """One session of one file; ``types`` and ``shapes`` are those of the globals by name."""

    def __init__(
        self,
        file: ast.File,
        types: dict[str, str],
        shapes: dict[str, Shape],
        defines: dict[str, int],
    ) -> None:
        self.limit = defines.get("MAXSTRINGLEN", 512) - 1
        self.maxerrors = defines.get("MAXERRORS", 0)
        self.most_steps = min(_MOST_STEPS, defines.get("MAXACTION", _MOST_STEPS))
        self.steps = 0
        self.depth = 0
        self.out: list[bytes] = []
        self.errors: list[str] = []
        self.phase = "begin"
        self.functions: dict[tuple[str, int], list[ast.FunctionDef]] = {}
        self.defaults: dict[str, Callable[[], Any]] = {}
        self.probes: list[tuple[str, int, ast.Block]] = []
        self.scalars: dict[str, Any] = {}
        self.arrays: dict[str, Array] = {}
        self.frame: dict[str, Value] = {}
        limits = SimpleNamespace(maxstringlen=self.limit + 1)
        state = SimpleNamespace(module=SimpleNamespace(limits=limits), tokenizers={})
        self.context = SimpleNamespace(
            state=state, event=SimpleNamespace(cpu=0), captures=None, fault=_fault
        )
        for item in file.items:
            match item:
                case ast.FunctionDef():
                    self.functions.setdefault((item.name, len(item.params)), []).append(item)
                case ast.ProbeDef():
                    self.probes += [(*_point(p), item.body) for p in item.points]
                case ast.GlobalDecl(variables=variables):
                    for v in variables:
                        self._declare(v, _default(types[v.name], shapes.get(v.name)), defines)
        for overloads in self.functions.values():
            overloads.sort(key=lambda f: f.priority or 0)

    def _declare(
        self, v: ast.GlobalVar, default: Callable[[], Any], defines: dict[str, int]
    ) -> None:
        if v.name.startswith("a"):
            most = v.size or defines.get("MAXMAPENTRIES", _MOST_ELEMENTS)
            self.arrays[v.name] = Array(v.name, most, v.size is not None, v.wrap, default)
        else:
            self.scalars[v.name] = v.init.value if v.init else default()
            self.defaults[v.name] = default

    def run(self) -> Outcome:
        """The whole session."""
        for kind in ("begin", "end", "error"):
            if kind == "end" and self.phase != "error":
                self.phase = "end"
            found = [(order, n) for n, (k, order, _) in enumerate(self.probes) if k == kind]
            for _, number in sorted(found):
                if self.phase != kind:
                    break
                self._handler(self.probes[number][2])
        return Outcome(b"".join(self.out), self.errors, self.phase == "error")

    def _handler(self, body: ast.Block) -> None:
        self.frame, self.context.captures = {}, None
        try:
            self.execute(body)
        except _Jump:
            pass
        except Fault as fault:
            self.errors.append(str(fault))
            if len(self.errors) > self.maxerrors:
                self.phase = "error"

    # --- statements -----------------------------------------------------------------------------

    def execute(self, stmt: ast.Stmt) -> None:
        """Run a statement."""
        self.steps += 1
        if self.steps > self.most_steps:
            raise Unsure("many statements")
        match stmt:
            case ast.Block(body=body):
                for each in body:
                    self.execute(each)
            case ast.ExprStmt(expr=expr):
                self.value(expr)
            case ast.Null():
                pass
            case ast.If(cond=cond, then=then, orelse=orelse):
                if self.value(cond):
                    self.execute(then)
                elif orelse is not None:
                    self.execute(orelse)
            case ast.While(cond=cond, body=body):
                self._loop(cond, None, body)
            case ast.For(init=init, cond=cond, step=step, body=body):
                if init is not None:
                    self.value(init)
                self._loop(cond, step, body)
            case ast.Foreach():
                self._foreach(stmt)
            case ast.Return(value=expr):
                raise _Jump("return", self.value(expr) if expr is not None else 0)
            case ast.Break():
                raise _Jump("break")
            case ast.Continue():
                raise _Jump("continue")
            case ast.Next():
                raise _Jump("next")
            case ast.Delete(target=target):
                self._delete(target)
            case ast.TryCatch():
                self._try(stmt)
            case _:
                raise Unsure(type(stmt).__name__)

    def _loop(self, cond: ast.Expr | None, step: ast.Expr | None, body: ast.Stmt) -> None:
        while cond is None or self.value(cond):
            if not self._round(body):
                break
            if step is not None:
                self.value(step)

    def _round(self, body: ast.Stmt) -> bool:
        """One round of a loop; whether more may follow."""
        try:
            self.execute(body)
        except _Jump as jump:
            if jump.kind not in ("break", "continue"):
                raise
            return jump.kind == "continue"
        return True

    def _foreach(self, stmt: ast.Foreach) -> None:
        if isinstance(stmt.base, ast.Histogram):
            counts = self._buckets(stmt.base)
            limit = len(counts) if stmt.limit is None else max(0, self.value(stmt.limit))
            for bucket in range(len(counts))[:limit]:
                self._set_local(stmt.keys[0], bucket)
                if not self._round(stmt.body):
                    break
            return
        array = self.arrays[stmt.base.name]
        wanted = self._pattern(stmt.slice or [None] * len(stmt.keys))
        limit = None if stmt.limit is None else max(0, self.value(stmt.limit))
        found = [(k, v) for k, v in array.elements.items() if _fits(k, wanted)]
        if stmt.sort:
            column, op = stmt.sort_column, stmt.sort_op or "count"

            def order(item: tuple[tuple[Value, ...], Any]) -> Any:
                if column:
                    return item[0][column - 1]
                return item[1].extract(op) if isinstance(item[1], Aggregate) else item[1]

            found.sort(key=order, reverse=stmt.sort == "-")
        for key, value in found[:limit]:
            for name, part in zip(stmt.keys, key):
                self._set_local(name, part)
            if stmt.value is not None:
                self._set_local(stmt.value, value)
            if not self._round(stmt.body):
                break

    def _set_local(self, name: ast.Name, value: Value) -> None:
        self.frame[name.name] = value

    def _try(self, stmt: ast.TryCatch) -> None:
        depth, frame = self.depth, self.frame
        try:
            self.execute(stmt.body)
        except Fault as fault:
            self.depth, self.frame = depth, frame
            if stmt.var is not None:
                self._set_local(stmt.var, self._cut(str(fault)))
            self.execute(stmt.handler)

    def _delete(self, target: ast.Expr) -> None:
        match target:
            case ast.Name(name=name) if name in self.arrays:
                self.arrays[name].elements.clear()
            case ast.Name(name=name) if name in self.scalars:
                self.scalars[name] = self.defaults[name]()
            case ast.Name(name=name):
                self.frame[name] = type(self.frame.get(name, 0))()
            case ast.Index(base=ast.Name(name=name), indexes=indexes):
                wanted = self._pattern(indexes)
                elements = self.arrays[name].elements
                for key in [k for k in elements if _fits(k, wanted)]:
                    del elements[key]
            case _:
                raise Unsure("delete")

    # --- expressions ----------------------------------------------------------------------------

    def value(self, expr: ast.Expr) -> Any:
        """Evaluate an expression."""
        match expr:
            case ast.Number(value=number):
                return number
            case ast.String(value=text):
                return self._cut(text.partition("\0")[0])
            case ast.Name(name=name):
                return self.scalars[name] if name in self.scalars else self._local(name)
            case ast.Index(base=ast.Histogram() as base, indexes=[ast.Expr() as index]):
                return self._bucket(base, index)
            case ast.Index(base=ast.Name(name=name), indexes=indexes):
                key = self._key(indexes)
                array = self.arrays[name]
                return array.elements[key] if key in array.elements else array.default()
            case ast.ArrayIn(indexes=indexes, array=array):
                wanted = self._pattern(indexes)
                return int(any(_fits(k, wanted) for k in self.arrays[array.name].elements))
            case ast.Unary(op=op, operand=operand):
                number = self.value(operand)
                return {"-": wrap(-number), "~": ~number, "!": int(not number), "+": number}[op]
            case ast.Binary(op="&&", left=left, right=right):
                return int(bool(self.value(left)) and bool(self.value(right)))
            case ast.Binary(op="||", left=left, right=right):
                return int(bool(self.value(left)) or bool(self.value(right)))
            case ast.Binary(op=op, left=left, right=right):
                return self._operate(op, self.value(left), self.value(right))
            case ast.Compare(op=op, left=left, right=right):
                return compare(op, self.value(left), self.value(right))
            case ast.Ternary(cond=cond, yes=yes, no=no):
                return self.value(yes if self.value(cond) else no)
            case ast.RegexMatch(left=left, pattern=pattern, negated=negated):
                self.context.captures = Pattern(pattern.value).search(self.value(left))
                return int((self.context.captures is None) == negated)
            case ast.Assign():
                return self._assign(expr)
            case ast.Crement(op=op, prefix=prefix, operand=operand):
                key = self._target_key(operand)
                old = self._read(operand, key)
                new = wrap(old + (1 if op == "++" else -1))
                self._store(operand, key, new)
                return new if prefix else old
            case ast.StatOp(op=op, stat=stat):
                return self._extract(op, self.value(stat))
            case ast.Call(name=name, args=args):
                return self._call(name, [self.value(a) for a in args])
            case ast.Print():
                return self._print(expr)
            case _:
                raise Unsure(type(expr).__name__)

    def _cut(self, text: str) -> str:
        return text[: self.limit]

    def _local(self, name: str) -> Value:
        if name not in self.frame:
            raise Unsure("a variable without type")
        return self.frame[name]

    def _operate(self, op: str, left: Any, right: Any) -> Any:
        if op == ".":
            return self._cut(left + right)
        if op in ("/", "%") and right == 0:
            raise Fault("division by 0")
        return compute(op, left, right)

    def _key(self, indexes: list[ast.Expr | None]) -> tuple[Value, ...]:
        return tuple(self.value(i) for i in indexes if i is not None)

    def _pattern(self, indexes: list[ast.Expr | None]) -> list[Value | None]:
        return [None if i is None else self.value(i) for i in indexes]

    def _target_key(self, target: ast.Expr) -> tuple[Value, ...]:
        return self._key(target.indexes) if isinstance(target, ast.Index) else ()

    def _assign(self, expr: ast.Assign) -> Value:
        key = self._target_key(expr.target)
        right = self.value(expr.value)
        if expr.op == "<<<":
            self._aggregate_of(expr.target, key).add(right)
            return right
        if expr.op != "=":
            right = self._operate(expr.op[:-1], self._read(expr.target, key), right)
        self._store(expr.target, key, right)
        return right

    def _read(self, target: ast.Expr, key: tuple[Value, ...]) -> Any:
        if isinstance(target, ast.Index):
            array = self.arrays[_name(target)]
            return array.elements[key] if key in array.elements else array.default()
        return self.value(target)

    def _store(self, target: ast.Expr, key: tuple[Value, ...], value: Value) -> None:
        name = _name(target)
        if isinstance(target, ast.Index):
            array = self.arrays[name]
            array.room_for(key)
            array.elements[key] = value
        elif name in self.scalars:
            self.scalars[name] = value
        else:
            self.frame[name] = value

    def _aggregate_of(self, target: ast.Expr, key: tuple[Value, ...]) -> Aggregate:
        if not isinstance(target, ast.Index):
            return self.scalars[_name(target)]
        array = self.arrays[_name(target)]
        array.room_for(key)
        if key not in array.elements:
            array.elements[key] = array.default()
        return array.elements[key]

    def _extract(self, op: str, stat: Aggregate) -> int:
        if stat.count == 0 and op not in ("count", "sum"):
            raise Fault("empty aggregate")
        return stat.extract(op)

    def _buckets(self, table: ast.Histogram) -> list[int]:
        stat = self.value(table.stat)
        if stat.count == 0:
            raise Fault("empty aggregate")
        return stat.buckets(table.kind)

    def _bucket(self, table: ast.Histogram, index: ast.Expr) -> int:
        stat = self.value(table.stat)
        at = self.value(index)
        if stat.count == 0:
            raise Fault("empty aggregate")
        counts = stat.buckets(table.kind)
        if not 0 <= at < len(counts):
            raise Fault("histogram index out of range")
        return counts[at]

    # --- calls ----------------------------------------------------------------------------------

    def _call(self, name: str, args: list[Any]) -> Any:
        match name:
            case "exit" | "abort":
                if self.phase != "error":
                    self.phase = "stopping" if self.phase == "begin" else self.phase
                if name == "abort":
                    raise _Jump("abort")
                return 0
            case "error":
                raise Fault(args[0])
            case "tokenize" if len(args) == 1:
                name = "tokenize_next"
            case "warn" | "log":
                if name == "log":
                    self.out.append(args[0].removesuffix("\n").encode("latin-1") + b"\n")
                return 0
        overloads = self.functions.get((name, len(args)))
        if overloads is None:
            if name not in STRINGS:
                raise Unsure(name)
            result = STRINGS[name](self.context, SimpleNamespace(pos=0), *args)
            return self._cut(result) if isinstance(result, str) else result
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unsure("deep calls")
        outer = self.frame
        try:
            return self._body(overloads, args)
        finally:
            self.frame = outer
            self.depth -= 1

    def _body(self, overloads: list[ast.FunctionDef], args: list[Value]) -> Value:
        for function in overloads:
            self.frame = {p.name: a for p, a in zip(function.params, args)}
            assert isinstance(function.body, ast.Block)
            try:
                self.execute(function.body)
            except _Jump as jump:
                if jump.kind == "return":
                    return jump.value
                if jump.kind == "next":
                    continue
                raise
            return "" if function.type == "string" else 0
        raise Fault("all functions exhausted")

    # --- printing -------------------------------------------------------------------------------

    def _print(self, expr: ast.Print) -> Value:
        text = self._text(expr)
        if not expr.name.startswith("s"):
            self.out.append(text)
            return 0
        return self._cut(text.decode("latin-1").partition("\0")[0])

    def _text(self, expr: ast.Print) -> bytes:
        name = expr.name.removeprefix("s")
        if expr.args and isinstance(expr.args[0], ast.Histogram):
            table = expr.args[0]
            counts = self._buckets(table)
            directive = SimpleNamespace(conv=f"hist_{table.kind}", params=table.params)
            end = b"\n" if name == "println" else b""
            return render_histogram(directive, counts, 50, 2) + end  # type: ignore[arg-type]
        values = [self.value(a) for a in expr.args]
        if name == "print_char":
            return bytes([values[0] & 0xFF])
        given = [v.encode("latin-1") if isinstance(v, str) else v for v in values]
        if expr.format is not None:
            format_ = parse_format(expr.format.value)
            if any(d.conv in ("m", "M") for d in format_.directives):
                raise Unsure("memory")
            return render(format_, given)
        texts = [v if isinstance(v, bytes) else b"%d" % v for v in given]
        between = expr.delimiter.value.encode("latin-1") if expr.delimiter else b""
        return between.join(texts) + (b"\n" if name.endswith("ln") else b"")


def _name(target: ast.Expr) -> str:
    match target:
        case ast.Name(name=name) | ast.Index(base=ast.Name(name=name)):
            return name
        case _:
            raise Unsure("target")


def _fits(key: tuple[Value, ...], wanted: list[Value | None]) -> bool:
    return all(w is None or k == w for k, w in zip(key, wanted))


def _point(point: ast.ProbePoint) -> tuple[str, int]:
    """Kind and order; what belongs to no session never hits."""
    component = point.components[0]
    return component.name, component.arg if isinstance(component.arg, int) else 0


def _fault(message: str, _position: int) -> Fault:
    return Fault(message)


def _default(ty: str, shape: Shape | None) -> Callable[[], Any]:
    """What makes the value a global of a type begins with."""
    if shape is None:
        return int if ty == "long" else str
    spec = StatSpec(linear=shape.linear, shift=shape.shift or 0)
    return lambda: Aggregate(spec)
