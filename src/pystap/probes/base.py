"""The interface of a probe-point family.

A family is a module of :mod:`pystap.probes` with a class that has this shape.  It resolves probe
points into :class:`Match` values and answers for the context variables of its handlers.  It is
asked by sema only; runtimes see nothing but the :mod:`pystap.probes.attach` data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.attach import Attach
from pystap.records import dataclass, field
from pystap.typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from pystap.debuginfo.btf import Btf
    from pystap.debuginfo.debugfiles import DebugFiles
    from pystap.debuginfo.functions import FunctionTable
    from pystap.debuginfo.kernelfiles import KernelFiles
    from pystap.debuginfo.types import Types
    from pystap.diag.diagnostic import Diagnostics


@dataclass(slots=True)
class ProbeEnv:
    """What families may ask about the machine and the session; loaded lazily by the caller."""

    btf: Callable[[], Btf]
    diags: Diagnostics
    runtime: str = "bpf"
    guru: bool = False
    target_command: str | None = None  # -c
    target_pid: int | None = None  # -x
    skip_badvars: bool = False
    sysroot: str = ""
    index_directory: str = ""  # for indexes of debug information; empty: none are kept
    debug: DebugFiles | None = None  # what was opened so far
    functions: FunctionTable | None = None  # of the kernel; made when first asked for
    release: str = ""  # of the kernel translated for, or the directory it was built in (-r)
    kernel_files: KernelFiles | None = None  # its debug information; made when first asked for
    # of pystap.kernel.features; None where what the running kernel has does not matter
    has_feature: Callable[[str], bool] | None = None
    optional: int = 0  # how many of the points that led here may remain without match

    @property
    def has_target(self) -> bool:
        """Whether there is a process that target() names."""
        return self.target_command is not None or self.target_pid is not None


class Context(ABC):
    """What the handlers of a match can see.

    Two matches with equal ``share_key`` see the same things in the same way: sema gives them one
    handler when their bodies are the same.
    """

    share_key: object
    #: whether some code was interrupted whose registers can be read
    registers: bool = True
    #: whether handlers are run by the session itself, not by what they are about
    in_session: bool = False
    #: whose variables these are: "kernel", a module's name, or None when not the kernel's
    kernel_module: str | None = None

    def key_for(self, used: Collection[str]) -> object:  # noqa: ARG002 - nothing used matters
        """A share key for a body that uses only these names (``$x``, ``$$vars``, ``argstr``).

        Coarser than ``share_key``, or that where all that can be used is the same everywhere: a
        body without context variables is alike at every place of one kind.
        """
        return self.share_key

    @abstractmethod
    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """The expression that ``$name`` with its components stands for.

        It is made of ordinary nodes, ``ast.Core`` values and loads (pystap.probes.core), with
        ``ctype`` set where members can be reached.  Raises ``DiagnosticError`` with near names
        when there is no such variable or member.
        """

    def variables(self) -> list[tuple[str, str]]:
        """Name (with ``$``) and C type of each context variable, in declared order, for ``-L``."""
        return []

    def locals(self) -> dict[str, ast.Expr]:
        """Names without ``$`` that the family sets before the body (``name``, ``argstr``...).

        Sema prepends ``name = expr`` for those that the body reads.
        """
        return {}

    def entry(self) -> Context | None:
        """What the entries of returns see, for ``@entry``; None where this is no return."""
        return None

    def guard(self, tok: Token) -> ast.Expr | None:  # noqa: ARG002 - every event counts
        """What is not 0 when an event counts; None where each does."""
        return None

    def assign(
        self,
        var: ast.TargetVar,  # noqa: ARG002 - nothing can be assigned to
        op: str,  # noqa: ARG002
        value: Callable[[], ast.Expr],  # noqa: ARG002
    ) -> ast.Expr | None:
        """What ``$name op value`` does where that is more than a store; None where it is not."""
        return None

    def own_types(self) -> Types | None:
        """Types to look at first, of a program or of debug information of the kernel."""
        return None

    def global_variable(self, node: ast.AtVar) -> ast.Expr | None:  # noqa: ARG002 - none is known
        """What ``@var`` stands for by debug information of the place; None when there is none."""
        return None


@dataclass(slots=True)
class Match:
    """One or more places that a probe point stands for, alike in context.

    ``points`` are pairs of canonical probe point text (what pp() gives) and where it attaches.
    ``parts``, where there is one, gives the same places as several matches, each alike in
    context variables: ``context`` then is for handlers that use none.  ``spare`` places are left
    out, with a warning, when a handler uses what is not there.
    """

    points: list[tuple[str, Attach]]
    context: Context
    notes: list[str] = field(default_factory=list)
    parts: Callable[[], list[Match]] | None = None
    spare: bool = False


class Family(Protocol):
    """A probe-point family."""

    roots: tuple[str, ...]  # first components it answers for

    def resolve(self, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
        """All matches, sorted; empty when the point is well formed but nothing matches.

        Wildcards in component names and arguments are the family's to expand.  Raises
        ``DiagnosticError`` (with the legal followers) when the point is malformed.
        """
        ...

    def patterns(self) -> Iterable[str]:
        """The probe point shapes for ``--dump-probe-types``, e.g. ``timer.ms(number)``."""
        ...


class NoContext(Context):
    """Context of probes without variables; ``kind`` keeps handlers of unlike probes apart."""

    def __init__(self, kind: str = "", registers: bool = False) -> None:
        self.share_key = ("none", kind)
        self.registers = registers
        self.in_session = kind in ("session", "timer")

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """Refuse: there are none."""
        raise unknown_variable(var, ())


def unknown_variable(var: ast.TargetVar, known: Sequence[str]) -> Exception:
    """The error for a context variable that does not exist here, with near names."""
    from pystap.diag.diagnostic import Diagnostic, DiagnosticError

    if not known:
        return DiagnosticError(
            Diagnostic(
                "semantic error",
                f"unable to find local '{_bare(var.name)}' here",
                var.tok,
                hint="this probe point has no context variables",
            )
        )
    from pystap.diag.suggest import suggest

    near = suggest(var.name, list(known))
    alternatives = ", ".join(near or known)
    return DiagnosticError(
        Diagnostic(
            "semantic error",
            f"unable to find local '{_bare(var.name)}' (alternatives: {alternatives})",
            var.tok,
        )
    )


def _bare(name: str) -> str:
    return name.lstrip("$")


# what SystemTap has or had, and what does the same
_BY_ADDRESS: Final = "a place in a function is named by .statement(ADDRESS), or by FILE:LINE"
_INSTEAD: Final = {
    "mark": 'the kernel has tracepoints in the place of markers: kernel.trace("NAME")',
    "pc": _BY_ADDRESS,
    "die": _BY_ADDRESS,
}


def malformed(
    point: ast.ProbePoint, at: Token, followers: Iterable[str], ends: bool = False
) -> Exception:
    """The error for a probe point no pattern of the family fits, with what may follow.

    ``at`` is the first component that does not fit; with ``ends`` the point stops too early.
    """
    from pystap.diag.diagnostic import Diagnostic, DiagnosticError

    known = list(followers)
    message, hint = "probe point mismatch", None
    if ends:
        message += f" (incomplete: {point.text()})"
        hint = f"add one of: {' '.join('.' + f for f in known)}" if known else None
    else:
        from pystap.diag.suggest import suggest

        near = suggest(at.text, list(dict.fromkeys(f.partition("(")[0] for f in known)))
        message += f" (similar: {', '.join(near)})" if near else ""
        hint = f"legal here: {' '.join('.' + f for f in known)}" if known else None
        hint = _INSTEAD.get(at.text, hint)
    return DiagnosticError(Diagnostic("semantic error", message, at, hint=hint))
