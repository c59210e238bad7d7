"""Value types and storage of the IR."""

from __future__ import annotations

from enum import Enum

from pystap.records import dataclass, field
from pystap.typing import Literal


class Ty(Enum):
    """Type of an IR value."""

    LONG = "long"
    STR = "string"
    VOID = "void"


@dataclass(slots=True, eq=False)
class LocalVar:
    """A variable of one handler or function, zero or empty at entry.

    ``bound`` is the most bytes a string in it can need, its NUL included (MAXSTRINGLEN when
    nothing better is known).  ``index`` is unique within the handler or function.
    """

    name: str
    ty: Ty
    index: int
    bound: int = 0


StatPart = Literal["count", "sum", "min", "max", "avg", "variance", "hist_log", "hist_linear"]


@dataclass(slots=True)
class StatSpec:
    """What an aggregate must keep: the extractors the program uses anywhere."""

    parts: set[StatPart] = field(default_factory=set)
    shift: int = 0  # of @variance
    linear: tuple[int, int, int] | None = None  # start, stop, step of @hist_linear


GlobalKind = Literal["scalar", "array"]


@dataclass(slots=True, eq=False)
class Global:
    """A global variable.

    ``keys`` is empty for scalars.  ``value`` is the type of the scalar or element, ``stats``
    is set for aggregates (then ``value`` is VOID).  ``key_bounds`` and ``bound`` are string
    bounds in bytes with NUL (0 for longs).  ``capacity`` is the number of elements,
    ``capacity_declared`` tells ``a[N]`` from the MAXMAPENTRIES default (the messages differ).
    ``init`` is the value at start (and what reading an absent element gives is 0 or "");
    ``settable``: another one may be given when the program is loaded.
    """

    name: str
    index: int
    kind: GlobalKind
    keys: tuple[Ty, ...]
    value: Ty
    stats: StatSpec | None = None
    key_bounds: tuple[int, ...] = ()
    bound: int = 0
    capacity: int = 0
    capacity_declared: bool = False
    wrap: bool = False
    init: int | str = 0
    settable: bool = False
