"""Types named in scripts: ``@cast``, ``@enum`` and ``@enumname``, answered by BTF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pystap.diag.diagnostic import Diagnostic, DiagnosticError
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.target import Place, Space, expand, number
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.debuginfo.types import Types
    from pystap.probes.base import Context, ProbeEnv

# C spellings of the integer types whose canonical one (BTF's) differs, words sorted.
_INTEGERS: Final[dict[tuple[str, ...], str]] = {
    ("short",): "short int",
    ("int", "short"): "short int",
    ("short", "unsigned"): "short unsigned int",
    ("int", "short", "unsigned"): "short unsigned int",
    ("signed",): "int",
    ("unsigned",): "unsigned int",
    ("int", "unsigned"): "unsigned int",
    ("long",): "long int",
    ("int", "long"): "long int",
    ("long", "unsigned"): "long unsigned int",
    ("int", "long", "unsigned"): "long unsigned int",
    ("long", "long"): "long long int",
    ("int", "long", "long"): "long long int",
    ("long", "long", "unsigned"): "long long unsigned int",
    ("int", "long", "long", "unsigned"): "long long unsigned int",
    ("char", "unsigned"): "unsigned char",
    ("char", "signed"): "signed char",
}
_QUALIFIERS: Final = ("const", "volatile", "restrict")


class NamedType(NamedTuple):
    """A type found by its C name; ``stars`` are the pointers in front of it."""

    btf: Types
    type_id: int
    stars: int
    space: Space = "kernel"


def expand_cast(cast: ast.Cast, env: ProbeEnv, context: Context | None = None) -> ast.Expr:
    """The value of ``@cast(operand, "type"[, "modules"])`` with its components.

    Without modules the types are those of the program that ``context`` is about, else the
    kernel's.  Raises ``DiagnosticError`` when there is no such type or member.
    """
    own = None if context is None or cast.module is not None else context.own_types()
    in_kernel = context is not None and context.kernel_module is not None
    found = find_type(cast.type_name, cast.module, env, cast.tok, own, in_kernel)
    btf, type_id, stars, space = found
    looked_into = bool(cast.components) and not isinstance(cast.components[0], ast.Pretty)
    if not stars and (looked_into or _is_object(btf, type_id)):
        stars = 1  # objects are handed around by their address
    place = Place(cast.operand, btf, type_id, space, False, stars)
    return expand(place, cast.components, cast.tok, cast.address_of)


def find_type(
    name: str,
    module: str | None,
    env: ProbeEnv,
    tok: Token,
    own: Types | None = None,
    in_kernel: bool = False,
) -> NamedType:
    """The type ``name`` of the kernel or of one of the modules of a ``:`` separated list.

    Modules with a slash are programs.  ``own`` are types to look at first, of a program; with
    ``in_kernel`` those of the kernel's or a module's debug information, which come after BTF's.
    """
    words, stars = _words(name)
    type_id = None if own is None or in_kernel else _find(own, words)
    if own is not None and type_id is not None:
        return NamedType(own, type_id, stars, "user")
    tried = [] if own is None or in_kernel else ["the program"]
    missing: list[str] = []
    for place in (module or "kernel").split(":"):
        space: Space = "user" if "/" in place and "<" not in place else "kernel"
        known = [_program_types(place, env, tok)] if space == "user" else _kernel_types(place, env)
        for btf in [*known, own] if in_kernel and own is not None else known:
            type_id = _find(btf, words)
            if type_id is not None:
                return NamedType(btf, type_id, stars, space)
        if not known:
            missing.append(place)
        tried.append(place or "kernel")
    hint = _near_types(words, env)
    if missing:
        hint = f"nothing tells the types of {', '.join(missing)}: is it loaded?"
    raise _error(f"unable to find type '{name}' in {', '.join(tried)}", tok, hint)


def enum_value(name: str, env: ProbeEnv, tok: Token) -> ast.Number:
    """The number of the kernel enumerator ``name``."""
    value = env.btf().enum_value(name)
    if value is None:
        raise _error(f"unable to find enumerator '{name}'", tok)
    return number(value, tok)


def enumerators(
    type_name: str, module: str | None, env: ProbeEnv, tok: Token
) -> list[tuple[str, int]]:
    """Names and values of an enumeration."""
    from pystap.debuginfo import btftypes

    found = find_type(type_name, module, env, tok)
    view = found.btf.type(found.btf.resolve(found.type_id))
    if not isinstance(view, btftypes.Enum) or found.stars:
        raise _error(f"'{type_name}' is not an enumeration", tok)
    return list(view.values)


# --- parts --------------------------------------------------------------------------------------


def _words(name: str) -> tuple[list[str], int]:
    """The words of a C type name without qualifiers, and its number of stars."""
    stars = name.count("*")
    words = name.replace("*", " ").split()
    return [w for w in words if w not in _QUALIFIERS], stars


def _program_types(path: str, env: ProbeEnv, tok: Token) -> Types:
    from pystap.probes.programs import find_programs
    from pystap.probes.user_debug import required_debug_info

    [program, *_] = find_programs(path, env.sysroot, tok)
    return required_debug_info(program.path, env, tok).types


def _kernel_types(place: str, env: ProbeEnv) -> list[Types]:
    """BTF of ``kernel``, ``kernel<header.h>``, ``<header.h>`` or a module, then what its debug
    information tells; empty when there is neither."""
    from pystap.debuginfo.btf import BtfError
    from pystap.probes.kernel_debug import local_image

    header = place in ("", "kernel", "vmlinux") or place.startswith(("kernel<", "<"))
    module = "" if header else place.removesuffix(".ko").replace("-", "_")
    found: list[Types] = []
    try:
        found.append(env.btf().module(module) if module else env.btf())
    except (BtfError, OSError):
        if module:
            found += _types_of_absent(module, env)
        elif not env.release:
            raise
    image = local_image(module, env)
    return found if image is None else [*found, image.info.types]


def _types_of_absent(module: str, env: ProbeEnv) -> list[Types]:
    """Those of a module that is not loaded, by its file."""
    from pystap.debuginfo.btf import BtfError
    from pystap.probes.kernel_debug import kernel_files

    file = kernel_files(env).module_file(module)
    if file is None:
        return []
    try:
        file.give_types(env.btf())
        return [env.btf().module(module)]
    except (BtfError, OSError):
        return []
    finally:
        file.close()


def _find(btf: Types, words: Sequence[str]) -> int | None:
    from pystap.debuginfo import btf as b

    if not words:
        return None
    tagged = {
        "struct": (b.KIND_STRUCT,),
        "class": (b.KIND_STRUCT,),
        "union": (b.KIND_UNION,),
        "enum": (b.KIND_ENUM, b.KIND_ENUM64),
    }
    if words[0] in tagged:
        kinds: tuple[int, ...] = tagged[words[0]]
        name = " ".join(words[1:])
    else:
        name = _INTEGERS.get(tuple(sorted(words)), " ".join(words))
        kinds = (
            b.KIND_STRUCT,
            b.KIND_UNION,
            b.KIND_TYPEDEF,
            b.KIND_ENUM,
            b.KIND_ENUM64,
            b.KIND_INT,
        )
    for kind in kinds:
        type_id = btf.find(name, kind)
        if type_id is not None:
            return type_id
    return None


def _near_types(words: Sequence[str], env: ProbeEnv) -> str | None:
    """Structures with a like name; looked for only when reporting."""
    from pystap.debuginfo.btf import KIND_STRUCT, KIND_TYPEDEF
    from pystap.diag.suggest import suggest

    if not words:
        return None

    def names() -> Iterator[str]:
        for kind in (KIND_STRUCT, KIND_TYPEDEF):
            for name, _ in env.btf().names(kind):
                if name[:2] == words[-1][:2]:
                    yield name

    near = suggest(words[-1], sorted(set(names())))
    return f"did you mean {' or '.join(near)}?" if near else None


def _is_object(btf: Types, type_id: int) -> bool:
    """Whether values of the type live in memory: structures, unions and arrays."""
    from pystap.debuginfo import btftypes

    view = btf.type(btf.resolve(type_id))
    return isinstance(view, (btftypes.Struct, btftypes.Array, btftypes.Fwd))


def _error(message: str, tok: Token, hint: str | None = None) -> DiagnosticError:
    return DiagnosticError(Diagnostic("semantic error", message, tok, hint=hint))
