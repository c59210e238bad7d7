"""What handlers at kernel functions see: parameters and the returned value, by BTF.

Names that BTF does not know are asked of debug information, where there is some.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from pystap.debuginfo import btftypes as t
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.lang.visit import clone
from pystap.probes.base import Context, unknown_variable
from pystap.probes.core import CoreContext
from pystap.probes.pretty import text_depth, variables_text
from pystap.probes.target import (
    CType,
    Place,
    binary,
    enumerator,
    error,
    expand,
    extended,
    listing_name,
    number,
)
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.debuginfo.btf import Btf
    from pystap.debuginfo.types import Types

# x86-64 System V ABI: integer arguments in registers, and the largest structure passed in them.
_REGISTERS: Final = 6
_LARGEST_IN_REGISTERS: Final = 16
_WORD: Final = 8
_TEXTS: Final = ("$$vars", "$$parms", "$$locals", "$$return")


class Parameter(NamedTuple):
    """A parameter: the number of the 8-byte word it begins at, and how many it takes.

    Words from the seventh on are on the stack.  ``first`` is -1 when it cannot be told.
    """

    name: str
    type: int
    first: int
    words: int


class Prototype:
    """A function's prototype: parameters in place, and what it returns."""

    __slots__ = ("btf", "key", "params", "result", "words")

    def __init__(self, btf: Btf, proto: t.FuncProto, key: object) -> None:
        self.btf = btf
        self.key = key  # equal for functions of equal prototypes
        self.params = _placed(btf, proto)
        self.result = proto.result
        #: 8-byte words of all arguments; -1 when not all are in registers, or plain
        self.words = _total(btf, proto, self.params)


class FunctionContext(Context):
    """Parameters by name at the entry; at the return what they were, and ``$return``.

    Without a prototype there are no variables, and ``missing`` says why.  ``debug`` gives the
    context that debug information has for the place, or None.
    """

    def __init__(
        self,
        prototype: Prototype | None,
        is_return: bool,
        missing: str = "",
        debug: Callable[[], Context | None] | None = None,
        module: str = "",
    ) -> None:
        self._prototype = prototype
        self._debug = debug
        self._module = module
        self.kernel_module = module or "kernel"
        self._is_return = is_return
        self._missing = missing
        key = prototype.key if prototype else debug
        self.share_key = ("kernel function", is_return, key)

    def key_for(self, used: Collection[str]) -> object:
        """Alike when the parameters used are the same ones of the same types."""
        names = [name for name in used if name.startswith("$")]
        if "@" in used and self._debug is not None:
            names.append("@")  # a file of its own, or types, are meant
        if not names:
            return ("kernel function", self._is_return)
        if self._prototype is None or self._unknown(names):
            return ("kernel function", self._is_return, self._debug)
        if any(name.startswith("$$") for name in names):
            return self.share_key
        result = self._prototype.result if "$return" in names else 0
        params = tuple(p for p in self._prototype.params if f"${p.name}" in names)
        return ("kernel function", self._is_return, self._prototype.btf.name, result, params)

    def _unknown(self, names: Sequence[str]) -> bool:
        """Whether names are used that only debug information may know."""
        assert self._prototype is not None  # the caller looked
        known = {f"${param.name}" for param in self._prototype.params}
        return self._debug is not None and not known.issuperset({*names} - {"$return", *_TEXTS})

    def own_types(self) -> Types | None:
        """Those of a module, to look at behind the kernel's."""
        return self._prototype.btf if self._prototype is not None and self._module else None

    def entry(self) -> Context | None:
        """What the entry of the function sees, for ``@entry``."""
        if not self._is_return:
            return None
        return FunctionContext(
            self._prototype, False, self._missing, self._entry_debug(), self._module
        )

    def _entry_debug(self) -> Callable[[], Context | None] | None:
        """The same for debug information."""
        debug = self._debug
        if debug is None:
            return None

        def find() -> Context | None:
            described = debug()
            return None if described is None else described.entry()

        return find

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """A parameter, ``$return``, an enumerator, or one of the ``$$`` texts."""
        prototype = self._prototype
        if prototype is None or self._unknown([var.name]):
            described = None if self._debug is None else self._debug()
            if described is not None:
                return described.resolve(var)
        if prototype is None:
            instead = "returnval()" if self._is_return else "int_arg(N), pointer_arg(N)"
            raise error(
                f"unable to find local '{var.name.lstrip('$')}': {self._missing}",
                var.tok,
                hint=f"use {instead}, or install debug information of the kernel",
            )
        if var.name.startswith("$$"):
            return self._text(prototype, var)
        if var.name == "$return" and self._returns(prototype):
            return expand(_result(prototype, var.tok), var.components, var.tok, var.address_of)
        for param in prototype.params:
            if f"${param.name}" == var.name:
                if self._is_return:
                    return _at_entry(prototype, param, var)
                if _has_members(prototype.btf, param) and not var.address_of:
                    return _part(prototype.btf, param, var)
                place = _argument(prototype.btf, param, var.tok)
                return expand(place, var.components, var.tok, var.address_of)
        return enumerator(prototype.btf, var, [n for n, _ in self.variables()])

    def global_variable(self, node: ast.AtVar) -> ast.Expr | None:
        """``@var`` by debug information of the place; None when there is none."""
        described = None if self._debug is None else self._debug()
        return None if described is None else described.global_variable(node)

    def variables(self) -> list[tuple[str, str]]:
        """``$return``, then each parameter, with their C types; those without value left out."""
        prototype = self._prototype
        if prototype is None:
            described = None if self._debug is None else self._debug()
            return [] if described is None else described.variables()
        btf = prototype.btf
        found = [("$return", prototype.result)] if self._returns(prototype) else []
        found += [
            (f"${p.name}", p.type)
            for p in prototype.params
            if _readable(btf, p) or _has_members(btf, p)
        ]
        return [(name, listing_name(btf, type_id)) for name, type_id in found]

    def _returns(self, prototype: Prototype) -> bool:
        btf = prototype.btf
        return self._is_return and _is_plain(btf, prototype.result)

    def _text(self, prototype: Prototype, var: ast.TargetVar) -> ast.Expr:
        depth = text_depth(var)
        if var.name == "$$return":
            if not self._is_return:
                raise error("$$return is only valid in .return probes", var.tok)
            found = [("return", _result(prototype, var.tok))] if self._returns(prototype) else []
            return variables_text(found, depth, var.tok)
        if var.name == "$$locals":
            return variables_text([], depth, var.tok)
        if var.name not in _TEXTS:
            known = [name for name, _ in self.variables()]
            raise unknown_variable(var, [*known, *_TEXTS])
        if self._is_return:
            return ast.AtOp(tok=var.tok, name="entry", args=[clone(var)])
        btf = prototype.btf
        places = [
            (p.name, _argument(btf, p, var.tok) if _readable(btf, p) else None)
            for p in prototype.params
        ]
        return variables_text(places, depth, var.tok)


def _placed(btf: Btf, proto: t.FuncProto) -> tuple[Parameter, ...]:
    """Parameters with their words: registers first, what does not fit on the stack."""
    from pystap.debuginfo.btf import BtfError

    placed = []
    register, stack = 0, _REGISTERS
    known = True
    for place, param in enumerate(proto.params, 1):
        try:
            size = btf.sizeof(param.type)
        except BtfError:
            size, known = _WORD, False
        words = max(1, -(-size // _WORD))
        by_value = not _is_plain(btf, param.type)
        in_memory = by_value and size > _LARGEST_IN_REGISTERS
        if not in_memory and register + words <= _REGISTERS:
            first, register = register, register + words
        else:
            first, stack = stack, stack + words
        name = param.name or f"arg{place}"
        placed.append(Parameter(name, param.type, first if known else -1, words))
    return tuple(placed)


def _total(btf: Btf, proto: t.FuncProto, params: Sequence[Parameter]) -> int:
    """Words of all arguments where a trampoline passes exactly these, else -1."""
    total = sum(param.words for param in params)
    plain = _is_plain(btf, proto.result) or _is_void(btf, proto.result)
    fits = all(0 <= param.first < _REGISTERS for param in params)
    return total if plain and fits and not proto.variadic else -1


def _is_void(btf: Btf, type_id: int) -> bool:
    return isinstance(btf.type(btf.resolve(type_id)), t.Void)


def _is_plain(btf: Btf, type_id: int) -> bool:
    """Whether a type is a number, pointer or enumeration of at most one word."""
    view = btf.type(btf.resolve(type_id))
    return isinstance(view, t.Ptr) or (isinstance(view, (t.Int, t.Enum)) and view.size <= _WORD)


def _readable(btf: Btf, param: Parameter) -> bool:
    return param.first >= 0 and _is_plain(btf, param.type)


def _has_members(btf: Btf, param: Parameter) -> bool:
    """Whether a parameter is a structure passed by value in registers or words of the stack."""
    view = btf.type(btf.resolve(param.type))
    return param.first >= 0 and isinstance(view, t.Struct) and view.size <= _LARGEST_IN_REGISTERS


def _part(btf: Btf, param: Parameter, var: ast.TargetVar) -> ast.Expr:
    """A number or pointer within a structure passed by value, and what follows it."""
    type_id, bit = param.type, 0
    taken = 0
    for component in var.components:
        if not isinstance(component, ast.Member) or _is_plain(btf, type_id):
            break
        found = btf.member(type_id, component.name)
        if found is None or found[2]:
            break
        type_id, bit = found[0], bit + found[1]
        taken += 1
    if not _is_plain(btf, type_id):
        shown = listing_name(btf, param.type)
        names = [member.name for member in btf.members(param.type)]
        raise error(
            f"'${param.name}' ({shown}) is passed by value: name one of its members that is a"
            f" number or pointer (alternatives: {', '.join(names)})",
            var.tok,
        )
    word: ast.Expr = CoreContext(
        tok=var.tok, type="long", kind="funcarg", index=param.first + bit // (8 * _WORD)
    )
    if bit % (8 * _WORD):
        word = binary(">>", word, number(bit % (8 * _WORD), var.tok), var.tok)
    place = Place(extended(word, btf, type_id, var.tok), btf, type_id, "kernel", False)
    return expand(place, var.components[taken:], var.tok)


def _argument(btf: Btf, param: Parameter, tok: Token) -> Place:
    if not _readable(btf, param):
        shown = listing_name(btf, param.type)
        raise error(f"'${param.name}' ({shown}) is passed by value and cannot be read", tok)
    raw: ast.Expr = CoreContext(tok=tok, type="long", kind="funcarg", index=param.first)
    return Place(extended(raw, btf, param.type, tok), btf, param.type, "kernel", False)


def _result(prototype: Prototype, tok: Token) -> Place:
    btf, type_id = prototype.btf, prototype.result
    raw: ast.Expr = CoreContext(tok=tok, type="long", kind="retval")
    return Place(extended(raw, btf, type_id, tok), btf, type_id, "kernel", False)


def _at_entry(prototype: Prototype, param: Parameter, var: ast.TargetVar) -> ast.Expr:
    """``@entry`` of a parameter with its components; the parameter itself keeps its type."""
    saved: ast.Expr = ast.AtOp(tok=var.tok, name="entry", args=[clone(var)])
    if var.components or var.address_of:
        return saved
    ctype = CType(prototype.btf, param.type)
    return ast.Unary(tok=var.tok, type="long", ctype=ctype, op="+", operand=saved)
