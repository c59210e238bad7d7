"""The syntax tree.

Nodes are plain data. Every node keeps ``tok``, the token a diagnostic about it points at.
Expressions carry two slots that later stages fill: ``type`` (by type inference) and ``ctype``
(the kernel or program type an integer value was derived from, so ``->`` and ``[]`` keep working
on it).  Concrete classes are never subclassed, so ``isinstance`` and ``match`` are safe switches.
"""

from __future__ import annotations

from pystap.lang.tokens import Token
from pystap.records import dataclass, field
from pystap.typing import Final, Literal, TypeAlias, TypeVar, dataclass_transform

C = TypeVar("C")


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
def _node(cls: type[C]) -> type[C]:
    """Nodes are equal only to themselves (see :func:`pystap.lang.visit.same_tree`)."""
    return dataclass(slots=True, kw_only=True, eq=False)(cls)


# What inference may find out about an expression, variable or function.
ValueType = Literal["unknown", "long", "string", "stats"]


@_node
class Node:
    """Common part of every node."""

    tok: Token


@_node
class Expr(Node):
    """Common part of every expression."""

    type: ValueType = "unknown"
    ctype: object | None = None


# --- primary expressions ------------------------------------------------------------------------


@_node
class Number(Expr):
    """Integer literal, already wrapped to signed 64 bits."""

    value: int


@_node
class String(Expr):
    """String literal, adjacent literals glued and escapes decoded."""

    value: str


@_node
class Name(Expr):
    """A variable: local, global scalar, or (where an array is expected) a bare array name.

    ``symbol`` is filled by name resolution with a sema.symbols object.
    """

    name: str
    symbol: object | None = None


@_node
class Index(Expr):
    """``array[i, j]``; ``None`` in ``indexes`` is the ``*`` of a slice.

    Also ``@hist_log(x)[i]`` when ``base`` is a :class:`Histogram`.
    """

    base: Name | Histogram
    indexes: list[Expr | None]


@_node
class Call(Expr):
    """A function call; ``functions`` is filled by resolution, in the order tried (overloads)."""

    name: str
    args: list[Expr]
    functions: list[object] = field(default_factory=list)


@_node
class EmbeddedExpr(Expr):
    """``%{ C expression %}``; ``code`` is the text between the marks.

    ``globals`` is filled by resolution: what its markers name."""

    code: str
    globals: list[object] = field(default_factory=list)


# --- operators ----------------------------------------------------------------------------------


@_node
class Unary(Expr):
    """``+ - ! ~`` applied to ``operand``."""

    op: str
    operand: Expr


@_node
class Crement(Expr):
    """``++x --x x++ x--``; ``op`` is ``++`` or ``--``."""

    op: str
    prefix: bool
    operand: Expr


@_node
class Binary(Expr):
    """``+ - * / % & | ^ << >> >>> && ||`` and string ``.``."""

    op: str
    left: Expr
    right: Expr


@_node
class Compare(Expr):
    """``< > <= >= == !=`` over two longs or two strings."""

    op: str
    left: Expr
    right: Expr


@_node
class RegexMatch(Expr):
    """``left =~ "pattern"`` or, with ``negated``, ``!~``."""

    left: Expr
    pattern: String
    negated: bool


@_node
class ArrayIn(Expr):
    """``[a, *] in array``; ``None`` is ``*``."""

    indexes: list[Expr | None]
    array: Name


@_node
class Ternary(Expr):
    """``cond ? yes : no``."""

    cond: Expr
    yes: Expr
    no: Expr


@_node
class Assign(Expr):
    """``target op value`` with op one of ``= <<< += -= *= /= %= <<= >>= &= ^= |= .=``."""

    op: str
    target: Expr
    value: Expr


# --- aggregates ---------------------------------------------------------------------------------


@_node
class StatOp(Expr):
    """``@count @sum @min @max @avg @variance`` of ``stat`` (a Name or Index).

    ``op`` is written without ``@``; ``params`` holds the literal shift of ``@variance``.
    """

    op: str
    stat: Expr
    params: list[int] = field(default_factory=list)


@_node
class Histogram(Expr):
    """``@hist_log(x)`` or ``@hist_linear(x, start, stop, step)``; ``kind`` is log or linear."""

    kind: Literal["log", "linear"]
    stat: Expr
    params: list[int] = field(default_factory=list)


# --- print family -------------------------------------------------------------------------------


@_node
class Print(Expr):
    """A call of the print family.

    ``name`` is one of print println printd printdln printf sprint sprintln sprintd sprintdln
    sprintf print_char.  For the ``f`` forms ``format`` is the literal; for ``d`` forms
    ``delimiter``.  A histogram is a sole argument of class :class:`Histogram`.
    """

    name: str
    args: list[Expr]
    format: String | None = None
    delimiter: String | None = None


# --- target variables and the @-operators -------------------------------------------------------


@_node
class Member:
    """``->name``."""

    name: str
    tok: Token


@_node
class Subscript:
    """``[index]`` on a target value."""

    index: Expr
    tok: Token


@_node
class Pretty:
    """Trailing ``$`` (depth 1) or ``$$`` (depth 2) of a target value."""

    depth: int
    tok: Token


Component: TypeAlias = Member | Subscript | Pretty


@_node
class TargetVar(Expr):
    """``$name->a[i]->b$``; ``name`` keeps its dollars (``$x``, ``$$vars``)."""

    name: str
    components: list[Component] = field(default_factory=list)
    address_of: bool = False


@_node
class AtVar(Expr):
    """``@var("name[@cu]"[, "module"])`` with components."""

    target: str
    module: str | None
    components: list[Component] = field(default_factory=list)
    address_of: bool = False


@_node
class Cast(Expr):
    """``@cast(operand, "type"[, "modules"])`` with components."""

    operand: Expr
    type_name: str
    module: str | None
    components: list[Component] = field(default_factory=list)
    address_of: bool = False


@_node
class Autocast(Expr):
    """``expr->member`` or ``expr[i]`` where ``expr`` is an ordinary value with a known ctype."""

    operand: Expr
    components: list[Component] = field(default_factory=list)
    address_of: bool = False


@_node
class AtOp(Expr):
    """The remaining @-operators: defined entry perf const enum enumname probewrite kregister
    uregister kderef uderef.  ``name`` is written without ``@``."""

    name: str
    args: list[Expr]


# --- statements ---------------------------------------------------------------------------------


@_node
class Block(Node):
    """``{ ... }``."""

    body: list[Stmt]


@_node
class ExprStmt(Node):
    """An expression for its effect."""

    expr: Expr


@_node
class Null(Node):
    """A bare ``;``."""


@_node
class If(Node):
    """``if (cond) then [else orelse]``."""

    cond: Expr
    then: Stmt
    orelse: Stmt | None


@_node
class While(Node):
    """``while (cond) body``."""

    cond: Expr
    body: Stmt


@_node
class For(Node):
    """``for (init; cond; step) body``; absent parts are None."""

    init: Expr | None
    cond: Expr | None
    step: Expr | None
    body: Stmt


@_node
class Foreach(Node):
    """``foreach (value = [keys] in base[slice] @op± limit N) body``.

    ``sort`` is ``+``, ``-`` or ``""``; ``sort_column`` is 0 for the value (or the array itself)
    and 1.. for that key; ``sort_op`` is the aggregate operator without ``@`` (``count`` by
    default when the value is an aggregate).
    """

    keys: list[Name]
    value: Name | None
    base: Name | Histogram
    slice: list[Expr | None] | None
    sort: Literal["", "+", "-"]
    sort_column: int
    sort_op: str | None
    limit: Expr | None
    body: Stmt


@_node
class Return(Node):
    """``return [value]``."""

    value: Expr | None


@_node
class Break(Node):
    """``break``."""


@_node
class Continue(Node):
    """``continue``."""


@_node
class Next(Node):
    """``next``."""


@_node
class Delete(Node):
    """``delete x``: a Name (scalar or whole array) or an Index (with None for ``*``)."""

    target: Expr


@_node
class TryCatch(Node):
    """``try body catch (var) handler``."""

    body: Block
    var: Name | None
    handler: Block


@_node
class EmbeddedCode(Node):
    """``%{ ... %}`` at top level or as a function body; ``globals`` as in an expression."""

    code: str
    globals: list[object] = field(default_factory=list)


Stmt: TypeAlias = (
    Block
    | ExprStmt
    | Null
    | If
    | While
    | For
    | Foreach
    | Return
    | Break
    | Continue
    | Next
    | Delete
    | TryCatch
    | EmbeddedCode
)

# --- top level ----------------------------------------------------------------------------------


_WORD: Final = (1 << 64) - 1
# as a number with a sign; nothing lies beyond (the kernel's arch/x86/x86_64/mm.rst)
_END_OF_KERNEL: Final = -(1 << 24)


def point_number(value: int) -> str:
    """A number in a probe point: an address of the kernel as such."""
    return f"{value & _WORD:#x}" if value < _END_OF_KERNEL else str(value)


@_node
class PointComponent:
    """``name`` or ``name(arg)``; the name may hold ``*`` and ``**``."""

    name: str
    arg: int | str | None
    tok: Token


@_node
class ProbePoint(Node):
    """One probe point after brace expansion."""

    components: list[PointComponent]
    optional: bool = False
    sufficient: bool = False
    condition: Expr | None = None

    def text(self) -> str:
        """The probe point as written, without ``? ! if``."""
        parts = []
        for c in self.components:
            if c.arg is None:
                parts.append(c.name)
            elif isinstance(c.arg, int):
                parts.append(f"{c.name}({point_number(c.arg)})")
            else:
                parts.append(f'{c.name}("{c.arg}")')
        return ".".join(parts)


@_node
class ProbeDef(Node):
    """``probe P1, P2 { body }``; ``private`` does not exist for probes."""

    points: list[ProbePoint]
    body: Block


@_node
class AliasDef(Node):
    """``probe A = B = P1, P2 {prologue}[, {epilogue}]`` or with ``+=`` (epilogue style).

    With ``=`` the body is in ``prologue``; with ``+=`` it is in ``epilogue``.
    """

    names: list[ProbePoint]
    points: list[ProbePoint]
    prologue: Block | None
    epilogue: Block | None


@_node
class GlobalVar:
    """One variable of a ``global`` or ``private`` list.  ``size`` is None when not declared."""

    name: str
    tok: Token
    init: Number | String | None
    size: int | None
    wrap: bool
    private: bool


@_node
class GlobalDecl(Node):
    """``global a, b[10], c%``."""

    variables: list[GlobalVar]


@_node
class Param:
    """A formal parameter; ``type`` is unknown unless declared."""

    name: str
    tok: Token
    type: ValueType = "unknown"


@_node
class FunctionDef(Node):
    """``[private] function name:type (params) :priority { body }`` or ``%{ code %}``."""

    name: str
    params: list[Param]
    type: ValueType
    priority: int | None
    body: Block | EmbeddedCode
    private: bool


TopLevel: TypeAlias = ProbeDef | AliasDef | GlobalDecl | FunctionDef | EmbeddedCode


@_node
class File:
    """One parsed file: its definitions in source order and its library macros."""

    name: str
    items: list[TopLevel]
