"""Functions of the kernel and its modules, by name or address, from symbols and BTF."""

from __future__ import annotations

import os

from pystap.debuginfo.functions import FunctionTable, KernelFunction
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes import attach
from pystap.probes.base import Match, ProbeEnv
from pystap.probes.function_context import FunctionContext, Prototype
from pystap.probes.shapes import Arg, ShapeMatch, bad_point, has_wildcard, point_text
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.debuginfo.btf import Btf

_MOST_NAMED: Final = 5
_FEW: Final = 32  # functions whose prototypes are looked up even if no handler asks for them
_KPROBE_EVENTS: Final = "/sys/bus/event_source/devices/kprobe"


class _Asked(NamedTuple):
    """A probe point taken apart: names and arguments of its components, and what follows."""

    names: list[str]
    args: list[Arg]
    wanted: Arg  # function or address
    at: int  # index of the component with it
    module: str
    is_return: bool
    exported: bool
    maxactive: int
    tok: Token


def function_matches(found: ShapeMatch, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
    """The places of one shape: one match, that falls into parts by prototype when asked to."""
    asked = _take_apart(found, point)
    if env.optional and not _possible(env):
        raise bad_point("this kernel cannot probe its functions", asked.tok)
    table = env.functions = env.functions or FunctionTable()
    if isinstance(asked.wanted, int):
        return [_at_address(asked, asked.wanted, table, env)]
    functions = _by_name(asked, str(asked.wanted), table)
    if not functions:
        return []
    prototypes = Prototypes(env)
    if len(functions) == 1:
        return [_match(asked, functions[0], prototypes)]
    few = len(functions) <= _FEW
    points = [
        _match(asked, f, prototypes).points[0] if few else _place(asked, f, -1) for f in functions
    ]
    return [
        Match(
            points,
            FunctionContext(None, asked.is_return),
            parts=lambda: [_match(asked, function, prototypes) for function in functions],
        )
    ]


def _possible(env: ProbeEnv) -> bool:
    """Whether the kernel has kprobes or trampolines: if not, what is optional is left out."""
    if os.path.isdir(_KPROBE_EVENTS) or env.has_feature is None:
        return True
    return env.has_feature("fentry")


def missing_debuginfo(found: ShapeMatch, point: ast.ProbePoint) -> Exception:
    """The error for a probe point that only debuginfo can answer."""
    last = found.shape.rpartition(".")[2].partition("(")[0]
    what = {"statement": "source lines", "inline": "inlined functions"}.get(last, f"'.{last}'")
    return _missing(what, point.components[-1].tok)


def _missing(what: str, tok: Token, hint: str = "") -> Exception:
    machine = os.uname()
    return bad_point(
        f"missing {machine.machine} kernel/module debuginfo [man warning::debuginfo]"
        f" under '/lib/modules/{machine.release}/build': {what} need it",
        tok,
        hint=hint
        or 'functions can be probed by name without it: kernel.function("NAME")[.return];'
        " their parameters and $return are known from BTF",
    )


def _take_apart(found: ShapeMatch, point: ast.ProbePoint) -> _Asked:
    names = [part.partition("(")[0] for part in found.shape.split(".")]
    args = list(found.args)
    kind = "function" if "function" in names else "statement"
    at = names.index(kind)
    module = str(args[names.index("module")]) if "module" in names else ""
    asked = _Asked(
        names, args, args[at], at, module,
        "return" in names, "exported" in names, _maxactive(names, args, point),
        point.components[min(at, len(point.components) - 1)].tok,
    )  # fmt: skip
    if asked.wanted == "" or ("module" in names and not module):
        raise bad_point("a function or module with an empty name", asked.tok)
    if names[0] == "kprobe":
        for arg in (asked.module, asked.wanted):
            if isinstance(arg, str) and has_wildcard(arg):
                raise bad_point(
                    "kprobe points take no wildcards",
                    asked.tok,
                    hint='kernel.function("PATTERN") does',
                )
    return asked


def _maxactive(names: list[str], args: list[Arg], point: ast.ProbePoint) -> int:
    if "maxactive" not in names:
        return 0
    number = args[names.index("maxactive")]
    if not isinstance(number, int) or number <= 0:
        raise bad_point("maxactive takes a number above 0", point.components[-1].tok)
    return number


# --- by name ------------------------------------------------------------------------------------


def _by_name(asked: _Asked, pattern: str, table: FunctionTable) -> list[KernelFunction]:
    if "@" in pattern:
        name = pattern.partition("@")[0]
        raise _missing(
            "source files and lines",
            asked.tok,
            f'kernel.function("{name}") needs none, and BTF tells the parameters'
            if name.strip("*")
            else "",
        )
    functions = table.matching(pattern, asked.module)
    if asked.exported and functions:
        exported = table.exported()
        if exported is None:
            raise bad_point(
                "the kernel does not tell which functions are exported",
                asked.tok,
                hint="/proc/kallsyms lists them if it is built with CONFIG_KALLSYMS_ALL",
            )
        functions = [f for f in functions if f.name in exported]
    if not functions:
        _explain_none(asked, pattern, table)
    return functions


def _explain_none(asked: _Asked, pattern: str, table: FunctionTable) -> None:
    """Raise why nothing fits, unless it is a pattern that simply fits nothing."""
    if asked.module and not has_wildcard(asked.module) and asked.module not in table.modules():
        raise _no_module(asked, table)
    if has_wildcard(pattern) or has_wildcard(asked.module):
        return
    where = f" of module {asked.module}" if asked.module else ""
    why = table.refusal(pattern, asked.module)
    if why:
        raise bad_point(f"function '{pattern}'{where} cannot be probed: {why}", asked.tok)
    if asked.exported and table.matching(pattern, asked.module):
        raise bad_point(f"function '{pattern}'{where} is not exported", asked.tok)
    variants = table.variants(pattern, asked.module)
    if variants:
        raise bad_point(
            f"no function '{pattern}'{where}: the compiler altered it",
            asked.tok,
            hint=f"it became {' and '.join(variants[:_MOST_NAMED])}",
        )
    raise bad_point(f"no function '{pattern}'{where}", asked.tok, _near(asked, pattern, table))


def _near(asked: _Asked, name: str, table: FunctionTable) -> str:
    from pystap.diag.suggest import suggest

    if not asked.module:
        owners = [m for m in table.modules() if table.matching(name, m)]
        if owners:
            return f'it is in a module: module("{owners[0]}").function("{name}")'
    near = suggest(name, table.names(asked.module))
    if near:
        return f"did you mean {' or '.join(near)}?"
    return "the compiler may have inlined it everywhere: only debuginfo could tell"


def _no_module(asked: _Asked, table: FunctionTable) -> Exception:
    from pystap.diag.suggest import suggest

    near = suggest(asked.module, table.modules())
    hint = "only modules that are loaded can be probed"
    if near:
        hint = f"did you mean {' or '.join(near)}? {hint}"
    elif os.path.isdir(f"/sys/module/{asked.module}"):
        hint = 'it is built into the kernel: kernel.function("NAME")'
    return bad_point(f"module '{asked.module}' is not loaded", asked.tok, hint)


def _match(asked: _Asked, function: KernelFunction, prototypes: Prototypes) -> Match:
    prototype, missing = None, "kprobe points have no variables"
    if asked.names[0] != "kprobe":
        prototype, missing = prototypes.of(function)
    place = _place(asked, function, prototype.words if prototype else -1)
    return Match([place], FunctionContext(prototype, asked.is_return, missing))


def _place(asked: _Asked, function: KernelFunction, words: int) -> tuple[str, attach.Attach]:
    args = list(asked.args)
    args[asked.at] = function.name
    if "module" in asked.names:
        args[asked.names.index("module")] = function.module
    where = attach.KernelFunction(
        function.name,
        function.module,
        asked.is_return,
        instance=function.instance,
        words=words,
        maxactive=asked.maxactive,
    )
    return point_text(asked.names, args), where


# --- by address ---------------------------------------------------------------------------------


def _at_address(asked: _Asked, address: int, table: FunctionTable, env: ProbeEnv) -> Match:
    """A function by an address in it; a statement by its very address."""
    address &= (1 << 64) - 1
    text = point_text(asked.names, asked.args).replace(f"({asked.wanted})", f"({address:#x})")
    if asked.names[-1] == "absolute":
        if not env.guru:
            raise bad_point(
                "absolute statement probe in unprivileged script", asked.tok, hint="use -g"
            )
        where = attach.KernelFunction("", address=address)
        return Match(
            [(text, where)],
            FunctionContext(None, False, "probes at absolute addresses have no variables"),
        )
    found = table.at(address)
    if found is None or found[0].module != asked.module:
        whose = f"module {asked.module}" if asked.module else "the kernel"
        raise bad_point(f"no function of {whose} at address {address:#x}", asked.tok)
    function, offset = found
    if "function" in asked.names or not offset:
        match = _match(asked, function, Prototypes(env))
        return Match([(text, match.points[0][1])], match.context)
    where = attach.KernelFunction(
        function.name, function.module, offset=offset, instance=function.instance
    )
    missing = "inside of functions they need debuginfo"
    return Match([(text, where)], FunctionContext(None, False, missing))


# --- prototypes ---------------------------------------------------------------------------------


class Prototypes:
    """Prototypes of functions in BTF; those of equal shape are made once."""

    def __init__(self, env: ProbeEnv) -> None:
        self._env = env
        self._made: dict[object, Prototype] = {}

    def of(self, function: KernelFunction) -> tuple[Prototype | None, str]:
        """The prototype, or None and why there is none."""
        from pystap.debuginfo.btf import KIND_FUNC
        from pystap.debuginfo.btftypes import Func, FuncProto

        if function.copies > 1:
            return None, f"there are {function.copies} functions of that name, BTF tells one"
        btf = self._btf(function.module)
        if btf is None:
            return None, f"module {function.module} has no BTF"
        type_id = btf.find(function.name, KIND_FUNC)
        if type_id is None or type_id < btf.first_id:  # one of the kernel is none of a module
            return None, f"BTF does not describe '{function.name}'"
        view = btf.type(type_id)
        assert isinstance(view, Func)
        key = (btf.name, view.proto)
        made = self._made.get(key)
        if made is None:
            proto = btf.type(view.proto)
            assert isinstance(proto, FuncProto)
            made = self._made[key] = Prototype(btf, proto, key)
        return made, ""

    def _btf(self, module: str) -> Btf | None:
        from pystap.debuginfo.btf import BtfMissing

        btf = self._env.btf()
        if not module:
            return btf
        try:
            return btf.module(module)
        except BtfMissing:
            return None
