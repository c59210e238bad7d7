"""A whole translated program, the product of pass 3 and the input of every runtime."""

from __future__ import annotations

from pystap.ir.probe import Position, Probe
from pystap.ir.types import Global, LocalVar, Ty
from pystap.records import dataclass, field
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.ir.ops import CText, Expr, LockMode, Stmt
    from pystap.ir.regex import Dfa, TaggedDfa

__all__ = ["Function", "Handler", "Limits", "Module", "Position", "Probe", "Regex"]


@dataclass(slots=True, eq=False)
class Function:
    """A function.  ``params`` are the first locals."""

    name: str
    params: list[LocalVar]
    result: Ty
    bound: int = 0
    locals: list[LocalVar] = field(default_factory=list)
    body: list[Stmt] = field(default_factory=list)
    recursive: bool = False


@dataclass(slots=True, eq=False)
class Handler:
    """A handler body; several probes may share it when their context is alike."""

    index: int
    locals: list[LocalVar] = field(default_factory=list)
    body: list[Stmt] = field(default_factory=list)


@dataclass(slots=True)
class Limits:
    """Limits of ``-D`` and the command line (language.md §14).

    ``timing`` is the report at the end: "cycles" or "nsecs" that handlers took, "hits" (handlers
    only count their hits), or "" for none.
    """

    maxstringlen: int = 512
    maxaction: int = 10_000
    maxnesting: int = 10
    maxmapentries: int = 2048
    maxbacktrace: int = 20
    maxerrors: int = 0
    maxskipped: int = 100
    maxtrylock: int = 100
    trylockdelay: int = 10  # microseconds
    time_limits: bool = True  # off with --suppress-time-limits
    interruptible: bool = True  # hits skipped for reentrancy do not count against MAXSKIPPED
    overload_interval: int = 1_000_000_000  # cycles; 0 when nothing watches for overload
    overload_threshold: int = 500_000_000  # cycles
    maxmemory: int = 0  # kB of all maps, 0 without limit
    timing: str = ""
    force_tty: bool = False  # the report goes to standard output whatever that is
    suppress_handler_errors: bool = False
    hist_width: int = 50
    hist_elision: int = 2
    bulk: bool = False  # output to files for each CPU (-b)
    buffer_megabytes: int = 0  # for the output of a CPU (-s); 0: the runtime's choice
    defines: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Regex:
    """A compiled pattern.

    ``groups`` counts the whole match too.  ``dfa`` is a TaggedDfa when the module has an
    intrinsic that asks for groups (``matched``, ``ngroups``), else a Dfa; None only in modules
    made by hand.
    """

    pattern: str
    groups: int = 1
    dfa: Dfa | TaggedDfa | None = None


@dataclass(slots=True)
class Module:
    """Everything a runtime needs, and nothing it has to look up elsewhere.

    ``condition_locks`` are the locks, in order, to hold while a condition is evaluated; empty
    before locks were placed.
    """

    globals: list[Global] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    handlers: list[Handler] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    conditions: list[Expr] = field(default_factory=list)
    condition_locks: list[list[tuple[Global, LockMode]]] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    regexes: list[Regex] = field(default_factory=list)
    c_texts: list[CText] = field(default_factory=list)  # guru: for the file level, in order
    has_c: bool = False  # there or in a function or expression
    objects: list[str] = field(default_factory=list)  # of -d, for modules with user-space stacks
    object_libraries: bool = False  # those that they are linked with, too (--ldd)
    limits: Limits = field(default_factory=Limits)
