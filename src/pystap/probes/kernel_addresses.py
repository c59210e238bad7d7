"""Where what has an address in the file of the kernel or of a module is in memory.

In code of the kernel the distance is that of the probe's own address from its address in the
file, so nothing depends on where this kernel was put.  Data of modules and per-CPU variables lie
by themselves: /proc/kallsyms and /sys/module tell where, and the translation holds as long as
they say so.  What is translated to a kernel module may be loaded by another kernel: there symbols
take the place of addresses, and the module finds those.
"""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.longs import signed
from pystap.probes.core import CoreIntrinsic, CoreLoad
from pystap.probes.locations import NoLocation
from pystap.probes.target import binary, number
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.debuginfo.kernelimage import KernelImage

KALLSYMS: Final = "/proc/kallsyms"
BOOT: Final = "/proc/sys/kernel/random/boot_id"  # changes whenever addresses may
OFFSETS: Final = "__per_cpu_offset"


def address_now(
    image: KernelImage, address: int, pc: int, bias: ast.Expr | None, tok: Token
) -> ast.Expr:
    """The address in memory of what is at ``address`` of the file.

    ``bias`` is how far the code at ``pc`` of the file is from there, None when there is no code
    to tell.  Raises :class:`NoLocation`.
    """
    address &= (1 << 64) - 1
    if image.is_per_cpu(address):
        return _per_cpu(image, address, bias, tok)
    if bias is not None and _moves_along(image, address, pc):
        return binary("+", bias, number(signed(address), tok), tok)
    return _told(image, address, tok)


def place_of(symbol: str, module: str, tok: Token, nth: int = -1) -> ast.Expr:
    """The address of a symbol, to be found when what is translated is loaded.

    ``nth`` counts a module's symbols of one name; -1 where there is but one.
    """
    name = f"{module}:{symbol}" if module else symbol
    return CoreIntrinsic(tok=tok, type="long", name="kernel_place", const=(name, nth))


def _behind(place: ast.Expr, distance: int, tok: Token) -> ast.Expr:
    return binary("+", place, number(signed(distance), tok), tok) if distance else place


def _moves_along(image: KernelImage, address: int, pc: int) -> bool:
    """Whether two addresses of the file keep their distance in memory."""
    if not image.module:
        return True
    return image.section_at(address) == image.section_at(pc)


def _per_cpu(image: KernelImage, address: int, bias: ast.Expr | None, tok: Token) -> ast.Expr:
    """The address of the current CPU's instance of a variable."""
    if image.module:
        base = _by_symbol(image, address, tok)
    elif image.counts_from_zero():
        base = number(address, tok)
    elif bias is not None:
        base = binary("+", bias, number(signed(address), tok), tok)
    else:
        base = _told(image, address, tok)
    return on_this_cpu(_table_of_offsets(image, bias, tok), base, tok)


def on_this_cpu(offsets: ast.Expr, base: ast.Expr, tok: Token) -> ast.Expr:
    """The current CPU's instance of what is at ``base``, by the kernel's table of offsets."""
    cpu = CoreIntrinsic(tok=tok, type="long", name="cpu")
    slot = binary("+", offsets, binary("*", cpu, number(8, tok), tok), tok)
    offset = CoreLoad(tok=tok, type="long", addr=slot, space="kernel", size=8, signed=False)
    return binary("+", offset, base, tok)


def _table_of_offsets(image: KernelImage, bias: ast.Expr | None, tok: Token) -> ast.Expr:
    from pystap.lang.visit import clone

    if bias is not None and not image.module:
        found = image.data_address(OFFSETS)
        if found is not None:
            return binary("+", clone(bias), number(signed(found), tok), tok)
    return _looked_up(image, OFFSETS, "", 0, tok)


def _told(image: KernelImage, address: int, tok: Token) -> ast.Expr:
    """Where the kernel says something is: by a symbol near it, or by its section."""
    if not image.module:
        start = image.places_of("_stext")
        if not start:
            raise NoLocation(f"{image.info.path} has no symbol _stext")
        return _looked_up(image, "_stext", "", address - start[0], tok)
    try:
        return _by_symbol(image, address, tok)
    except NoLocation:
        if image.at_load:
            raise
        return number(signed(_by_section(image, address)), tok)


def _by_symbol(image: KernelImage, address: int, tok: Token) -> ast.Expr:
    found = image.anchor_of(address)
    if found is None:
        raise NoLocation("where it was loaded is not known: nothing there has a name of its own")
    if image.at_load:
        return _behind(place_of(found.name, image.module, tok, found.number), found.distance, tok)
    if found.number >= 0:
        raise NoLocation(f"where it was loaded is not known: there are several {found.name}")
    return _looked_up(image, found.name, image.module, found.distance, tok)


def _by_section(image: KernelImage, address: int) -> int:
    from pystap.debuginfo.kernelimage import section_address, section_file

    section = image.section_at(address)
    base = (
        0 if section is None or not image.running else section_address(image.module, section.name)
    )
    if section is None or not base:
        raise NoLocation(f"where data of module {image.module} was loaded is not known")
    image.depends_on(section_file(image.module, section.name))
    return base + address - section.address


def _looked_up(image: KernelImage, name: str, module: str, distance: int, tok: Token) -> ast.Expr:
    """What is behind a symbol, whose address /proc/kallsyms has."""
    from pystap.debuginfo.kallsyms import Kallsyms

    if image.at_load:
        return _behind(place_of(name, module, tok), distance, tok)
    found = Kallsyms(KALLSYMS).addresses(name, module) if image.running else []
    if len(found) != 1:
        raise NoLocation(f"where {name} was loaded is not known")
    image.depends_on(BOOT)
    return number(signed(found[0] + distance), tok)
