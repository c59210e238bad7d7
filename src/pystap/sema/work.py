"""What the passes of sema share while a program is being analysed."""

from __future__ import annotations

from pystap.diag.diagnostic import Diagnostic, Diagnostics
from pystap.lang import ast
from pystap.lang.source import Source
from pystap.lang.tokens import Token
from pystap.records import dataclass, field
from pystap.sema.program import DerivedProbe, FunctionSymbol, GlobalSymbol
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.options import Options
    from pystap.probes.base import Context, ProbeEnv
    from pystap.sema.definitions import AliasName
    from pystap.sema.tapset import Tapset


@dataclass(slots=True, eq=False)
class Alias:
    """One name of a probe alias definition."""

    name: AliasName
    definition: ast.AliasDef
    user: bool

    def text(self) -> str:
        """The name as probe points write it."""
        return self.point().text()

    def point(self) -> ast.ProbePoint:
        """The name as it stands in the definition."""
        for point in self.definition.names:
            if tuple((c.name, c.arg) for c in point.components) == self.name:
                return point
        raise LookupError(self.name)


@dataclass(slots=True, eq=False)
class FileScope:
    """Names that one file sees before the public ones: all it declares itself for globals, the
    private ones for functions."""

    globals: dict[str, GlobalSymbol] = field(default_factory=dict)
    functions: dict[str, list[FunctionSymbol]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Body:
    """A handler or function whose names are to be resolved, and what it can see."""

    block: ast.Block
    owner: DerivedProbe | FunctionSymbol
    context: Context | None


class Work:
    """Tables that grow while definitions, probes and functions are reached."""

    def __init__(
        self, tapset: Tapset, env: ProbeEnv, options: Options, diags: Diagnostics
    ) -> None:
        self.tapset = tapset
        self.env = env
        self.options = options
        self.diags = diags
        self.scopes: dict[Source, FileScope] = {}
        self.globals: dict[str, GlobalSymbol] = {}  # public, by name
        self.functions: dict[str, list[FunctionSymbol]] = {}  # public, by name
        self.all_globals: list[GlobalSymbol] = []
        self.declared: list[FunctionSymbol] = []  # every function of the loaded files
        self.aliases: dict[str, list[Alias]] = {}  # by first component
        self.embedded: list[ast.EmbeddedCode] = []
        self.pending: list[ast.ProbeDef] = []  # not derived yet
        self.looked_at: dict[Source, list[ast.ProbeDef]] = {}  # see declare_file
        self.bodies: list[Body] = []  # not resolved yet
        self.probes: list[DerivedProbe] = []
        self.reached: list[FunctionSymbol] = []  # functions whose body was queued
        self.reached_set: set[FunctionSymbol] = set()
        self.instances: dict[tuple[FunctionSymbol, object], FunctionSymbol] = {}
        self.contextual: dict[FunctionSymbol, bool] = {}
        self.giving_way: dict[FunctionSymbol, bool] = {}
        self.bad_places: set[tuple[Source, int]] = set()  # target values reported already
        self.bad_arities: set[tuple[GlobalSymbol, int]] = set()  # likewise
        self.counters_read: dict[str, Token] = {}  # names in @perf, each with one of its places
        self.openings = 0  # aliases opened so far, see points
        self.lists = False  # everything a family offers is set, read or not
        self.enum_functions: dict[tuple[tuple[int, str], ...], FunctionSymbol] = {}

    def owners(self) -> list[DerivedProbe | FunctionSymbol]:
        """Everything with a body that was reached so far."""
        return [*self.probes, *self.reached]

    def error(
        self,
        message: str,
        tok: Token | None,
        tok2: Token | None = None,
        *,
        hint: str | None = None,
        notes: list[str] | None = None,
    ) -> None:
        """Record a semantic error and go on."""
        self.diags.add(
            Diagnostic("semantic error", message, tok, tok2, notes=notes or [], hint=hint)
        )

    def scope_of(self, tok: Token) -> FileScope | None:
        """The scope of the file a token was written in (for macro text: invoked in)."""
        return self.scopes.get(home(tok).source)


def home(tok: Token) -> Token:
    """The token itself, or the invocation of the macro it came from."""
    while tok.expansion is not None:
        tok = tok.expansion
    return tok


def is_user(tok: Token) -> bool:
    """Whether a token stands in a user's script."""
    return home(tok).source.kind == "user"


def did_you_mean(name: str, known: list[str]) -> str | None:
    """A hint with the names nearest to ``name``, None when nothing is near."""
    from pystap.diag.suggest import suggest

    near = suggest(name, known)
    return f"did you mean {' or '.join(near)}?" if near else None
