"""``@cast``, ``@var``, ``@enum`` and ``@enumname``, and ``->`` on values that carry a type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pystap.debuginfo import btftypes as t
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.core import CoreIntrinsic, CoreLoad
from pystap.probes.target import CType, Place, Space, binary, error, expand, expand_ctype, number

if TYPE_CHECKING:
    from pystap.debuginfo.btf import Btf
    from pystap.probes.base import ProbeEnv

_TAGS: Final = ("struct", "union", "enum")
_QUALIFIERS: Final = ("const", "volatile")
_INT_WORDS: Final = ("unsigned", "signed", "long", "short", "int", "char")


def expand_cast(node: ast.Cast, env: ProbeEnv) -> ast.Expr:
    """``@cast(operand, "type"[, "module"])`` with components.

    The type is that of the pointer or number given: with ``"task_struct"`` (as with
    ``"struct task_struct*"``) the operand is the address of such a structure.
    """
    btf = _module_btf(node.module, env, node.tok)
    found = find_type(btf, node.type_name)
    if found is None:
        raise _no_type(btf, node.type_name, node.tok)
    type_id, pointers = found
    space: Space = "user" if _is_user(node.module) else "kernel"
    place = _cast_place(node.operand, btf, type_id, pointers, space)
    if not node.components and not node.address_of:
        made = ast.Unary(tok=node.tok, type="long", op="+", operand=node.operand)
        made.ctype = CType(btf, type_id, space, place.pointers)
        return made
    return expand(place, node.components, node.tok, node.address_of)


def expand_autocast(node: ast.Autocast) -> ast.Expr:
    """``expr->member`` where the expression carries a type."""
    ctype = node.operand.ctype
    if not isinstance(ctype, CType):
        raise error(
            "cannot tell what type this value has",
            node.tok,
            hint='say it with @cast(value, "type")->member',
        )
    return expand_ctype(node.operand, ctype, node.components, node.tok, node.address_of)


def expand_var(node: ast.AtVar, env: ProbeEnv) -> ast.Expr:
    """``@var("name")`` of a kernel variable.

    BTF describes per-CPU variables (and, in some kernels, others); the current CPU's is read.
    """
    from pystap.debuginfo.btf import KIND_VAR

    btf = _module_btf(node.module, env, node.tok)
    name = node.target.partition("@")[0]
    type_id = btf.find(name, KIND_VAR)
    if type_id is None:
        raise error(
            f"unable to find global '{name}' in the kernel's type information",
            node.tok,
            hint="BTF describes per-CPU variables only; for others, full debuginfo is needed",
        )
    view = btf.type(type_id)
    assert isinstance(view, t.Var)
    addr = _variable_address(btf, type_id, name, node.tok)
    place = Place(addr, btf, view.type, "kernel", True)
    return expand(place, node.components, node.tok, node.address_of)


def enum_constant(name: str, env: ProbeEnv, tok: Token) -> ast.Expr:
    """``@enum("NAME")``: the value of an enumerator of the kernel."""
    btf = env.btf()
    found = btf.enumerator(name)
    if found is None:
        raise error(f"unable to find enumerator '{name}'", tok)
    made = number(found[1], tok)
    made.ctype = CType(btf, found[0])
    return made


def enum_name(value: ast.Expr, type_name: str | None, env: ProbeEnv, tok: Token) -> ast.Expr:
    """``@enumname(value[, "type"])``: the enumerator's name, or the number when it has none.

    Without a type name the value must carry an enumeration type.
    """
    from pystap.lang.visit import clone

    view = _enumeration(value, type_name, env, tok)
    made: ast.Expr = ast.Print(
        tok=tok,
        type="string",
        name="sprintf",
        args=[clone(value)],
        format=ast.String(tok=tok, type="string", value="%d"),
    )
    names: dict[int, str] = {}
    for label, known in view.values:
        names.setdefault(known, label)
    for known, label in reversed(names.items()):
        cond = ast.Compare(
            tok=tok, type="long", op="==", left=clone(value), right=number(known, tok)
        )
        text = ast.String(tok=tok, type="string", value=label)
        made = ast.Ternary(tok=tok, type="string", cond=cond, yes=text, no=made)
    return made


def find_type(btf: Btf, spelling: str) -> tuple[int, int] | None:
    """A type by its C name: its id and how many ``*`` follow it; None when there is none.

    ``task_struct``, ``struct task_struct``, ``const struct file *``, ``pid_t``, ``unsigned int``.
    A bare name is a structure, union, typedef, enumeration or base type, in this order.
    """
    from pystap.debuginfo.btf import KIND_ENUM, KIND_ENUM64, KIND_STRUCT, KIND_TYPEDEF, KIND_UNION

    words = spelling.replace("*", " * ").split()
    pointers = words.count("*")
    words = [word for word in words if word != "*" and word not in _QUALIFIERS]
    kinds: tuple[int, ...]
    if words and words[0] in _TAGS:
        kinds = {
            "struct": (KIND_STRUCT,),
            "union": (KIND_UNION,),
            "enum": (KIND_ENUM, KIND_ENUM64),
        }[words[0]]
        words = words[1:]
    else:
        kinds = (KIND_STRUCT, KIND_UNION, KIND_TYPEDEF, KIND_ENUM, KIND_ENUM64)
    if len(words) == 1:
        for kind in kinds:
            found = btf.find(words[0], kind)
            if found is not None:
                return found, pointers
    base = _base_type(btf, words)
    return None if base is None else (base, pointers)


def type_defined(type_name: str, module: str | None, env: ProbeEnv, tok: Token) -> bool:
    """Whether ``@cast`` would find the type (for ``@defined``)."""
    return find_type(_module_btf(module, env, tok), type_name) is not None


# --- parts --------------------------------------------------------------------------------------


def _cast_place(operand: ast.Expr, btf: Btf, type_id: int, pointers: int, space: Space) -> Place:
    """The operand as value of the type; structures are passed by address."""
    view = btf.type(btf.resolve(type_id))
    if isinstance(view, (t.Struct, t.Fwd, t.Array)):
        pointers = max(pointers, 1)
    return Place(operand, btf, type_id, space, False, pointers)


def _module_btf(modules: str | None, env: ProbeEnv, tok: Token) -> Btf:
    """The BTF that a module list (separated by colons) names; the kernel's by default."""
    from pystap.debuginfo.btf import BtfMissing

    btf = env.btf()
    for name in (modules or "kernel").split(":"):
        plain = name.partition("<")[0]
        if plain in ("kernel", "vmlinux", "") or _is_user(name):
            return btf
        try:
            return btf.module(plain.removesuffix(".ko"))
        except BtfMissing:
            continue
    raise error(f"no type information for module '{modules}'", tok)


def _is_user(modules: str | None) -> bool:
    """Whether a module list names a program: its values lie in user space."""
    return modules is not None and modules.startswith("/")


def _no_type(btf: Btf, spelling: str, tok: Token) -> Exception:
    from pystap.debuginfo.btf import KIND_STRUCT, KIND_TYPEDEF
    from pystap.diag.suggest import suggest

    words = [word for word in spelling.replace("*", " ").split() if word not in _QUALIFIERS]
    wanted = words[-1] if words else spelling
    names = {name for kind in (KIND_STRUCT, KIND_TYPEDEF) for name, _ in btf.names(kind)}
    near = suggest(wanted, sorted(names))
    hint = f"similar types: {', '.join(near)}" if near else None
    return error(f"type definition '{spelling}' not found in BTF", tok, hint)


def _base_type(btf: Btf, words: list[str]) -> int | None:
    """An integer type by its words in any order (``unsigned long int``)."""
    from pystap.debuginfo.btf import KIND_INT

    if len(words) == 1:
        found = btf.find(words[0], KIND_INT)
        if found is not None:
            return found
    if not words or any(word not in _INT_WORDS for word in words):
        return None
    for name, type_id in _base_types(btf):
        if _canonical(name.split()) == _canonical(words):
            return type_id
    return None


def _base_types(btf: Btf) -> Iterator[tuple[str, int]]:
    from pystap.debuginfo.btf import KIND_INT

    if btf.base is not None:
        yield from _base_types(btf.base)
    yield from btf.names(KIND_INT)


def _canonical(words: list[str]) -> tuple[bool, str, int]:
    """Unsigned?, char or short or int, and the number of ``long``."""
    kind = next((word for word in ("char", "short") if word in words), "int")
    return "unsigned" in words, kind, words.count("long")


def _enumeration(value: ast.Expr, type_name: str | None, env: ProbeEnv, tok: Token) -> t.Enum:
    btf = env.btf()
    if type_name is not None:
        found = find_type(btf, type_name if " " in type_name else f"enum {type_name}")
        found = found or find_type(btf, type_name)
        if found is None:
            raise _no_type(btf, type_name, tok)
        view = btf.type(btf.resolve(found[0]))
    elif isinstance(value.ctype, CType):
        view = value.ctype.btf.type(value.ctype.btf.resolve(value.ctype.type_id))
    else:
        view = t.Void()
    if not isinstance(view, t.Enum):
        raise error("@enumname needs a value of an enumeration type, or the type's name", tok)
    return view


def _variable_address(btf: Btf, var_id: int, name: str, tok: Token) -> ast.Expr:
    """The address of a variable; of the current CPU's instance when it is per CPU."""
    symbols = _kernel_symbols({name, "__per_cpu_offset"})
    if name not in symbols:
        raise error(f"the kernel does not tell the address of '{name}' (/proc/kallsyms)", tok)
    if not _is_per_cpu(btf, var_id):
        return number(symbols[name], tok)
    if "__per_cpu_offset" not in symbols:
        raise error("the kernel does not tell where per-CPU variables are (/proc/kallsyms)", tok)
    cpu = CoreIntrinsic(tok=tok, type="long", name="cpu")
    slot = binary("+", number(symbols["__per_cpu_offset"], tok), cpu, tok)
    slot.right = binary("*", cpu, number(8, tok), tok)
    offset = CoreLoad(tok=tok, type="long", addr=slot, space="kernel", size=8, signed=False)
    return binary("+", offset, number(symbols[name], tok), tok)


def _is_per_cpu(btf: Btf, var_id: int) -> bool:
    from pystap.kernel.btfwriter import KIND_DATASEC

    section = btf.find(".data..percpu", KIND_DATASEC)
    if section is None:
        return False
    view = btf.type(section)
    return isinstance(view, t.Datasec) and any(entry[0] == var_id for entry in view.variables)


def _kernel_symbols(names: set[str]) -> dict[str, int]:
    """Addresses of kernel symbols (0 shown to the unprivileged counts as none)."""
    found: dict[str, int] = {}
    with open("/proc/kallsyms", encoding="latin-1") as file:
        for line in file:
            fields = line.split()
            if fields[2] in names and int(fields[0], 16):
                found.setdefault(fields[2], _signed(int(fields[0], 16)))
                if len(found) == len(names):
                    break
    return found


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
