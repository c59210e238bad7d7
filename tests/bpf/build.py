"""Short ways to write IR by hand."""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.module import Function, Handler, Limits, Module, Position, Probe
from pystap.ir.types import Global, LocalVar, StatSpec, Ty
from pystap.output.formatspec import parse_format
from pystap.probes.attach import Attach, SessionEvent

LONG, STR = Ty.LONG, Ty.STR


class ModuleBuilder:
    """Collects the parts of a module."""

    def __init__(self, **limits: object) -> None:
        self.module = Module(limits=Limits(**limits))

    def pos(self, token: str = "operator '/'") -> int:
        """A fresh position; its line is its number."""
        line = len(self.module.positions) + 1
        self.module.positions.append(Position(token, "<input>", line, 1))
        return line - 1

    def scalar(self, name: str, ty: Ty = LONG, init: int | str = 0, bound: int = 0) -> Global:
        return self._global(
            Global(name, self._index(), "scalar", (), ty, None, (), bound, init=init)
        )

    def stat(self, name: str, spec: StatSpec) -> Global:
        return self._global(Global(name, self._index(), "scalar", (), Ty.VOID, spec))

    def array(
        self, name: str, keys: tuple[Ty, ...], value: Ty = LONG, capacity: int = 64, *,
        key_bounds: tuple[int, ...] = (), bound: int = 0, wrap: bool = False,
        declared: bool = False, stats: StatSpec | None = None,
    ) -> Global:  # fmt: skip
        bounds = key_bounds or tuple(512 if k is STR else 0 for k in keys)
        return self._global(
            Global(
                name, self._index(), "array", keys, Ty.VOID if stats else value, stats, bounds,
                bound, capacity, declared, wrap,
            )
        )  # fmt: skip

    def _index(self) -> int:
        return len(self.module.globals)

    def _global(self, var: Global) -> Global:
        self.module.globals.append(var)
        return var

    def handler(self, *body: ops.Stmt) -> Handler:
        found = Handler(len(self.module.handlers), locals_of(body), list(body))
        self.module.handlers.append(found)
        return found

    def probe(self, attach: Attach, *body: ops.Stmt, point: str = "begin") -> int:
        handler = self.handler(*body)
        self.module.probes.append(Probe(point, point, handler.index, attach, "<input>:1:1"))
        return len(self.module.probes) - 1

    def begin(self, *body: ops.Stmt) -> int:
        return self.probe(SessionEvent("begin"), *body)

    def function(
        self, name: str, params: list[LocalVar], result: Ty, *body: ops.Stmt, bound: int = 0
    ) -> Function:
        made = Function(name, params, result, bound)
        self.fill(made, *body)
        self.module.functions.append(made)
        return made

    def fill(self, function: Function, *body: ops.Stmt) -> None:
        function.body = list(body)
        function.locals = list(function.params)
        for var in locals_of(body):
            if all(var is not p for p in function.locals):
                function.locals.append(var)


def locals_of(body: object) -> list[LocalVar]:
    """All locals that statements mention."""
    found: list[LocalVar] = []
    pending: list[object] = [body]
    while pending:
        here = pending.pop()
        if isinstance(here, LocalVar):
            if all(here is not v for v in found):
                found.append(here)
        elif isinstance(here, (list, tuple)) and not hasattr(here, "_fields"):
            pending.extend(here)
        elif type(here).__module__ == ops.__name__:
            pending.extend(getattr(here, name) for name in type(here).__match_args__)
    return found


_count = 0


def long_var(name: str = "x") -> LocalVar:
    global _count
    _count += 1
    return LocalVar(name, LONG, _count)


def str_var(name: str = "s", bound: int = 0) -> LocalVar:
    global _count
    _count += 1
    return LocalVar(name, STR, _count, bound)


def ex(value: object) -> ops.Expr:
    """A Python value or variable as expression."""
    if isinstance(value, bool | int):
        return ops.Const(int(value))
    if isinstance(value, str):
        return ops.StrConst(value)
    if isinstance(value, LocalVar):
        return ops.Local(value)
    if isinstance(value, Global):
        return ops.GlobalGet(value)
    return value  # type: ignore[return-value]


def arith(left: object, op: str, right: object, pos: int = -1) -> ops.Arith:
    return ops.Arith(op, ex(left), ex(right), pos)  # type: ignore[arg-type]


def compare(left: object, op: str, right: object) -> ops.Compare:
    return ops.Compare(op, ex(left), ex(right))  # type: ignore[arg-type]


def scompare(left: object, op: str, right: object) -> ops.StrCompare:
    return ops.StrCompare(op, ex(left), ex(right))  # type: ignore[arg-type]


def let(var: LocalVar | Global, value: object) -> ops.Stmt:
    if isinstance(var, Global):
        return ops.SetGlobal(var, ex(value))
    return ops.SetLocal(var, ex(value))


def concat(*parts: object) -> ops.Concat:
    return ops.Concat([ex(p) for p in parts])


def printf(fmt: str, *args: object) -> ops.Emit:
    return ops.Emit(parse_format(fmt), [ex(a) for a in args])


def sprintf(fmt: str, *args: object) -> ops.Sprint:
    return ops.Sprint(parse_format(fmt), [ex(a) for a in args])


def call(function: Function, *args: object, pos: int = 0) -> ops.Call:
    return ops.Call([function], [ex(a) for a in args], pos)


def intrinsic(name: str, *args: object, pos: int = -1, const: tuple = ()) -> ops.Intrinsic:
    return ops.Intrinsic(name, [ex(a) for a in args], pos, const)


def keys(*values: object) -> list:
    return [None if v is None else ex(v) for v in values]
