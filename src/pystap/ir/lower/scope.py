"""What lowering keeps: :class:`Shared` per module, :class:`Frame` per handler or function."""

from __future__ import annotations

from collections.abc import Callable

from pystap.diag.diagnostic import Diagnostic, DiagnosticError
from pystap.ir import ops
from pystap.ir.effects import Effects, Summaries
from pystap.ir.module import Function, Module, Position, Regex
from pystap.ir.types import Global, LocalVar, StatPart, StatSpec, Ty
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.records import dataclass, field
from pystap.sema.program import DerivedProbe, FunctionSymbol, GlobalSymbol, LocalSymbol

_STAT_PARTS: tuple[StatPart, ...] = (
    "count", "sum", "min", "max", "avg", "variance", "hist_log", "hist_linear",
)  # fmt: skip


def ty_of(value: ast.ValueType) -> Ty:
    """IR type of a variable or expression; what nobody determined counts as a number."""
    return Ty.STR if value == "string" else Ty.LONG


def refuse(message: str, tok: Token) -> DiagnosticError:
    """The error for a construct that the IR cannot express."""
    return DiagnosticError(Diagnostic("semantic error", message, tok))


class Shared:
    """Tables of the module under construction; functions are lowered when first called."""

    def __init__(self, module: Module, make_function: Callable[[Shared, FunctionSymbol], None]):
        self.module = module
        self.summaries = Summaries()
        self.functions: dict[FunctionSymbol, Function] = {}
        self.conditions: dict[tuple[int, ...], int] = {}
        self.wide_pointers = False  # %p with all its digits, as before 1.3
        self.members_in_c = False  # embedded C knows parameters as members of THIS
        self.patterns: list[Token] = []  # where each of module.regexes stands
        self.accessors: dict[tuple[GlobalSymbol, bool], Function] = {}  # of embedded C; set: True
        self._make_function = make_function
        self._globals: dict[GlobalSymbol, Global] = {}
        self._positions: dict[Position, int] = {}
        self._regexes: dict[str, int] = {}

    @property
    def maxstringlen(self) -> int:
        """Most bytes of a string with its NUL."""
        return self.module.limits.maxstringlen

    def string(self, text: str) -> ops.StrConst:
        """A literal, cut to what a string can hold."""
        end = text.find("\0")
        if end >= 0:
            text = text[:end]
        return ops.StrConst(text[: self.maxstringlen - 1])

    def pos(self, tok: Token) -> int:
        """Index of the position of a token."""
        line, column = tok.source.position(tok.offset)
        position = Position(tok.describe(), tok.source.name, line, column)
        index = self._positions.get(position)
        if index is None:
            index = self._positions[position] = len(self.module.positions)
            self.module.positions.append(position)
        return index

    def regex(self, pattern: ast.String) -> int:
        """Index of a pattern."""
        index = self._regexes.get(pattern.value)
        if index is None:
            index = self._regexes[pattern.value] = len(self.module.regexes)
            self.module.regexes.append(Regex(pattern.value))
            self.patterns.append(pattern.tok)
        return index

    def add_global(self, symbol: GlobalSymbol, init: int | str, settable: bool) -> None:
        """Make the storage of a global; string bounds are found later."""
        limits = self.module.limits
        keys = tuple(ty_of(k) for k in symbol.keys or ())
        stats = self._stat_spec(symbol) if symbol.type == "stats" else None
        value = Ty.VOID if stats else ty_of(symbol.type)
        made = Global(
            name=symbol.name,
            index=len(self.module.globals),
            kind="array" if keys else "scalar",
            keys=keys,
            value=value,
            stats=stats,
            key_bounds=tuple(limits.maxstringlen if k is Ty.STR else 0 for k in keys),
            bound=limits.maxstringlen if value is Ty.STR else 0,
            init=self.string(init).value if isinstance(init, str) else init,
        )
        if keys:
            made.capacity = symbol.decl.size or limits.maxmapentries
            made.capacity_declared = symbol.decl.size is not None
            made.wrap = symbol.decl.wrap
        else:
            made.settable = settable and symbol.user and stats is None
        self._globals[symbol] = made
        self.module.globals.append(made)

    @staticmethod
    def _stat_spec(symbol: GlobalSymbol) -> StatSpec:
        parts = {p for p in _STAT_PARTS if p in symbol.stat_parts}
        return StatSpec(parts, symbol.stat_shift or 0, symbol.stat_linear)

    def global_of(self, symbol: GlobalSymbol) -> Global:
        """Storage of a global."""
        return self._globals[symbol]

    def function(self, symbol: FunctionSymbol) -> Function:
        """The function of a symbol, lowered now unless it was (or is being) lowered."""
        if symbol not in self.functions:
            self._make_function(self, symbol)
        return self.functions[symbol]


@dataclass(slots=True, eq=False)
class Frame:
    """Variables of the handler or function being lowered.

    ``probe`` is set in handlers.  ``stats`` maps value variables of iterations over aggregates
    to the array and the hidden variables that hold the key of the current element.
    """

    shared: Shared
    locals: list[LocalVar]
    probe: DerivedProbe | None = None
    stats: dict[LocalSymbol, tuple[Global, list[LocalVar]]] = field(default_factory=dict)
    _of_symbol: dict[LocalSymbol, LocalVar] = field(default_factory=dict)

    def add(self, name: str, ty: Ty) -> LocalVar:
        """A new local."""
        bound = self.shared.maxstringlen if ty is Ty.STR else 0
        var = LocalVar(name, ty, len(self.locals), bound)
        self.locals.append(var)
        return var

    def temp(self, ty: Ty) -> LocalVar:
        """A new local without name: set once, before its uses."""
        return self.add("", ty)

    def local(self, symbol: LocalSymbol) -> LocalVar:
        """The local of a symbol."""
        var = self._of_symbol.get(symbol)
        if var is None:
            var = self._of_symbol[symbol] = self.add(symbol.name, ty_of(symbol.type))
        return var

    def pos(self, tok: Token) -> int:
        """Index of the position of a token."""
        return self.shared.pos(tok)

    def effects(self, *nodes: ops.Expr | ops.Stmt) -> Effects:
        """What running lowered pieces may do."""
        found = Effects()
        for node in nodes:
            found.add(self.shared.summaries.remember(node))
        return found

    def keep(
        self, expr: ops.Expr, later: Effects | None, into: list[ops.Stmt]
    ) -> Callable[[], ops.Expr]:
        """A maker of copies of a value that is needed more than once, ``later`` lying between
        (None: anything may).

        Anything but a constant or an unchanged local is evaluated into a temporary by a
        statement added to ``into``.
        """
        match expr:
            case ops.Const(number):
                return lambda: ops.Const(number)
            case ops.StrConst(text):
                return lambda: ops.StrConst(text)
            case ops.Local(var) if later is not None and not later.changes(var):
                return lambda: ops.Local(var)
        temp = self.temp(ops.type_of(expr))
        into.append(ops.SetLocal(temp, expr))
        return lambda: ops.Local(temp)

    def settle(self, expr: ops.Expr, into: list[ops.Stmt]) -> ops.Expr:
        """The value of ``expr`` evaluated now, by statements added to ``into``."""
        return self.keep(expr, None, into)()
