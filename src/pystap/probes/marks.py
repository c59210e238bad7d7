"""``process(...).mark("NAME")``: marks that programs carry, and their arguments."""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import fnmatchcase

from pystap.debuginfo.elf import Elf, ElfError
from pystap.debuginfo.sdt import Mark, read_marks
from pystap.debuginfo.types import Types
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.longs import signed
from pystap.probes.base import Context, Match, ProbeEnv, unknown_variable
from pystap.probes.core import CoreContext, CoreLoad
from pystap.probes.shapes import bad_point, has_wildcard
from pystap.probes.target import binary, error, number
from pystap.probes.user_debug import debug_info
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.probes.user_places import Target

# The general registers of x86-64 by DWARF number, and what their parts are called.
_NAMES: Final = ("ax", "dx", "cx", "bx", "si", "di", "bp", "sp")
_SIZES: Final = (1, 2, 4, 8)
_OPERAND: Final = re.compile(
    r"""(?: (-?\d+) f? @ )?                          # size, negative when signed
        (?: \$ (?P<constant> -?\w+)
          | % (?P<register> \w+)
          | (?P<offset> [^()@%$]*)
            \( (?P<base> %\w+)? (?:, (?P<index> %\w+) (?:, (?P<scale> \d))?)? \)
          | (?P<absolute> [^()@%$]+)
        ) $""",
    re.VERBOSE,
)


class Register(NamedTuple):
    """A register: DWARF number, bytes, and bits to shift right for the likes of ``%ah``."""

    number: int
    size: int
    shift: int = 0


def mark_matches(
    target: Target, provider: str, name: str, lenient: bool, env: ProbeEnv, tok: Token
) -> list[Match]:
    """The marks that patterns of provider and name stand for.

    Raises ``DiagnosticError`` when there are none, unless ``lenient``.
    """
    path = target.program.path
    try:
        with Elf(path) as elf:
            elf.require_machine()
            marks = read_marks(elf)
            fitting = [m for m in marks if _fits(m.name, name) and _fits(m.provider, provider)]
            matches = [_match(target, elf, mark, env) for mark in fitting]
            if not fitting and not lenient:
                raise _no_mark(provider, name, marks, target, tok)
    except ElfError as problem:
        if lenient:
            return []
        raise bad_point(str(problem), tok) from None
    return [match for match in matches if match is not None]


def _fits(text: str, pattern: str) -> bool:
    """A dash of a name is written as two underscores in programs."""
    return fnmatchcase(text.replace("-", "__"), pattern.replace("-", "__"))


def _match(target: Target, elf: Elf, mark: Mark, env: ProbeEnv) -> Match | None:
    offset = elf.file_offset(mark.address)
    counter = elf.file_offset(mark.semaphore) if mark.semaphore else None
    if offset is None:
        return None
    uprobe = target.uprobe(offset, mark.name)._replace(semaphore=counter or 0)
    names = [mark.provider, mark.name]
    return Match([(target.text(names), uprobe)], MarkContext(target.program.path, mark, env))


def _no_mark(provider: str, name: str, marks: list[Mark], target: Target, tok: Token) -> Exception:
    from pystap.diag.suggest import suggest

    here = [mark for mark in marks if _fits(mark.provider, provider)]
    if marks and not here:
        known = ", ".join(sorted({mark.provider for mark in marks})[:8])
        return bad_point(
            f"no provider '{provider}' of marks in {target.program.name}", tok, f"it has: {known}"
        )
    marks = here
    names = sorted({mark.name for mark in marks})
    near = ([] if has_wildcard(name) else suggest(name, names)) or names[:8]
    hint = f"it has: {', '.join(near)}" if near else "the program has no marks at all"
    what = f"mark matching '{name}'" if has_wildcard(name) else f"mark '{name}'"
    return bad_point(f"no {what} in {target.program.name}", tok, hint)


class MarkContext(Context):
    """The arguments of a mark: numbers, ``$arg1`` and so on."""

    def __init__(self, path: str, mark: Mark, env: ProbeEnv) -> None:
        self._path = path
        self._mark = mark
        self._env = env
        relative = any("%rip" in arg for arg in mark.args)
        self.share_key = (
            *("mark", path, mark.provider, mark.name, mark.args),
            mark.address if relative else 0,
        )

    def own_types(self) -> Types | None:
        """The types of the program, for casts; None without debug information."""
        info = debug_info(self._path, self._env)
        return None if info is None else info.types

    def key_for(self, used: Collection[str]) -> object:
        """Alike in the whole program when no argument is used."""
        return self.share_key if used else ("mark", self._path)

    def variables(self) -> list[tuple[str, str]]:
        """The arguments."""
        return [(f"$arg{n}", "long") for n in range(1, len(self._mark.args) + 1)]

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """An argument, or one of the texts."""
        texts = {"$$name": self._mark.name, "$$provider": self._mark.provider}
        known = [f"$arg{n}" for n in range(1, len(self._mark.args) + 1)]
        if var.name not in known and var.name not in (*texts, "$$vars", "$$parms"):
            raise unknown_variable(var, [*known, *texts, "$$vars"])
        if var.address_of or (var.components and var.name != "$$vars"):
            raise error(
                f"'{var.name}' is a number without members: use @cast to say what it is", var.tok
            )
        if var.name in texts:
            return ast.String(tok=var.tok, type="string", value=texts[var.name])
        if var.name in known:
            return self._argument(known.index(var.name), var.tok)
        return self._all(known, var.tok)

    def _all(self, known: list[str], tok: Token) -> ast.Expr:
        form = " ".join(f"{name[1:]}=%#x" for name in known)
        args = [self._argument(index, tok) for index in range(len(known))]
        text = ast.String(tok=tok, type="string", value=form)
        if not args:
            return text
        return ast.Print(tok=tok, type="string", name="sprintf", args=args, format=text)

    def _argument(self, index: int, tok: Token) -> ast.Expr:
        """The value of an operand."""
        text = self._mark.args[index]
        found = _OPERAND.match(text)
        if found is None:
            raise error(f"'$arg{index + 1}' is at '{text}', which is not understood", tok)
        size = int(found[1]) if found[1] else 8
        if abs(size) not in _SIZES:
            raise error(f"'$arg{index + 1}' has {abs(size)} bytes, which is no number", tok)
        constant, name = found["constant"], found["register"]
        if constant is not None:
            return number(signed(self._constant(constant, tok)), tok)
        if name is not None:
            register = register_named(name)
            if register is None:
                raise error(f"'$arg{index + 1}' is in register %{name}, which is not at hand", tok)
            return _narrowed(_register(register, tok), size, tok)
        return CoreLoad(
            tok=tok,
            type="long",
            addr=self._address(found, tok),
            space="user",
            size=abs(size),
            signed=size < 0,
        )

    def _constant(self, text: str, tok: Token) -> int:
        try:
            return int(text, 0)
        except ValueError:
            raise error(f"'{text}' is known to the running program only", tok) from None

    def _address(self, found: re.Match[str], tok: Token) -> ast.Expr:
        """``offset(base, index, scale)``; the offset may be a symbol."""
        if found["absolute"] is not None:
            return number(self._offset(found["absolute"], tok), tok)
        offset = self._offset(found["offset"], tok)
        base, index = found["base"], found["index"]
        if base == "%rip":
            # the assembler resolved it to an address, or it is a symbol: both are the file's
            here = CoreContext(tok=tok, type="long", kind="ip")
            return binary("+", here, number(offset - self._mark.address, tok), tok)
        where: ast.Expr | None = None
        for name, scale in ((base, 1), (index, int(found["scale"] or 1))):
            if name is None:
                continue
            register = register_named(name[1:])
            if register is None:
                raise error(f"register {name} is not at hand", tok)
            part = _register(register, tok)
            if scale > 1:
                part = binary("*", part, number(scale, tok), tok)
            where = part if where is None else binary("+", where, part, tok)
        if where is None:
            return number(offset, tok)
        return binary("+", where, number(offset, tok), tok) if offset else where

    def _offset(self, text: str, tok: Token) -> int:
        """A sum of numbers and symbols."""
        total = 0
        for sign, word in re.findall(r"([+-]?)\s*([\w.$@]+)", text):
            value = self._symbol(word, tok) if not word[0].isdigit() else int(word, 0)
            total += -value if sign == "-" else value
        return total

    def _symbol(self, name: str, tok: Token) -> int:
        from pystap.debuginfo.elf import SHT_DYNSYM, SHT_SYMTAB

        with Elf(self._path) as elf:
            for table in (SHT_SYMTAB, SHT_DYNSYM):
                for symbol in elf.symbols(table):
                    if symbol.name == name and symbol.section:
                        return symbol.value
        raise error(f"an argument is at symbol '{name}', which {self._path} does not have", tok)


def register_named(name: str) -> Register | None:
    """A general register of x86-64 or a part of one, by its assembler name without ``%``."""
    numbered = re.fullmatch(r"r(\d+)([dwb]?)", name)
    if numbered and 8 <= int(numbered[1]) <= 15:
        return Register(int(numbered[1]), {"": 8, "d": 4, "w": 2, "b": 1}[numbered[2]])
    for index, stem in enumerate(_NAMES):
        sizes = {f"r{stem}": 8, f"e{stem}": 4, stem: 2}
        low = f"{stem[0]}l" if stem.endswith("x") else f"{stem}l"
        sizes[low] = 1
        if name in sizes:
            return Register(index, sizes[name])
        if stem.endswith("x") and name == f"{stem[0]}h":
            return Register(index, 1, 8)
    return Register(16, 8) if name == "rip" else None


def _register(register: Register, tok: Token) -> ast.Expr:
    value: ast.Expr = CoreContext(tok=tok, type="long", kind="reg", index=register.number)
    return binary(">>", value, number(register.shift, tok), tok) if register.shift else value


def _narrowed(value: ast.Expr, size: int, tok: Token) -> ast.Expr:
    """The lowest bytes of a value, with the sign if ``size`` is negative."""
    width = 8 * abs(size)
    if width >= 64:
        return value
    if size > 0:
        return binary("&", value, number((1 << width) - 1, tok), tok)
    shift = number(64 - width, tok)
    return binary(">>", binary("<<", value, shift, tok), shift, tok)
