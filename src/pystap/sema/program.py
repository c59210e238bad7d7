"""The product of pass 2: every symbol resolved, every probe expanded, every type known."""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.base import Context, Match
from pystap.records import dataclass, field


@dataclass(slots=True, eq=False)
class LocalSymbol:
    """A local variable or parameter of one handler or function."""

    name: str
    tok: Token
    type: ast.ValueType = "unknown"
    ctype: object | None = None
    written: bool = False
    read: bool = False


@dataclass(slots=True, eq=False)
class GlobalSymbol:
    """A global variable.  ``keys`` is None until its arity is known, [] for scalars."""

    name: str
    decl: ast.GlobalVar
    user: bool  # declared in a user script (auto-printed), not in the tapset
    type: ast.ValueType = "unknown"  # of the scalar or element
    keys: list[ast.ValueType] | None = None
    key_site: Token | None = None  # first use that fixed the arity
    ctype: object | None = None
    stat_parts: set[str] = field(default_factory=set)  # extractors used: count ... hist_log
    stat_shift: int | None = None
    stat_linear: tuple[int, int, int] | None = None
    written: bool = False
    read: bool = False


@dataclass(slots=True, eq=False)
class FunctionSymbol:
    """A function, one per definition (overloads are several symbols of one name).

    ``intrinsic`` is set for tapset functions of the form ``%{ pystap:NAME literal ... %}``.
    ``context`` is set on clones made for one probe's context variables.
    """

    name: str
    decl: ast.FunctionDef
    params: list[LocalSymbol]
    body: ast.Block | None
    user: bool
    type: ast.ValueType = "unknown"  # stays unknown when it never returns a value
    ctype: object | None = None
    locals: dict[str, LocalSymbol] = field(default_factory=dict)
    intrinsic: tuple[str, tuple[int | str, ...]] | None = None
    context: Context | None = None
    recursive: bool = False


@dataclass(slots=True, eq=False)
class DerivedProbe:
    """One handler of the program and all places it is attached to.

    ``script_point`` is the probe point as the script wrote it (pn()); ``chain`` the probe points
    from the resolved one back to the script's, for ``-p2`` (alias names in between).  Both speak
    of the first point of ``match``; ``names`` and ``chains`` have them for each of its points
    (wildcards expanded), in the same order.  ``conditions`` are the arming expressions, ANDed;
    probes of one definition share the nodes.  ``helper`` marks what sema adds for its own ends,
    which listings leave out.
    """

    match: Match
    definition: ast.ProbeDef
    script_point: str
    chain: list[str]
    body: ast.Block
    conditions: list[ast.Expr] = field(default_factory=list)
    locals: dict[str, LocalSymbol] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    chains: list[list[str]] = field(default_factory=list)
    helper: bool = False


@dataclass(slots=True)
class Program:
    """What lowering translates."""

    globals: list[GlobalSymbol] = field(default_factory=list)
    functions: list[FunctionSymbol] = field(default_factory=list)
    probes: list[DerivedProbe] = field(default_factory=list)
    embedded: list[ast.EmbeddedCode] = field(default_factory=list)
    used_files: list[str] = field(default_factory=list)  # tapset files parsed, for the cache key
