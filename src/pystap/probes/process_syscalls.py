"""Context variables of ``process(...).syscall[.return]``: numbers, whatever the call."""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.base import Context, unknown_variable
from pystap.probes.core import CoreContext
from pystap.probes.target import error
from pystap.typing import Final, Literal

Edge = Literal["enter", "exit"]
_ARGUMENTS: Final = tuple(f"$arg{n}" for n in range(1, 7))
_TEXTS: Final = ("$$vars", "$$parms")


class ProcessSyscallContext(Context):
    """``$syscall``; at entries ``$arg1`` to ``$arg6``, at returns ``$return``."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self.share_key = ("process syscall", edge)

    def entry(self) -> ProcessSyscallContext | None:
        """What the entries of returns see, for ``@entry``."""
        return ProcessSyscallContext("enter") if self._edge == "exit" else None

    def variables(self) -> list[tuple[str, str]]:
        """All are 64-bit numbers."""
        names = _ARGUMENTS if self._edge == "enter" else ("$return",)
        return [(name, "long") for name in ("$syscall", *names)]

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """A number, or all of them as a text."""
        names = [name for name, _ in self.variables()]
        texts = (*_TEXTS, "$$return") if self._edge == "exit" else _TEXTS
        if var.name in texts and not var.address_of:
            shown = ["$return"] if var.name == "$$return" else names
            return self._text(shown, var.tok)
        if var.name not in names:
            raise unknown_variable(var, [*names, *texts])
        if var.address_of or var.components:
            raise error(
                f"'{var.name}' is a number without members: use @cast to say what it is", var.tok
            )
        return self._value(var.name, var.tok)

    def _value(self, name: str, tok: Token) -> ast.Expr:
        if name == "$syscall":
            return CoreContext(tok=tok, type="long", kind="sysnr")
        if name == "$return":
            return CoreContext(tok=tok, type="long", kind="sysret")
        index = _ARGUMENTS.index(name)
        return CoreContext(tok=tok, type="long", kind="sysarg", index=index)

    def _text(self, names: list[str], tok: Token) -> ast.Expr:
        form = " ".join(f"{name[1:]}=%#x" for name in names)
        return ast.Print(
            tok=tok,
            type="string",
            name="sprintf",
            args=[self._value(name, tok) for name in names],
            format=ast.String(tok=tok, type="string", value=form),
        )
