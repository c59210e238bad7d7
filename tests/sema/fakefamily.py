"""A made-up probe family with what the real ones have: globs, returns, entry values, locals.

``fake.call("NAME")``, ``fake.call("NAME").return`` over the functions ``alpha``, ``alpine`` and
``beta``; ``fake.event.*`` whose places share one context; ``fake.nothing``, which is well formed
and never there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase

from pystap.lang import ast
from pystap.lang.source import Source
from pystap.lang.tokens import Token
from pystap.probes.attach import SyscallEvent, Timer
from pystap.probes.base import Context, Match, ProbeEnv, unknown_variable
from pystap.probes.core import CoreContext, CoreIntrinsic
from pystap.probes.shapes import match_shapes, point_text

_FUNCTIONS = {"alpha": ("x", "y"), "alpine": ("x",), "beta": ("x", "z")}
_EVENTS = ("open", "close", "read")
_SHAPES = (
    "fake.call(string)",
    "fake.call(string).return",
    *(f"fake.event.{name}" for name in _EVENTS),
    "fake.nothing",
)


class FakeFamily:
    """The family of ``fake``."""

    roots = ("fake",)

    def resolve(self, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
        matches: list[Match] = []
        for found in match_shapes(point, _SHAPES):
            if found.shape.startswith("fake.call"):
                matches += _calls(str(found.args[1]), found.shape.endswith("return"))
            elif found.shape.startswith("fake.event"):
                number = _EVENTS.index(found.shape.rpartition(".")[2])
                where = SyscallEvent("enter", (number,))
                matches.append(Match([(found.text(), where)], EventContext()))
        return matches

    def patterns(self) -> Iterable[str]:
        return _SHAPES


def _calls(pattern: str, is_return: bool) -> list[Match]:
    return [_call(name, is_return) for name in _FUNCTIONS if fnmatchcase(name, pattern)]


def _call(name: str, is_return: bool) -> Match:
    components, args = ["fake", "call"], [None, name]
    if is_return:
        components, args = [*components, "return"], [*args, None]
    context: Context = ReturnContext(name) if is_return else CallContext(name)
    return Match([(point_text(components, args), Timer(len(name)))], context)


class CallContext(Context):
    """Parameters of a function by name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.share_key = ("call", name)

    def key_for(self, used: Collection[str]) -> object:
        mine = [(n, v) for n, v in enumerate(_FUNCTIONS[self.name]) if f"${v}" in used]
        return ("call", tuple(mine))

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        names = _FUNCTIONS[self.name]
        if var.name[1:] not in names or var.components:
            raise unknown_variable(var, [n for n, _ in self.variables()])
        return CoreContext(
            tok=var.tok, type="long", kind="funcarg", index=names.index(var.name[1:])
        )

    def variables(self) -> list[tuple[str, str]]:
        return [(f"${name}", "long int") for name in _FUNCTIONS[self.name]]


class ReturnContext(Context):
    """``$return`` and, by entry snapshot, the parameters."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.share_key = ("return", name)

    def entry(self) -> CallContext:
        return CallContext(self.name)

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        if var.name == "$return":
            return CoreContext(tok=var.tok, type="long", kind="retval")
        if var.name[1:] in _FUNCTIONS[self.name]:
            return ast.AtOp(tok=var.tok, name="entry", args=[var])
        raise unknown_variable(var, [n for n, _ in self.variables()])

    def variables(self) -> list[tuple[str, str]]:
        return [("$return", "long int"), *CallContext(self.name).variables()]


class EventContext(Context):
    """Events of one kind: all see the same."""

    share_key = "fake events"

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        if var.name != "$nr":
            raise unknown_variable(var, ["$nr"])
        return CoreContext(tok=var.tok, type="long", kind="sysnr")

    def variables(self) -> list[tuple[str, str]]:
        return [("$nr", "int")]

    def locals(self) -> dict[str, ast.Expr]:
        tok = Token("identifier", "fake", Source("<fake>", "fake", "synthetic"), 0)
        number = CoreContext(tok=tok, type="long", kind="sysnr")
        name = CoreIntrinsic(tok=tok, type="string", name="syscall_name", args=[number])
        return {"name": name, "nr": CoreContext(tok=tok, type="long", kind="sysnr")}


FAMILY = FakeFamily()
