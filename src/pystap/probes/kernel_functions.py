"""Functions of the kernel and its modules, by name or address, from symbols and BTF.

What these do not tell is asked of debug information, where there is some
(:mod:`pystap.probes.kernel_places`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from pystap.debuginfo.functions import FunctionTable, KernelFunction
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes import attach
from pystap.probes.base import Match, ProbeEnv
from pystap.probes.function_context import FunctionContext, Prototype
from pystap.probes.kernel_debug import (
    address_in_file,
    context_at,
    function_table,
    has_types,
    kernel_files,
    local_image,
    required_image,
    runs,
)
from pystap.probes.shapes import (
    Arg,
    ShapeMatch,
    bad_point,
    component_tok,
    has_wildcard,
    point_text,
)
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.debuginfo.btf import Btf

_MOST_NAMED: Final = 5
_FEW: Final = 32  # functions whose prototypes are looked up even if no handler asks for them
_MOST_ACTIVE: Final = 65535  # returns that a script may have the kernel follow at a time
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
    file: str = ""  # of the module, when it was given by that


def function_matches(
    found: ShapeMatch, point: ast.ProbePoint, env: ProbeEnv, in_source: bool = False
) -> list[Match]:
    """The places of one shape: one match, that falls into parts by prototype when asked to.

    With ``in_source`` only debug information can answer; so it is for functions by file.
    """
    asked = _take_apart(found, point)
    if env.optional and not _possible(env):
        raise bad_point("this kernel cannot probe its functions", asked.tok)
    if asked.names[-1] == "absolute":
        return [_absolute(asked, env)]
    if asked.names[0] == "kprobe" and _found_at_load(asked, env):
        function = KernelFunction(str(asked.wanted), asked.module)
        return [_match(asked, function, Prototypes(env), later=bool(asked.module))]
    if isinstance(asked.wanted, int):
        return _numbered(asked, asked.wanted, env, in_source)
    return _named(asked, str(asked.wanted), env, in_source)


def _numbered(asked: _Asked, address: int, env: ProbeEnv, in_source: bool) -> list[Match]:
    if asked.file:
        local_image(asked.file, env)
    if not runs(env):
        required_image("", env, asked.tok, "functions at addresses")
    table = function_table(env)
    if in_source:
        return _address_in_source(asked, address, table, env)
    return [_at_address(asked, address, table, env)]


def _named(asked: _Asked, name: str, env: ProbeEnv, in_source: bool) -> list[Match]:
    if in_source or "@" in name or _is_file_of_absent(asked, env):
        return _in_source(asked, env)
    if asked.module and not runs(env):
        return _in_module_elsewhere(asked, name, env)
    if asked.file:
        local_image(asked.file, env)
    if not runs(env) and not has_types(env):
        required_image("", env, asked.tok, "functions", lambda: _package(env))
    table = function_table(env)
    if asked.module and not has_wildcard(asked.module) and asked.module not in table.modules():
        absent = _of_absent(asked, name, env)
        if absent:
            return absent
    symbols = table.matching(name, asked.module)
    described = _described(asked, name, symbols, env)
    functions = _by_name(asked, name, table, symbols, bool(described))
    for match in described:
        match.spare = bool(functions)
    return _known(asked, functions, env) + described


def _package(env: ProbeEnv) -> str:
    """What of a kernel's package tells its functions; empty when nobody knows which kernel."""
    file = next(kernel_files(env).started_files(), "")
    return f"the package of the kernel: {file} has its functions and types" if file else ""


def _in_module_elsewhere(asked: _Asked, pattern: str, env: ProbeEnv) -> list[Match]:
    """Functions of a module of a kernel that does not run: by debug information if it is here,
    else by symbols and types in the module's file."""
    if not has_wildcard(asked.module) and local_image(asked.module, env) is None:
        absent = _of_absent(asked, pattern, env)
        if absent:
            return absent
    return _in_source(asked, env)


def _found_at_load(asked: _Asked, env: ProbeEnv) -> bool:
    """Whether only the kernel that a module of ours is loaded into can tell if it has a symbol."""
    if runs(env):
        return _is_file_of_absent(asked, env)
    return bool(asked.module) or local_image("", env) is None


def _is_file_of_absent(asked: _Asked, env: ProbeEnv) -> bool:
    """Whether a module that is not loaded was given by its file."""
    return bool(asked.file) and asked.module not in function_table(env).modules()


def _known(asked: _Asked, functions: list[KernelFunction], env: ProbeEnv) -> list[Match]:
    """Functions that have symbols."""
    if not functions:
        return []
    prototypes = Prototypes(env)
    if len(functions) == 1:
        return [_match(asked, functions[0], prototypes)]
    if len(functions) <= _FEW:
        points = [_match(asked, f, prototypes).points[0] for f in functions]
    else:
        points = _places(asked, functions)
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


def _take_apart(found: ShapeMatch, point: ast.ProbePoint) -> _Asked:
    names = found.names()
    args = list(found.args)
    kind = "function" if "function" in names else "statement"
    at = names.index(kind)
    module = str(args[names.index("module")]) if "module" in names else ""
    asked = _Asked(
        names, args, args[at], at, module,
        "return" in names, "exported" in names, _maxactive(names, args, point),
        component_tok(point, at),
    )  # fmt: skip
    if asked.module.endswith(".ko") or "/" in asked.module:
        asked = asked._replace(file=asked.module, module=_module_name(asked.module))
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
    if not isinstance(number, int) or not 0 < number <= _MOST_ACTIVE:
        raise bad_point(
            f"maxactive value {number} is out of range (1..{_MOST_ACTIVE})",
            point.components[-1].tok,
        )
    return number


# --- by name ------------------------------------------------------------------------------------


def _by_name(
    asked: _Asked,
    pattern: str,
    table: FunctionTable,
    functions: list[KernelFunction],
    elsewhere: bool,
) -> list[KernelFunction]:
    """Those of the functions that are asked for; none is an error unless there are places
    ``elsewhere``."""
    if asked.exported and functions:
        exported = _exported(asked, table)
        functions = [f for f in functions if f.name in exported]
    if not functions and not elsewhere:
        _explain_none(asked, pattern, table)
    return functions


def _exported(asked: _Asked, table: FunctionTable) -> frozenset[str]:
    """The names of exported functions."""
    exported = table.exported()
    if exported is None:
        raise bad_point(
            "the kernel does not tell which functions are exported",
            asked.tok,
            hint="/proc/kallsyms lists them if it is built with CONFIG_KALLSYMS_ALL",
        )
    return exported


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

    if asked.tok.source.kind != "user":
        return ""  # nobody misspelt it, and looking at all names takes time
    if not asked.module:
        owners = [m for m in table.modules() if table.matching(name, m)]
        if owners:
            return f'it is in a module: module("{owners[0]}").function("{name}")'
    near = suggest(name, table.names(asked.module))
    if near:
        return f"did you mean {' or '.join(near)}?"
    return "the compiler may have inlined it everywhere: only debug information could tell"


def _of_absent(asked: _Asked, pattern: str, env: ProbeEnv) -> list[Match]:
    """Functions of a module that is not loaded, by its file; its types are remembered."""
    if asked.exported or (env.has_feature is not None and not env.has_feature("kprobe")):
        return []
    file = kernel_files(env).module_file(asked.module)
    if file is None:
        return []
    names = [n for n in file.functions() if fnmatchcase(n, pattern) and not n.startswith("__pfx_")]
    if names and has_types(env):
        file.give_types(env.btf())
    file.close()
    prototypes = Prototypes(env)
    functions = [KernelFunction(name, asked.module) for name in names]
    return [_match(asked, function, prototypes, later=True) for function in functions]


def _no_module(asked: _Asked, table: FunctionTable) -> Exception:
    from pystap.diag.suggest import suggest

    near = suggest(asked.module, table.modules())
    hint = "only modules that are loaded or installed can be probed"
    if near:
        hint = f"did you mean {' or '.join(near)}? {hint}"
    elif os.path.isdir(f"/sys/module/{asked.module}"):
        hint = 'it is built into the kernel: kernel.function("NAME")'
    return bad_point(f"module '{asked.module}' is not loaded", asked.tok, hint)


def _match(
    asked: _Asked, function: KernelFunction, prototypes: Prototypes, later: bool = False
) -> Match:
    prototype, missing, debug = None, "kprobe points have no variables", None
    if asked.names[0] != "kprobe":
        prototype, missing = prototypes.of(function)
        debug = context_at(function, 0, asked.is_return, prototypes.env)
    place = _place(asked, function, prototype.words if prototype else -1, later)
    context = FunctionContext(prototype, asked.is_return, missing, debug, function.module)
    return Match([place], context)


def _place(
    asked: _Asked, function: KernelFunction, words: int, later: bool = False
) -> tuple[str, attach.Attach]:
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
        later=later,
    )
    return point_text(asked.names, args), where


def _places(asked: _Asked, functions: list[KernelFunction]) -> list[tuple[str, attach.Attach]]:
    """The same for very many: what their texts have in common is made once."""
    if "module" in asked.names:
        return [_place(asked, function, -1) for function in functions]
    mark = "\0"  # in no name
    before, _, after = _place(asked, KernelFunction(mark, ""), -1)[0].partition(mark)
    is_return, maxactive, make = asked.is_return, asked.maxactive, attach.KernelFunction
    return [
        (f"{before}{name}{after}", make(name, module, is_return, 0, instance, 0, -1, maxactive))
        for name, module, instance, _ in functions
    ]


# --- by address ---------------------------------------------------------------------------------


def _absolute(asked: _Asked, env: ProbeEnv) -> Match:
    """An instruction by its address alone, whatever it is in."""
    if not env.guru:
        raise bad_point(
            "absolute statement probe in unprivileged script", asked.tok, hint="use -g"
        )
    assert isinstance(asked.wanted, int)  # the shape says so
    address = asked.wanted & ((1 << 64) - 1)
    return Match(
        [(_address_text(asked, address), attach.KernelFunction("", address=address))],
        FunctionContext(None, False, "probes at absolute addresses have no variables"),
    )


def _at_address(asked: _Asked, address: int, table: FunctionTable, env: ProbeEnv) -> Match:
    """A function by an address in it; a statement by its very address."""
    address &= (1 << 64) - 1
    text = _address_text(asked, address)
    found = table.at(address)
    if found is None or found[0].module != asked.module:
        whose = f"module {asked.module}" if asked.module else "the kernel"
        raise bad_point(f"no function of {whose} at address {address:#x}", asked.tok)
    function, offset = found
    if asked.exported and function.name not in _exported(asked, table):
        raise bad_point(f"function '{function.name}' is not exported", asked.tok)
    if "function" in asked.names or not offset:
        match = _match(asked, function, Prototypes(env))
        return Match([(text, match.points[0][1])], match.context)
    where = attach.KernelFunction(
        function.name, function.module, offset=offset, instance=function.instance
    )
    missing = "inside of functions they need debuginfo"
    debug = context_at(function, offset, False, env)
    context = FunctionContext(None, False, missing, debug, function.module)
    return Match([(text, where)], context)


def _address_in_source(
    asked: _Asked, address: int, table: FunctionTable, env: ProbeEnv
) -> list[Match]:
    """What debug information knows at an address of the kernel that runs."""
    from pystap.probes.kernel_places import places_in

    image = required_image(_module_of(asked), env, asked.tok, "inlined functions and lines")
    inner = address & ((1 << 64) - 1)
    if runs(env):
        found = table.at(inner)
        if found is None or found[0].module != asked.module:
            whose = f"module {asked.module}" if asked.module else "the kernel"
            raise bad_point(f"no function of {whose} at address {inner:#x}", asked.tok)
        inner = address_in_file(image, found[0], found[1], asked.tok)
    kind = ".".join(asked.names[asked.at :])

    text = _address_text(asked, address & ((1 << 64) - 1))
    return places_in([_module_of(asked)], lambda _: lambda _: text, kind, [inner], env, asked.tok)


def _address_text(asked: _Asked, address: int) -> str:
    """The probe point with its address in hexadecimal digits."""
    args = list(asked.args)
    if asked.module:
        args[asked.names.index("module")] = asked.module
    return point_text(asked.names, args).replace(f"({asked.wanted})", f"({address:#x})")


# --- by source ----------------------------------------------------------------------------------


def _in_source(asked: _Asked, env: ProbeEnv) -> list[Match]:
    """Files, lines, inlined functions, labels and calls."""
    from pystap.probes.kernel_places import places_in

    wild = has_wildcard(asked.module)
    modules = _modules(asked, env) if wild else [_module_of(asked)]
    later = False
    if asked.module and not wild and runs(env):
        table = function_table(env)
        later = asked.module not in table.modules()
        if later and not _can_wait(asked, env):
            raise _no_module(asked, table)
    kind = ".".join(asked.names[asked.at :])
    rest = [arg for arg in asked.args[asked.at :] if arg is not None]
    if asked.maxactive:
        rest.pop()
    found = places_in(
        modules, lambda m: _texts(asked, m), kind, rest, env, asked.tok, asked.maxactive, wild,
        lambda: _instead(asked, env), later,
    )  # fmt: skip
    if not found and not has_wildcard(str(asked.wanted)) and not wild:
        whose = f"module {asked.module}" if asked.module else "the kernel"
        raise bad_point(
            f"no match for '{asked.wanted}' in the debug information of {whose}",
            asked.tok,
            hint=_elsewhere(asked, env),
        )
    return found


def _can_wait(asked: _Asked, env: ProbeEnv) -> bool:
    """Whether places of a module that is not loaded are known, and may be armed before it is."""
    if env.has_feature is not None and not env.has_feature("kprobe"):
        return False
    return local_image(_module_of(asked), env) is not None


def _elsewhere(asked: _Asked, env: ProbeEnv) -> str:
    """Where a function is that was not found; for an error."""
    from pystap.debuginfo.dwarfplaces import Pattern, functions

    name = str(asked.wanted).partition("@")[0]
    image = local_image(_module_of(asked), env)
    if image is not None and not has_wildcard(name):
        files = sorted({place.file for place in functions(image.info, Pattern(name))})
        file = str(asked.wanted).partition("@")[2].partition(":")[0]
        if files and not any(path.endswith(file) for path in files):
            return f"'{name}' is in {' and '.join(files[:_MOST_NAMED])}"
    return "or the kernel allows no probe there (kprobes/blacklist, notrace)"


def _instead(asked: _Asked, env: ProbeEnv) -> str:
    """What BTF and symbols can do for a point that needs debug information; empty for nothing."""
    name = str(asked.wanted).partition("@")[0]
    if has_wildcard(name + asked.module) or "inline" in asked.names:
        return ""
    root = f'module("{asked.module}")' if asked.module else "kernel"
    prototypes = Prototypes(env)
    known = runs(env) and prototypes.of(KernelFunction(name, asked.module))[0] is not None
    told = ", whose parameters and result BTF tells" if known else ""
    return f'{root}.function("{name}")[.return]{told}'


def _modules(asked: _Asked, env: ProbeEnv) -> list[str]:
    """The modules a pattern stands for: those that are loaded, or of a kernel that runs not."""
    files = kernel_files(env)
    known = function_table(env).modules() if runs(env) else sorted(set(files.modules()))
    return [name for name in known if fnmatchcase(name, asked.module)]


def _module_of(asked: _Asked) -> str:
    """The module, by its file if that was given."""
    return asked.file or asked.module


def _texts(asked: _Asked, module: str) -> Callable[[Iterable[str | int]], str]:
    """Makes probe points of the arguments behind the module."""
    before: list[Arg] = [_module_name(module)] if module else [None]

    def text(args: Iterable[str | int]) -> str:
        given = iter([*args, asked.maxactive])
        shaped = asked.args[asked.at :]
        return point_text(
            asked.names, [*before, *(a if a is None else next(given) for a in shaped)]
        )

    return text


def _described(
    asked: _Asked, name: str, symbols: list[KernelFunction], env: ProbeEnv
) -> list[Match]:
    """Where else a function is, by debug information that is at hand: where it was inlined, and
    copies that the compiler altered and renamed."""
    by_number = asked.names[0] == "kprobe" or has_wildcard(name) or has_wildcard(asked.module)
    image = None if by_number else local_image(_module_of(asked), env)
    if image is None:
        return []
    from pystap.probes.kernel_places import copies_in

    kind = ".".join(asked.names[asked.at :])
    known = {(function.name, function.instance) for function in symbols}
    texts = _texts(asked, _module_of(asked))
    return copies_in(image, name, kind, known, texts, env, asked.tok, asked.maxactive)


def _module_name(path: str) -> str:
    from pystap.debuginfo.modulefile import module_name

    return module_name(path)


# --- prototypes ---------------------------------------------------------------------------------


class Prototypes:
    """Prototypes of functions in BTF; those of equal shape are made once."""

    def __init__(self, env: ProbeEnv) -> None:
        self.env = env
        self._made: dict[object, Prototype] = {}

    def of(self, function: KernelFunction) -> tuple[Prototype | None, str]:
        """The prototype, or None and why there is none."""
        from pystap.debuginfo.btf import KIND_FUNC
        from pystap.debuginfo.btftypes import Func, FuncProto

        if function.copies > 1:
            return None, f"there are {function.copies} functions of that name, BTF tells one"
        btf = self._btf(function.module)
        if btf is None:
            whose = f"module {function.module}" if function.module else "the kernel"
            return None, f"{whose} has no BTF"
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

        try:
            btf = self.env.btf()
            return btf.module(module) if module else btf
        except BtfMissing:
            return None
