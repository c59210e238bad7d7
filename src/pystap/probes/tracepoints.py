"""``kernel.trace("NAME")``, ``kernel.tracepoint("NAME")``, ``module("M").tracepoint("NAME")``: the
kernel's tracepoints and those of its modules, as BTF describes them."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

from pystap.debuginfo import btftypes as t
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes import attach
from pystap.probes.base import Context, Match, ProbeEnv, unknown_variable
from pystap.probes.core import CoreContext
from pystap.probes.pretty import text_depth, variables_text
from pystap.probes.shapes import ShapeMatch, bad_point, has_wildcard, point_text
from pystap.probes.target import Place, enumerator, expand, extended, listing_name
from pystap.typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from pystap.debuginfo.btf import Btf, Tracepoint
    from pystap.debuginfo.btftypes import Param

_OF_MODULE: Final = "module(string).tracepoint(string)"
SHAPES: Final = ("kernel.trace(string)", "kernel.tracepoint(string)", _OF_MODULE)


def tracepoint_matches(shape: ShapeMatch, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
    """One match for each tracepoint of a shape, by name."""
    if shape.shape == _OF_MODULE:
        return _of_modules(str(shape.args[0]), str(shape.args[1]), point, env)
    pattern = str(shape.args[1])
    numbered = shape.shape == "kernel.tracepoint(string)"
    system, colon, name = pattern.rpartition(":")
    systems = _systems()
    if numbered and colon:
        raise bad_point("kernel.tracepoint takes a name without system", point.components[-1].tok)
    if colon and systems is None and has_wildcard(name):
        raise bad_point(
            f"cannot tell which tracepoints belong to '{system}': tracefs is not available",
            point.components[-1].tok,
            hint="mount tracefs on /sys/kernel/tracing, or leave out the system",
        )
    matches = []
    for tracepoint in _candidates(name, env):
        own = (systems or {}).get(tracepoint.name, "")
        if colon and systems is not None and not fnmatchcase(own, system):
            continue
        matches.append(_match(tracepoint, "" if numbered else own, numbered))
        if colon and systems is None:
            matches[-1].notes.append(f"system '{system}' not checked: no tracefs")
    if not matches and not has_wildcard(pattern):
        raise _no_tracepoint(pattern, systems, point, env)
    return matches


def _of_modules(module: str, pattern: str, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
    """Tracepoints by the names of their modules, and their own."""
    matches = []
    known = []
    for tracepoint in env.btf().tracepoints():
        owner = "" if tracepoint.btf.base is None else tracepoint.btf.name
        if not owner or not fnmatchcase(owner, module.replace("-", "_")):
            continue
        known.append(tracepoint.name)
        if fnmatchcase(tracepoint.name, pattern):
            where = attach.Tracepoint(tracepoint.name, len(tracepoint.params()), owner)
            text = point_text(("module", "tracepoint"), (owner, tracepoint.name))
            matches.append(Match([(text, where)], TracepointContext(tracepoint, "", True)))
    if not matches and not has_wildcard(module + pattern):
        raise _not_in_module(module, pattern, known, point)
    return matches


def _not_in_module(module: str, name: str, known: list[str], point: ast.ProbePoint) -> Exception:
    from pystap.diag.suggest import suggest

    tok = point.components[-1].tok
    if not known:
        return bad_point(
            f"no module '{module}' with tracepoints", tok, hint="only those loaded are known"
        )
    near = suggest(name, known)
    hint = f"did you mean {' or '.join(near)}?" if near else None
    return bad_point(f"no tracepoint '{name}' in module '{module}'", tok, hint=hint)


def _candidates(pattern: str, env: ProbeEnv) -> list[Tracepoint]:
    """Tracepoints whose name fits, by name."""
    btf = env.btf()
    if has_wildcard(pattern):
        return [found for found in btf.tracepoints() if fnmatchcase(found.name, pattern)]
    found = btf.tracepoint(pattern)
    return [] if found is None else [found]


def _no_tracepoint(
    pattern: str, systems: dict[str, str] | None, point: ast.ProbePoint, env: ProbeEnv
) -> Exception:
    """The error for a name no tracepoint has, with near ones or its real system."""
    from pystap.diag.suggest import suggest

    name = pattern.rpartition(":")[2]
    known = [tracepoint.name for tracepoint in env.btf().tracepoints()]
    near = [name] if name in known else suggest(name, known)
    full = [f"{systems[n]}:{n}" if systems and n in systems else n for n in near]
    hint = f"did you mean {' or '.join(full)}?" if full else "stap -l 'kernel.trace(\"*\")'"
    return bad_point(f"no tracepoint '{pattern}'", point.components[-1].tok, hint=hint)


def _match(tracepoint: Tracepoint, system: str, numbered: bool) -> Match:
    name = f"{system}:{tracepoint.name}" if system else tracepoint.name
    module = "" if tracepoint.btf.base is None else tracepoint.btf.name
    where = attach.Tracepoint(tracepoint.name, len(tracepoint.params()), module)
    text = point_text(("kernel", "tracepoint" if numbered else "trace"), (None, name))
    return Match([(text, where)], TracepointContext(tracepoint, system, numbered))


def _systems() -> dict[str, str] | None:
    from pystap.kernel.event_systems import event_systems

    return event_systems()


class Described(Protocol):
    """What has a name and parameters that a program gets: a tracepoint, a hook."""

    @property
    def btf(self) -> Btf: ...
    @property
    def name(self) -> str: ...
    def params(self) -> list[Param]: ...


class TracepointContext(Context):
    """Arguments of one tracepoint by name (``numbered``: $arg1 ...), and what it is called."""

    registers = False

    def __init__(self, tracepoint: Described, system: str, numbered: bool) -> None:
        self.share_key = ("tracepoint", tracepoint.btf.name, tracepoint.name, numbered)
        self._tracepoint = tracepoint
        self._system = system
        self._numbered = numbered
        self._params: list[Param] | None = None

    def key_for(self, used: Collection[str]) -> object:
        """Alike when the arguments used are the same ones of the same types."""
        if any(name.startswith("$$") for name in used):
            return self.share_key
        return (
            "tracepoint",
            self._tracepoint.btf.name,
            tuple(
                (index, param.name, param.type)
                for index, param in enumerate(self._arguments())
                if f"${param.name}" in used
            ),
        )

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """An argument with its components, an enumerator, or one of the ``$$`` texts."""
        if var.name.startswith("$$"):
            return self._text(var)
        name = var.name[1:]
        for index, param in enumerate(self._arguments()):
            if param.name == name:
                place = self._place(index, param, var.tok)
                return expand(place, var.components, var.tok, var.address_of)
        return enumerator(self._tracepoint.btf, var, [n for n, _ in self.variables()])

    def variables(self) -> list[tuple[str, str]]:
        """Each argument with its C type."""
        btf = self._tracepoint.btf
        return [(f"${p.name}", listing_name(btf, p.type)) for p in self._arguments()]

    def _arguments(self) -> list[Param]:
        if self._params is None:
            self._params = self._tracepoint.params()
            if self._numbered:
                for number, param in enumerate(self._params, 1):
                    param.name = f"arg{number}"
        return self._params

    def _place(self, index: int, param: Param, tok: Token) -> Place:
        btf = self._tracepoint.btf
        raw: ast.Expr = CoreContext(tok=tok, type="long", kind="arg", index=index)
        return Place(extended(raw, btf, param.type, tok), btf, param.type, "kernel", False)

    def _text(self, var: ast.TargetVar) -> ast.Expr:
        if var.name in ("$$name", "$$system") and not var.components:
            text = self._tracepoint.name if var.name == "$$name" else self._system
            return ast.String(tok=var.tok, type="string", value=text)
        if var.name in ("$$vars", "$$parms"):
            places = [
                (param.name, self._readable(index, param, var.tok))
                for index, param in enumerate(self._arguments())
            ]
            return variables_text(places, text_depth(var), var.tok)
        if var.name == "$$locals":
            return variables_text([], text_depth(var), var.tok)
        known = [name for name, _ in self.variables()]
        raise unknown_variable(var, [*known, "$$vars", "$$parms", "$$name", "$$system"])

    def _readable(self, index: int, param: Param, tok: Token) -> Place | None:
        """The argument, unless it is one without a value (a structure passed by value)."""
        btf = self._tracepoint.btf
        view = btf.type(btf.resolve(param.type))
        if isinstance(view, (t.Ptr, t.Int, t.Enum, t.Float)):
            return self._place(index, param, tok)
        return None
