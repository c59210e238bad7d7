"""A few words to write IR by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pystap.backend.reference import Environment, Event, Interpreter, Result
from pystap.ir import ops
from pystap.ir.module import Function, Handler, Module, Position, Probe, Regex
from pystap.ir.types import Global, LocalVar, StatSpec, Ty
from pystap.lang.limits import allow_deep_trees
from pystap.output.formatspec import parse_format
from pystap.probes.attach import Attach, SessionEvent, Timer

allow_deep_trees()  # now, so that it does not happen in the middle of a hypothesis test

LONG, STR = Ty.LONG, Ty.STR
Value = ops.Expr | int | str


def e(value: Value) -> ops.Expr:
    """A Python int or str as constant; anything else as it is."""
    if isinstance(value, int):
        return ops.Const(value)
    return ops.StrConst(value) if isinstance(value, str) else value


def get(var: LocalVar | Global) -> ops.Expr:
    """Value of a local or scalar."""
    return ops.Local(var) if isinstance(var, LocalVar) else ops.GlobalGet(var)


def put(var: LocalVar | Global, value: Value) -> ops.Stmt:
    """Assignment to a local or scalar."""
    if isinstance(var, LocalVar):
        return ops.SetLocal(var, e(value))
    return ops.SetGlobal(var, e(value))


def emit(fmt: str, *args: Value) -> ops.Stmt:
    """printf."""
    return ops.Emit(parse_format(fmt), [e(a) for a in args])


def sprint(fmt: str, *args: Value) -> ops.Expr:
    """sprintf."""
    return ops.Sprint(parse_format(fmt), [e(a) for a in args])


def arith(op: str, left: Value, right: Value, pos: int = -1) -> ops.Expr:
    """Arithmetic."""
    return ops.Arith(op, e(left), e(right), pos)  # type: ignore[arg-type]


def call_intrinsic(
    name: str, *args: Value, const: tuple[int | str, ...] = (), pos: int = -1
) -> ops.Expr:
    """An intrinsic."""
    return ops.Intrinsic(name, [e(a) for a in args], pos, const)


def do(name: str, *args: Value, pos: int = -1) -> ops.Stmt:
    """An intrinsic for its effect."""
    return ops.Eval(call_intrinsic(name, *args, pos=pos))


class Build:
    """A module under construction."""

    def __init__(self) -> None:
        self.module = Module()
        self._locals: list[LocalVar] = []

    def pos(self, token: str, line: int = 1, column: int = 1) -> int:
        """A position."""
        self.module.positions.append(Position(token, "t.stp", line, column))
        return len(self.module.positions) - 1

    def local(self, name: str = "v", ty: Ty = LONG, bound: int = 0) -> LocalVar:
        """A local; every handler and function built later has it."""
        var = LocalVar(name, ty, len(self._locals), bound)
        self._locals.append(var)
        return var

    def scalar(self, name: str = "g", ty: Ty = LONG, init: int | str = 0) -> Global:
        """A scalar global."""
        return self._global(Global(name, self._next(), "scalar", (), ty, init=init))

    def array(
        self, name: str = "a", keys: Sequence[Ty] = (LONG,), ty: Ty = LONG,
        capacity: int = 100, declared: bool = False, wrap: bool = False,
    ) -> Global:  # fmt: skip
        """An array of longs or strings."""
        return self._global(
            Global(name, self._next(), "array", tuple(keys), ty, capacity=capacity,
                   capacity_declared=declared, wrap=wrap)
        )  # fmt: skip

    def stat(
        self, name: str = "s", keys: Sequence[Ty] = (), shift: int = 0,
        linear: tuple[int, int, int] | None = None, capacity: int = 100,
    ) -> Global:  # fmt: skip
        """An aggregate or, with ``keys``, an array of them."""
        spec = StatSpec({"count"}, shift, linear)
        return self._global(
            Global(name, self._next(), "array" if keys else "scalar", tuple(keys), Ty.VOID, spec,
                   capacity=capacity if keys else 0)
        )  # fmt: skip

    def function(
        self, name: str, params: Sequence[LocalVar], result: Ty, body: list[ops.Stmt]
    ) -> Function:
        """A function; ``body`` may be filled later."""
        function = Function(name, list(params), result, 0, self._locals, body)
        self.module.functions.append(function)
        return function

    def regex(self, pattern: str) -> int:
        """A pattern."""
        self.module.regexes.append(Regex(pattern))
        return len(self.module.regexes) - 1

    def probe(
        self, body: list[ops.Stmt], point: str = "timer.s(1)", attach: Attach | None = None,
        condition: ops.Expr | None = None, name: str = "",
    ) -> int:  # fmt: skip
        """A probe with a handler of its own; gives its index."""
        index = len(self.module.handlers)
        self.module.handlers.append(Handler(index, self._locals, body))
        number = -1
        if condition is not None:
            self.module.conditions.append(condition)
            number = len(self.module.conditions) - 1
        attach = attach or Timer(1_000_000_000)
        self.module.probes.append(
            Probe(point, name or point, index, attach, "t.stp:1:1", condition=number)
        )
        return len(self.module.probes) - 1

    def session(self, kind: str, body: list[ops.Stmt], order: int = 0) -> int:
        """A begin, end or error probe."""
        return self.probe(body, kind, SessionEvent(kind, order))  # type: ignore[arg-type]

    def run(
        self, events: Iterable[tuple[int | str, Event]] = (), env: Environment | None = None
    ) -> Result:
        """Interpret it."""
        return Interpreter(self.module, env).run(events)

    def begin(self, *body: ops.Stmt, env: Environment | None = None) -> Result:
        """Interpret it with a last begin probe of these statements."""
        self.session("begin", list(body))
        return self.run(env=env)

    def _global(self, var: Global) -> Global:
        self.module.globals.append(var)
        return var

    def _next(self) -> int:
        return len(self.module.globals)


def value_of(expr: ops.Expr, env: Environment | None = None) -> str:
    """What an expression gives, as printed; a run-time error as its message."""
    fmt = "%s" if ops.type_of(expr) is STR else "%d"
    result = Build().begin(emit(fmt, expr), env=env)
    return "\n".join(result.messages[:1]) or result.output.decode("latin-1")
