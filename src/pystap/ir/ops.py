"""The operations of the IR: typed expression trees and structured statements.

Evaluation is strict, left to right.  An operation with a ``pos`` (index into
``Module.positions``) can raise a run-time error there: the error unwinds to the nearest ``Try``
or ends the handler.  With ``pos`` -1 it cannot fail (a division by a known non-zero number).

Lowering guarantees that the variable or element that an operand stands for is not changed by a
later operand of the same operation (it copies to a local where needed), so a runtime may hold
string operands by reference; the results of calls, joins and intrinsics are fresh values.
The value of ``SetLocal`` and ``SetGlobal`` may mention the variable that is set.  Arguments of a
call are copied into the parameters.

A node stands in one place only.
"""

from __future__ import annotations

from pystap.ir.types import Global, LocalVar, Ty
from pystap.output.formats import Format
from pystap.records import dataclass, field
from pystap.typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pystap.ir.module import Function

# --- values -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Const:
    """A long."""

    value: int


@dataclass(slots=True)
class StrConst:
    """A string literal (one character per byte), already cut to MAXSTRINGLEN - 1."""

    value: str


@dataclass(slots=True)
class Local:
    """Value of a local."""

    var: LocalVar


@dataclass(slots=True)
class GlobalGet:
    """Value of a scalar global."""

    var: Global


@dataclass(slots=True)
class MapGet:
    """Value of an element, 0 or "" when absent."""

    var: Global
    keys: list[Expr]


@dataclass(slots=True)
class MapHas:
    """1 if an element exists; None in ``keys`` matches anything."""

    var: Global
    keys: list[Expr | None]


ArithOp = Literal["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", ">>>"]
CompareOp = Literal["==", "!=", "<", "<=", ">", ">="]


@dataclass(slots=True)
class Arith:
    """64-bit arithmetic, wrapping; ``/ %`` can raise "division by 0" at ``pos``; counts of
    shifts are masked to 6 bits; ``x / -1`` negates, ``x % ±1`` is 0."""

    op: ArithOp
    left: Expr
    right: Expr
    pos: int = -1


@dataclass(slots=True)
class Neg:
    """Two's complement negation."""

    operand: Expr


@dataclass(slots=True)
class BitNot:
    """``~``."""

    operand: Expr


@dataclass(slots=True)
class Not:
    """``!``: 1 if the operand is 0."""

    operand: Expr


@dataclass(slots=True)
class Compare:
    """Signed comparison of longs, 0 or 1."""

    op: CompareOp
    left: Expr
    right: Expr


@dataclass(slots=True)
class StrCompare:
    """Byte-wise comparison of strings, 0 or 1."""

    op: CompareOp
    left: Expr
    right: Expr


@dataclass(slots=True)
class Logic:
    """Short-circuit ``&& ||``, 0 or 1."""

    op: Literal["&&", "||"]
    left: Expr
    right: Expr


@dataclass(slots=True)
class Cond:
    """``cond ? yes : no``; both arms have type ``ty``."""

    cond: Expr
    yes: Expr
    no: Expr
    ty: Ty


@dataclass(slots=True)
class Concat:
    """Strings joined and cut to MAXSTRINGLEN - 1."""

    parts: list[Expr]


@dataclass(slots=True)
class Sprint:
    """The string a format makes of its arguments (``sprintf`` and friends)."""

    format: Format
    args: list[Expr]
    pos: int = -1


@dataclass(slots=True)
class Call:
    """A function call.  ``targets`` are tried in order: when one ends by ``next``, the following
    is called with the same arguments; none left raises "all functions exhausted" at ``pos``."""

    targets: list[Function]
    args: list[Expr]
    pos: int

    @property
    def ty(self) -> Ty:
        """Result type."""
        return self.targets[0].result


@dataclass(slots=True)
class Intrinsic:
    """An operation a runtime implements itself; see :mod:`pystap.ir.intrinsics`.

    ``const`` holds literal parameters that must be known at translation (table names, sizes).
    """

    name: str
    args: list[Expr]
    pos: int = -1
    const: tuple[int | str, ...] = ()


Space = Literal["kernel", "user"]


@dataclass(slots=True)
class Load:
    """``size`` (1 2 4 8) bytes at an address, extended to 64 bits; faults raise at ``pos``."""

    addr: Expr
    space: Space
    size: int
    signed: bool
    pos: int = -1
    bit_offset: int = 0  # of a bitfield, within the loaded unit
    bit_size: int = 0  # 0: not a bitfield


@dataclass(slots=True)
class ContextValue:
    """A number the event brings with it, captured at the start of the handler.

    ``kind``: ``arg`` (argument ``index`` of a tracepoint, BTF order without the void* data),
    ``sysarg`` (system-call argument 0-5), ``sysnr``, ``sysret``, ``reg`` (register ``index`` in
    DWARF numbering of the interrupted or probed context), ``funcarg`` (integer argument ``index``
    of the probed function by calling convention), ``retval``, ``ip``, ``probe_id`` (index into
    ``Module.probes`` of the probe that fired), ``saved`` (at a return: what the entry of the same
    call has set; made and understood by one runtime only), ``perf`` fields.
    """

    kind: Literal[
        "arg", "sysarg", "sysnr", "sysret", "reg", "funcarg", "retval", "ip", "probe_id", "saved"
    ]
    index: int = 0


@dataclass(slots=True)
class StatGet:
    """An extractor over the merged aggregate.  All but count and sum raise "empty aggregate" at
    ``pos`` when there is no sample.  ``keys`` is empty for scalars.  ``shift`` is of variance."""

    op: Literal["count", "sum", "min", "max", "avg", "variance"]
    var: Global
    keys: list[Expr]
    pos: int = -1


@dataclass(slots=True)
class HistGet:
    """Count of one histogram bucket; range and emptiness errors at ``pos``."""

    kind: Literal["log", "linear"]
    var: Global
    keys: list[Expr]
    bucket: Expr
    pos: int = -1


@dataclass(slots=True)
class SprintHist:
    """A histogram as text."""

    kind: Literal["log", "linear"]
    var: Global
    keys: list[Expr]
    newline: bool
    pos: int = -1


@dataclass(slots=True)
class Match:
    """Regular-expression match of ``operand`` by DFA ``regex`` (index in ``Module.regexes``)."""

    regex: int
    operand: Expr
    negated: bool


@dataclass(slots=True)
class Seq:
    """Statements, then a value."""

    body: list[Stmt]
    value: Expr


@dataclass(slots=True)
class CText:
    """Guru: C text from a script, with the place of its first character."""

    text: str
    source: str
    line: int
    column: int

    @property
    def may_fail(self) -> bool:
        """Whether it may raise a run-time error."""
        return any(word in self.text for word in ("STAP_ERROR", "_stp_error", "kread"))


@dataclass(slots=True)
class CExpr:
    """Guru: a C expression, of type ``const char *`` when a string.

    It may use globals through ``accessors``: functions to get and set them, by the names of the
    macros that the text knows them under.  ``pure``: it may be left out.
    """

    text: CText
    ty: Ty
    accessors: dict[str, Function]
    pos: int
    pure: bool


Expr: TypeAlias = (
    Const
    | StrConst
    | Local
    | GlobalGet
    | MapGet
    | MapHas
    | Arith
    | Neg
    | BitNot
    | Not
    | Compare
    | StrCompare
    | Logic
    | Cond
    | Concat
    | Sprint
    | Call
    | Intrinsic
    | Load
    | ContextValue
    | StatGet
    | HistGet
    | SprintHist
    | Match
    | Seq
    | CExpr
)

# --- statements ---------------------------------------------------------------------------------


@dataclass(slots=True)
class SetLocal:
    """``var = value``."""

    var: LocalVar
    value: Expr


@dataclass(slots=True)
class SetGlobal:
    """``var = value`` for a scalar."""

    var: Global
    value: Expr


@dataclass(slots=True)
class AddGlobal:
    """``var += delta``, commutative: one atomic addition suffices."""

    var: Global
    delta: Expr


@dataclass(slots=True)
class SetMap:
    """``var[keys] = value``; raises the overflow error at ``pos``."""

    var: Global
    keys: list[Expr]
    value: Expr
    pos: int


@dataclass(slots=True)
class AddMap:
    """``var[keys] += delta``, commutative; creates the element; overflow error at ``pos``."""

    var: Global
    keys: list[Expr]
    delta: Expr
    pos: int


@dataclass(slots=True)
class StatAdd:
    """``var[keys] <<< value`` (no keys: scalar); overflow error at ``pos``."""

    var: Global
    keys: list[Expr]
    value: Expr
    pos: int


@dataclass(slots=True)
class DeleteGlobal:
    """A scalar back to 0 or "", an aggregate or array emptied."""

    var: Global


@dataclass(slots=True)
class DeleteMap:
    """Elements removed; None in ``keys`` matches anything; absent ones are fine."""

    var: Global
    keys: list[Expr | None]


@dataclass(slots=True)
class Store:
    """Guru: ``size`` bytes written at an address."""

    addr: Expr
    space: Space
    size: int
    value: Expr
    pos: int


@dataclass(slots=True)
class SetContext:
    """Guru: change what the event brought: the low ``bits`` of a ``ContextValue``'s register."""

    kind: Literal["sysarg", "sysret", "reg", "funcarg", "retval", "saved"]
    index: int
    bits: int
    value: Expr
    pos: int


@dataclass(slots=True)
class CBody:
    """Guru: C text in place of a function's body; ``accessors`` and ``pure`` as in ``CExpr``.

    ``keeps_parameters``: it does not change them.  ``members``: it knows them as members of
    ``THIS``, too.
    """

    text: CText
    accessors: dict[str, Function]
    pos: int
    pure: bool
    keeps_parameters: bool
    members: bool

    @property
    def passes(self) -> bool:
        """Whether it may give way to the next overload."""
        return "STAP_NEXT" in self.text.text


@dataclass(slots=True)
class If:
    """Two-way branch on non-zero."""

    cond: Expr
    then: list[Stmt]
    orelse: list[Stmt] = field(default_factory=list)


@dataclass(slots=True)
class Loop:
    """While ``cond``: ``body``; ``continue`` goes to ``step`` and then ``cond``."""

    cond: Expr
    body: list[Stmt]
    step: list[Stmt] = field(default_factory=list)


@dataclass(slots=True)
class Foreach:
    """Iteration over a snapshot of an array's elements.

    ``keys`` receive the key parts; ``value`` the value (not for aggregates, whose body reads
    them by key).  ``slice`` filters by key parts (None: any).  Sorting: ``order`` +1 ascending,
    -1 descending, 0 none; ``column`` 0 sorts by value (aggregates: ``sort_op``), 1.. by that key.
    ``limit`` bounds the rounds (None: all; a non-positive number means none).
    """

    var: Global
    keys: list[LocalVar]
    value: LocalVar | None
    slice: list[Expr | None] | None
    order: Literal[-1, 0, 1]
    column: int
    sort_op: Literal["count", "sum", "min", "max", "avg", "variance"]
    limit: Expr | None
    body: list[Stmt]
    pos: int = -1


@dataclass(slots=True)
class ForeachHist:
    """Iteration over all bucket indexes of a histogram, both out-of-range ones included."""

    kind: Literal["log", "linear"]
    stat: Global
    stat_keys: list[Expr]
    bucket: LocalVar
    limit: Expr | None
    order: Literal[-1, 0, 1]
    body: list[Stmt]
    pos: int = -1


@dataclass(slots=True)
class Break:
    """Leave the innermost loop."""


@dataclass(slots=True)
class Continue:
    """Next round of the innermost loop."""


@dataclass(slots=True)
class Return:
    """Leave the function (value None: zero or empty) or, in a handler, the handler."""

    value: Expr | None = None


@dataclass(slots=True)
class Next:
    """In a handler: leave it.  In a function: give way to the next overload."""


@dataclass(slots=True)
class Try:
    """``body``; a run-time error in it runs ``handler`` with the message in ``var``."""

    body: list[Stmt]
    var: LocalVar | None
    handler: list[Stmt]


@dataclass(slots=True)
class Emit:
    """One print call: ``format`` applied to ``args`` goes to the output."""

    format: Format
    args: list[Expr]
    pos: int = -1


@dataclass(slots=True)
class EmitHist:
    """A histogram printed."""

    kind: Literal["log", "linear"]
    var: Global
    keys: list[Expr]
    newline: bool
    pos: int = -1


@dataclass(slots=True)
class Eval:
    """An expression for its effect."""

    value: Expr


@dataclass(slots=True)
class Action:
    """``count`` statements are about to run: raises "MAXACTION exceeded" at ``pos``."""

    count: int
    pos: int


LockMode = Literal["read", "update", "write"]


@dataclass(slots=True)
class Locked:
    """``body`` runs with the locks held, taken in the order given (ascending global index).

    Readers share with readers, updaters (commutative operations only) with updaters, a writer
    with nobody.  A lock that cannot be had in bounded time skips the handler, counted; lowering
    only places regions where nothing visible has happened before.
    """

    locks: list[tuple[Global, LockMode]]
    body: list[Stmt]


Stmt: TypeAlias = (
    SetLocal
    | SetGlobal
    | AddGlobal
    | SetMap
    | AddMap
    | StatAdd
    | DeleteGlobal
    | DeleteMap
    | Store
    | SetContext
    | CBody
    | If
    | Loop
    | Foreach
    | ForeachHist
    | Break
    | Continue
    | Return
    | Next
    | Try
    | Emit
    | EmitHist
    | Eval
    | Action
    | Locked
)


def type_of(expr: Expr) -> Ty:
    """Type of an expression."""
    match expr:
        case StrConst() | Concat() | Sprint() | SprintHist():
            return Ty.STR
        case Local(var):
            return var.ty
        case GlobalGet(var) | MapGet(var):
            return var.value
        case Cond():
            return expr.ty
        case Call() | CExpr():
            return expr.ty
        case Intrinsic(name):
            from pystap.ir.intrinsics import INTRINSICS

            return INTRINSICS[name].result
        case Seq():
            return type_of(expr.value)
        case _:
            return Ty.LONG


def is_const(expr: Expr, value: int) -> bool:
    """Whether an expression is this number."""
    return isinstance(expr, Const) and expr.value == value
