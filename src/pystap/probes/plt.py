"""``process(...).plt("NAME")``: calls of library functions through the linkage table."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

from pystap.debuginfo.elf import Elf, ElfError
from pystap.debuginfo.plt import Stub, read_stubs
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.base import Context, Match, unknown_variable
from pystap.probes.shapes import bad_point, escaped
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.probes.user_places import Target


def plt_matches(
    target: Target, pattern: str | None, is_return: bool, lenient: bool, tok: Token
) -> list[Match]:
    """The stubs that a pattern (None: all) stands for.

    Raises ``DiagnosticError`` when there is none, unless ``lenient``.
    """
    try:
        with Elf(target.program.path) as elf:
            elf.require_machine()
            stubs = read_stubs(elf)
            fitting = [s for s in stubs if fnmatchcase(s.name, pattern or "*")]
            found = [(stub, elf.file_offset(stub.address)) for stub in fitting]
    except ElfError as problem:
        if lenient:
            return []
        raise bad_point(str(problem), tok) from None
    if not found and not lenient:
        raise _not_called(pattern or "*", stubs, target, tok)
    return [
        Match(
            [(_text(target, stub, pattern), target.uprobe(offset, stub.name, is_return))],
            StubContext(stub.name),
        )
        for stub, offset in found
        if offset is not None
    ]


def _text(target: Target, stub: Stub, pattern: str | None) -> str:
    if pattern is not None:
        return target.text([stub.name])
    head, _, tail = target.text([]).rpartition(".plt")
    return f'{head}.plt("{escaped(stub.name)}"){tail}'


def _not_called(name: str, stubs: list[Stub], target: Target, tok: Token) -> Exception:
    from pystap.diag.suggest import suggest

    near = suggest(name, [stub.name for stub in stubs])
    hint = f"did you mean {' or '.join(near)}?" if near else None
    return bad_point(
        f"{target.program.name} does not call '{name}' by its linkage table", tok, hint
    )


class StubContext(Context):
    """A stub knows what it leads to, nothing else."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.share_key = ("plt", name)

    def key_for(self, used: Collection[str]) -> object:
        """Alike when the name is not used."""
        return self.share_key if used else ("plt",)

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """``$$name``."""
        if var.name != "$$name" or var.components or var.address_of:
            raise unknown_variable(var, ["$$name"])
        return ast.String(tok=var.tok, type="string", value=self._name)

    def entry(self) -> StubContext:
        """What the entries of returns see, for ``@entry``."""
        return self
