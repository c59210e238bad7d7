"""Variables of system call probes.

With several calls in one match, a variable is chosen by the number of the call: those that have
it give it, the others 0 or an empty string (what a script's unset variable is).
"""

from __future__ import annotations

from collections.abc import Collection

from pystap.lang import ast
from pystap.lang.source import Source
from pystap.lang.tokens import Token
from pystap.longs import signed
from pystap.probes.base import Context, unknown_variable
from pystap.probes.core import CoreContext, CoreIntrinsic
from pystap.probes.syscall_table import (
    ARGUMENT_SHIFT,
    POINT_NAME,
    Argument,
    Syscall,
    ctype_width,
)
from pystap.probes.target import binary, number
from pystap.typing import Final, Literal, NamedTuple

# When these return, the registers are those of something else.
_REPLACES_REGISTERS: Final = ("execve", "execveat", "rt_sigreturn")
# Most bytes of an unquoted string; what a string holds (MAXSTRINGLEN) bounds it further.
_MOST_BYTES: Final = 4095

Edge = Literal["enter", "exit"]


class _Place(NamedTuple):
    """Where a variable comes from: an argument, and what is made of it."""

    argument: int
    form: Literal["number", "text", "raw"]
    width: str  # of numbers


class SyscallContext(Context):
    """Variables of a set of calls at entry or return."""

    def __init__(self, calls: tuple[Syscall, ...], edge: Edge, name: str = "") -> None:
        self._calls = calls
        self._edge = edge
        self._name = name  # for the variable ``name``, if not the call's own
        self.share_key = ("syscall", edge, name, tuple(call.number for call in calls))

    def key_for(self, used: Collection[str]) -> object:
        """Alike when what is used comes from the same places in all calls."""
        free = {"retstr", "retval", "$return", "$$return"}
        if not self._lost():
            free.add("argstr")
        sources: list[tuple[str, _Place]] = []
        for name in sorted(set(used) - free):
            places = self._parameter_places() if name.startswith("$") else self._script_places()
            found = places.get(name, {})
            if sum(map(len, found.values())) != len(self._calls) or len(found) != 1:
                return self.share_key
            sources.append((name, next(iter(found))))
        return ("syscall", self._edge, *sources)

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """A parameter by the kernel's name for it, ``$return``, or one of the ``$$`` texts."""
        if var.components or var.address_of:
            raise _no_components(var)
        if var.name == "$return" and self._edge == "exit":
            return _context("sysret", 0, var.tok)
        if var.name in ("$$parms", "$$vars") and len(self._calls) == 1:
            return self._parameters_text(var.tok)
        if var.name == "$$return" and self._edge == "exit":
            return _return_text(var.tok)
        places = self._parameter_places()
        found = places.get(var.name)
        if found is None:
            raise unknown_variable(var, [name for name, _ in self.variables()])
        return self._chosen(found, var.tok)

    def variables(self) -> list[tuple[str, str]]:
        """The parameters common to all calls, and ``$return``."""
        first, *others = self._calls
        common = [(f"${a.parameter}", a.ctype) for a in first.arguments]
        for call in others:
            here = {(f"${a.parameter}", a.ctype) for a in call.arguments}
            common = [item for item in common if item in here]
        return [*common, ("$return", "long int")] if self._edge == "exit" else common

    def locals(self) -> dict[str, ast.Expr]:
        """``name``, ``argstr``, ``retval``, ``retstr`` and the variables of the arguments."""
        tok = _synthetic()
        made: dict[str, ast.Expr] = {"name": self._name_value(tok)}
        if self._edge == "exit":
            made["retval"] = _context("sysret", 0, tok)
            made["retstr"] = self._return_string(tok)
        made["argstr"] = self._arguments_string(tok)
        for name, places in self._script_places().items():
            made.setdefault(name, self._chosen(places, tok))
        return made

    def entry(self) -> SyscallContext | None:
        """What the entries of returns see, for ``@entry``."""
        if self._edge == "enter":
            return None
        return SyscallContext(self._calls, "enter", self._name)

    # --- parts ----------------------------------------------------------------------------------

    def _name_value(self, tok: Token) -> ast.Expr:
        if self._name or len({call.point for call in self._calls}) == 1:
            return _string(self._name or self._calls[0].point, tok)
        return _point_name(tok)

    def _arguments_string(self, tok: Token) -> ast.Expr:
        """Every argument; at the return of a call that replaced the registers none."""
        made = _argument_string(_context("sysnr", 0, tok), tok)
        lost = self._lost()
        if not lost:
            return made
        empty = _string("", tok)
        if len(lost) == len(self._calls):
            return empty
        return ast.Ternary(tok=tok, type="string", cond=_one_of(lost, tok), yes=empty, no=made)

    def _lost(self) -> list[int]:
        """Numbers of the calls whose arguments are gone here."""
        if self._edge == "enter":
            return []
        return [call.number for call in self._calls if call.name in _REPLACES_REGISTERS]

    def _return_string(self, tok: Token) -> ast.Expr:
        value = _context("sysret", 0, tok)
        args = [_context("sysnr", 0, tok), value]
        return CoreIntrinsic(tok=tok, type="string", name="syscall_retstr", args=args)

    def _script_places(self) -> dict[str, dict[_Place, list[int]]]:
        """Variable -> where it comes from -> numbers of the calls where it does."""
        found: dict[str, dict[_Place, list[int]]] = {}
        for call in self._calls:
            if self._edge == "exit" and call.name in _REPLACES_REGISTERS:
                continue
            for index, argument in enumerate(call.arguments):
                for name, place in _variables(index, argument):
                    found.setdefault(name, {}).setdefault(place, []).append(call.number)
        return found

    def _parameter_places(self) -> dict[str, dict[_Place, list[int]]]:
        found: dict[str, dict[_Place, list[int]]] = {}
        for call in self._calls:
            for index, argument in enumerate(call.arguments):
                place = _Place(index, "number", ctype_width(argument.ctype))
                places = found.setdefault(f"${argument.parameter}", {})
                places.setdefault(place, []).append(call.number)
        return found

    def _chosen(self, places: dict[_Place, list[int]], tok: Token) -> ast.Expr:
        """The value from the place that the number of the call selects."""
        covered = sum(len(numbers) for numbers in places.values())
        options = list(places.items())
        text = options[0][0].form != "number"
        made: ast.Expr = _string("", tok) if text else number(0, tok)
        if covered == len(self._calls):
            made = self._value(options.pop()[0], tok)
        for place, numbers in reversed(options):
            made = ast.Ternary(
                tok=tok,
                type="string" if text else "long",
                cond=_one_of(numbers, tok),
                yes=self._value(place, tok),
                no=made,
            )
        return made

    def _value(self, place: _Place, tok: Token) -> ast.Expr:
        if place.form == "text":
            return _argument_string(_selecting(place.argument, tok), tok)
        arg = _context("sysarg", place.argument, tok)
        if place.form == "raw":
            args: list[ast.Expr] = [arg, number(_MOST_BYTES, tok), _string("", tok)]
            return CoreIntrinsic(tok=tok, type="string", name="user_string_or", args=args)
        return _narrowed(arg, place.width, tok)

    def _parameters_text(self, tok: Token) -> ast.Expr:
        """``name=0x... name=0x...`` of the one call there is."""
        [call] = self._calls
        args: list[ast.Expr] = []
        for index, argument in enumerate(call.arguments):
            args.append(
                _narrowed(_context("sysarg", index, tok), ctype_width(argument.ctype), tok)
            )
        text = " ".join(f"{argument.parameter}=%#x" for argument in call.arguments)
        return _sprintf(text, args, tok)


class AnySyscallContext(Context):
    """``syscall_any``: the number, the name, and at return the value."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self.share_key = ("syscall_any", edge)

    def entry(self) -> AnySyscallContext | None:
        """What the entries of returns see, for ``@entry``."""
        return None if self._edge == "enter" else AnySyscallContext("enter")

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """Only ``$return``."""
        if var.name == "$return" and self._edge == "exit" and not var.components:
            return _context("sysret", 0, var.tok)
        raise unknown_variable(var, [name for name, _ in self.variables()])

    def variables(self) -> list[tuple[str, str]]:
        """``$return`` at return."""
        return [("$return", "long int")] if self._edge == "exit" else []

    def locals(self) -> dict[str, ast.Expr]:
        """``syscall_nr``, ``name``, ``argstr``, and at return ``retval`` and ``retstr``."""
        tok = _synthetic()

        def nr() -> ast.Expr:
            return _context("sysnr", 0, tok)

        made: dict[str, ast.Expr] = {
            "syscall_nr": nr(),
            "name": _point_name(tok),
            "argstr": _argument_string(nr(), tok),
        }
        if self._edge == "exit":
            made["retval"] = _context("sysret", 0, tok)
            args: list[ast.Expr] = [nr(), _context("sysret", 0, tok)]
            made["retstr"] = CoreIntrinsic(
                tok=tok, type="string", name="syscall_retstr", args=args
            )
        return made


# --- variables of one argument ------------------------------------------------------------------


def _variables(index: int, argument: Argument) -> list[tuple[str, _Place]]:
    width = argument.width
    return [
        *((name, _Place(index, "number", width)) for name in argument.names),
        *((name, _Place(index, "text", "")) for name in argument.texts),
        *((name, _Place(index, "raw", "")) for name in argument.raw),
    ]


def _narrowed(value: ast.Expr, width: str, tok: Token) -> ast.Expr:
    """A register as the number it stands for: the kernel ignores what is above an int."""
    if width == "int":
        left = binary("<<", value, number(32, tok), tok)
        return binary(">>", left, number(32, tok), tok)
    if width == "uint":
        return binary("&", value, number(0xFFFF_FFFF, tok), tok)
    return value


# --- expressions --------------------------------------------------------------------------------


def _context(kind: Literal["sysarg", "sysnr", "sysret"], index: int, tok: Token) -> ast.Expr:
    return CoreContext(tok=tok, type="long", kind=kind, index=index)


def _point_name(tok: Token) -> ast.Expr:
    """The name of the call in probe points."""
    nr = binary("|", _context("sysnr", 0, tok), number(POINT_NAME, tok), tok)
    return CoreIntrinsic(tok=tok, type="string", name="syscall_name", args=[nr])


def _argument_string(nr: ast.Expr, tok: Token) -> ast.Expr:
    args = [nr, *(_context("sysarg", index, tok) for index in range(6))]
    return CoreIntrinsic(tok=tok, type="string", name="syscall_argstr", args=args)


def _selecting(index: int, tok: Token) -> ast.Expr:
    """The number of the call, and that one argument of it is asked for."""
    flag = number((index + 1) << ARGUMENT_SHIFT, tok)
    return binary("|", _context("sysnr", 0, tok), flag, tok)


def _equals(value: int, tok: Token) -> ast.Expr:
    nr = _context("sysnr", 0, tok)
    return ast.Compare(tok=tok, type="long", op="==", left=nr, right=number(value, tok))


def _one_of(numbers: list[int], tok: Token) -> ast.Expr:
    """Whether the number of the call is in a set: one bit of a word chosen by its upper bits."""
    if len(numbers) == 1:
        return _equals(numbers[0], tok)
    words: dict[int, int] = {}
    for value in numbers:
        words[value // 64] = words.get(value // 64, 0) | 1 << value % 64
    mask: ast.Expr = number(0, tok)
    for word, bits in words.items():
        upper = binary(">>", _context("sysnr", 0, tok), number(6, tok), tok)
        cond = ast.Compare(tok=tok, type="long", op="==", left=upper, right=number(word, tok))
        mask = ast.Ternary(tok=tok, type="long", cond=cond, yes=number(signed(bits), tok), no=mask)
    # Shift counts are taken modulo 64.
    shifted = binary(">>>", mask, _context("sysnr", 0, tok), tok)
    return binary("&", shifted, number(1, tok), tok)


def _string(text: str, tok: Token) -> ast.String:
    return ast.String(tok=tok, type="string", value=text)


def _sprintf(text: str, args: list[ast.Expr], tok: Token) -> ast.Expr:
    if not args:
        return _string(text, tok)
    made = ast.Print(tok=tok, type="string", name="sprintf", args=args)
    made.format = _string(text, tok)
    return made


def _return_text(tok: Token) -> ast.Expr:
    return _sprintf("return=%#x", [_context("sysret", 0, tok)], tok)


def _no_components(var: ast.TargetVar) -> Exception:
    from pystap.probes.target import error

    return error(
        f"'{var.name}' of a system call is a plain number",
        var.components[0].tok if var.components else var.tok,
        hint='say what it points to with @cast, e.g. @cast(ptr, "stat")->st_size',
    )


def _synthetic() -> Token:
    """A place for expressions that no script text stands behind."""
    return Token("identifier", "syscall", Source("<syscall>", "", "synthetic"), 0)
