"""Who emits what: one function for each operation, registered by the construct's own file."""

from __future__ import annotations

from collections.abc import Callable

from pystap.ir import ops
from pystap.typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.bpf.strings import Room
    from pystap.backend.llvm.builder import Value
    from pystap.ir.ops import Expr, Stmt

    Waiting = Value | Callable[[], Value]
    LongEmitter = Callable[[Scope, Any], Value]
    StringEmitter = Callable[[Scope, Any, Room], None]
    StatementEmitter = Callable[[Scope, Any], None]

_LONGS: Final[dict[type, Any]] = {}
_STRINGS: Final[dict[type, Any]] = {}
_STATEMENTS: Final[dict[type, Any]] = {}

# The file that emits an operation; it is imported when the first one is met.
_HOMES: Final = {
    "ContextValue": "context_values", "Load": "memory", "Store": "memory",
    "GlobalGet": "globals_", "SetGlobal": "globals_", "AddGlobal": "globals_",
    "Sprint": "format", "Call": "calls", "Intrinsic": "intrinsics", "Match": "matching",
    "MapGet": "maps", "MapHas": "maps", "SetMap": "maps", "AddMap": "maps",
    "DeleteMap": "maps", "DeleteGlobal": "maps",
    "StatGet": "stats", "StatAdd": "stats",
    "HistGet": "histograms", "EmitHist": "histograms", "SprintHist": "histogram_text",
    "Loop": "loops", "Foreach": "foreach", "ForeachHist": "foreach",
    "Try": "catching", "Emit": "output", "Locked": "locks",
    "StrCompare": "strings",
}  # fmt: skip

_LONG: Final = 200  # statements; see parts
_CROWD: Final = 6  # so many values may wait
_SIMPLE: Final = (ops.Const, ops.Local, ops.GlobalGet, ops.ContextValue)  # done without a call

_F = TypeVar("_F", bound=Callable[..., Any])


def emits_long(*kinds: type) -> Callable[[_F], _F]:
    """Register the emitter of operations whose value is a long."""
    return _register(_LONGS, kinds)


def emits_string(*kinds: type) -> Callable[[_F], _F]:
    """Register the emitter that writes the string value of operations into memory."""
    return _register(_STRINGS, kinds)


def emits_statement(*kinds: type) -> Callable[[_F], _F]:
    """Register the emitter of statements."""
    return _register(_STATEMENTS, kinds)


def _register(table: dict[type, Any], kinds: tuple[type, ...]) -> Callable[[_F], _F]:
    def register(emitter: _F) -> _F:
        for kind in kinds:
            table[kind] = emitter
        return emitter

    return register


def _emitter(table: dict[type, Any], kind: type) -> Any:
    """The emitter of a kind of operation, whose file is imported if need be."""
    found = table.get(kind)
    if found is None:
        from importlib import import_module

        home = _HOMES.get(kind.__name__, "expressions")
        for name in (home, "strings"):  # there are strings of kinds that live elsewhere
            if kind not in table:
                import_module(f"pystap.backend.bpf.{name}")
        found = table[kind]
    return found


def long(s: Scope, expr: Expr) -> Value:
    """Emit an expression; its value as ``i64``."""
    value: Value = _emitter(_LONGS, type(expr))(s, expr)
    return value


def pair(s: Scope, left: Expr, right: Expr) -> tuple[Value, Value]:
    """Emit two operands.

    LLVM has few registers and puts values on the stack, which is small, while they wait for
    others; and it likes to compute at the end of a large expression, when all that goes into it
    is there.  So ``weight`` counts the values that may wait instead of the one emitted last, and
    where too many would wait (``held``) they are kept in the frame.
    """
    s.weight = 1
    first = long(s, left)
    weight = s.weight
    if isinstance(right, _SIMPLE) or isinstance(left, ops.Const):
        return first, long(s, right)
    kept = None
    if s.held + weight > _CROWD and s.context is not None:
        kept = keep(s, first)
        weight = 0
    s.held += weight
    s.weight = 1
    second = long(s, right)
    s.held -= weight
    s.weight += max(weight, 1)
    return kept() if kept else first, second


def settled(s: Scope, value: Value) -> Value:
    """The value of an operation, computed here if too much would wait for it."""
    if s.weight <= 2 * _CROWD:
        return value
    s.weight = 1
    word = s.word()
    s.b.store(value, word, volatile=True)
    return s.b.load("i64", word, volatile=True)


def waiting(s: Scope, expr: Expr) -> Waiting:
    """Emit one of several operands, which waits for the others; the caller restores ``held``."""
    s.weight = 1
    value = long(s, expr)
    if isinstance(expr, ops.Const):
        return value
    if s.held + s.weight > _CROWD and s.context is not None:
        return keep(s, value)
    s.held += s.weight
    return value


def present(value: Waiting) -> Value:
    """The value of an operand that waited."""
    return value() if callable(value) else value


def keep(s: Scope, value: Value) -> Callable[[], Value]:
    """Keep a value in the frame; what loads it again."""
    s.need_context()
    offset = s.body.frame.allocate(8)
    s.b.store(value, s.slot(offset))
    return lambda: s.b.load("i64", s.slot(offset), volatile=True)


def string_into(s: Scope, expr: Expr, room: Room) -> None:
    """Emit an expression and write its string value to ``room``."""
    _emitter(_STRINGS, type(expr))(s, expr, room)


def statement(s: Scope, stmt: Stmt) -> None:
    """Emit one statement."""
    with s.temporaries():
        _emitter(_STATEMENTS, type(stmt))(s, stmt)


def statements(s: Scope, body: list[Stmt]) -> None:
    """Emit statements in order."""
    if len(body) > _LONG and s.context is not None:
        from pystap.backend.bpf.parts import emit_parts

        emit_parts(s, body)
        return
    for stmt in body:
        if not s.b.live:
            return  # behind break, return, next ...
        with s.temporaries():
            _emitter(_STATEMENTS, type(stmt))(s, stmt)
