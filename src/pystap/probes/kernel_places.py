"""Functions, lines, labels and calls in the kernel and its modules, by debug information."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pystap.debuginfo.dwarfplaces import Place
from pystap.debuginfo.elf import ElfError
from pystap.debuginfo.libdw import DwarfError
from pystap.lang.tokens import Token
from pystap.probes.attach import Attach, KernelFunction
from pystap.probes.base import Match, ProbeEnv
from pystap.probes.kernel_debug import function_table, local_image, required_image, runs
from pystap.probes.shapes import bad_point
from pystap.probes.user_places import code_matches
from pystap.typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pystap.debuginfo.functions import FunctionTable
    from pystap.debuginfo.kernelimage import CodeSymbol, KernelImage


class KernelCode(NamedTuple):
    """The code of the kernel or a module, to be probed at places of its debug information.

    ``table`` knows what may be probed, None for what does not run, or runs ``later``;
    ``make_text`` makes the probe point.
    """

    image: KernelImage
    table: FunctionTable | None
    make_text: Callable[[Iterable[str | int]], str]
    exported: bool = False
    maxactive: int = 0
    later: bool = False

    def text(self, args: Iterable[str | int]) -> str:
        """A probe point of the arguments behind the module."""
        return self.make_text(args)

    def attach(self, place: Place) -> KernelFunction | None:
        """An instruction, as a distance from a symbol; None where the kernel allows no probe."""
        return self._at(place, place.pc, is_return=False)

    def attach_return(self, place: Place) -> KernelFunction | None:
        """The return of a function."""
        found = self._at(place, place.entry, is_return=True)
        return None if found is None or found.offset else found

    def _at(self, place: Place, pc: int, is_return: bool) -> KernelFunction | None:
        if not self.image.module and self.image.is_for_the_start(pc):
            return None
        symbol = code_symbol(self.image, place, pc)
        if symbol is None or (self.exported and not self.image.is_exported(symbol.name)):
            return None
        instance = _instance(self.table, self.image, symbol)
        if instance is None:
            return None
        anchor, apart = "", 0
        if instance >= 0 and self.image.module and (self.later or self.image.at_load):
            found = self.image.anchor_of(symbol.address)
            if found is None or found.number >= 0:
                return None
            if found.distance < 0 and not self.image.at_load:
                return None  # the kernel takes none for what it has not loaded yet
            anchor, apart = found.name, found.distance
        return KernelFunction(
            symbol.name,
            self.image.module,
            is_return,
            offset=pc - symbol.address,
            instance=instance,
            maxactive=self.maxactive if is_return else 0,
            later=self.later,
            anchor=anchor,
            apart=apart,
        )


def code_symbol(image: KernelImage, place: Place, pc: int) -> CodeSymbol | None:
    """The symbol that code of a place is found by."""
    from pystap.debuginfo.dwarfscopes import frame_base

    function = frame_base(place.function)
    start = next((low for low, high in function.ranges() if low <= pc < high), pc)
    return image.symbol_of(pc, start, function.name)


def _instance(table: FunctionTable | None, image: KernelImage, symbol: CodeSymbol) -> int | None:
    """Which of a name's symbols it is, -1 when the name is enough; None if it is not probed."""
    if table is None:
        return symbol.instance if len(image.places_of(symbol.name)) > 1 else -1
    for function in table.code(symbol.name, image.module):
        if function.instance in (-1, symbol.instance):
            return function.instance
    return None


def places_in(
    modules: list[str],
    text: Callable[[str], Callable[[Iterable[str | int]], str]],
    kind: str,
    args: list[str | int],
    env: ProbeEnv,
    tok: Token,
    maxactive: int = 0,
    lenient: bool = False,
    instead: Callable[[], str] = str,
    later: bool = False,
) -> list[Match]:
    """Matches of a shape (component names behind the module, joined by dots) in some modules.

    ``text`` makes, for a module, what makes its probe points.  With ``lenient`` modules without
    debug information are left out as long as one has some.  ``instead`` tells what does without.
    ``later``: the module is not loaded yet.
    """
    table = function_table(env) if runs(env) and not later else None
    names = kind.split(".")
    images = [local_image(module, env) for module in modules] if lenient else []
    if lenient and not any(images) and modules:
        required_image(modules[0], env, tok, _what(kind), instead)  # tells what is missing
    found: list[Match] = []
    for number, module in enumerate(modules):
        image = (
            images[number] if lenient else required_image(module, env, tok, _what(kind), instead)
        )
        if image is None:
            continue
        exported = "exported" in names
        code = KernelCode(image, table, text(module), exported, maxactive, later)
        try:
            found += code_matches(code, image.info, _generic(names), args, tok)
        except (DwarfError, ElfError) as problem:
            raise bad_point(str(problem), tok) from None
    return found


def _generic(names: list[str]) -> str:
    """The shape as it is for programs, too: which symbols are exported is the kernel's to tell."""
    return ".".join(
        "call" if name == "exported" else name for name in names if name != "maxactive"
    )


def _what(kind: str) -> str:
    names = kind.split(".")
    if names[0] == "statement":
        return "source lines"
    words = {
        "inline": "inlined functions",
        "label": "labels",
        "callee": "calls",
        "callees": "calls",
    }
    return next((words[name] for name in names if name in words), "source files and lines")


def copies_in(
    image: KernelImage,
    name: str,
    kind: str,
    known: set[tuple[str, int]],
    text: Callable[[Iterable[str | int]], str],
    env: ProbeEnv,
    tok: Token,
    maxactive: int = 0,
) -> list[Match]:
    """The places of a function without those whose symbols (with their numbers) are known.

    None where debug information is damaged: nothing but more places was hoped for.
    """
    names = kind.split(".")
    table = function_table(env) if runs(env) else None
    code = KernelCode(image, table, text, "exported" in names, maxactive)
    try:
        found = code_matches(code, image.info, _generic(names), [name], tok)
    except (DwarfError, ElfError):
        return []
    return [match for match in found if not _is_known(match.points[0][1], known)]


def _is_known(where: Attach, known: set[tuple[str, int]]) -> bool:
    if not isinstance(where, KernelFunction) or where.offset:
        return False
    return (where.symbol, where.instance) in known
