"""The table of a program or library (:mod:`pystap.debuginfo.objecttable`), from all there is.

Finished tables are kept on disk, by what they are made of.
"""

from __future__ import annotations

import os

from pystap.debuginfo.elf import (
    SHF_EXECINSTR,
    SHT_SYMTAB,
    STT_FUNC,
    STT_NOTYPE,
    Elf,
    ElfError,
    Symbol,
)
from pystap.debuginfo.objecttable import Table, make_table
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pystap.debuginfo.dwarf import Dwarf

_VERSION: Final = 4  # of what is kept on disk
_KEPT: Final = "object-"
#: bytes of debug information of which all lines and inlined functions are read
_MOST_DEBUG: Final = 64 << 20
#: machines whose programs run here as well
_ALSO_RUN: Final = ("i686",)
_LARGE: Final = 4 << 20  # bytes of a table that is kept compressed
_MINI: Final = ".gnu_debugdata"  # a symbol table for back traces, compressed


def object_table(path: str, *, places: bool, cache: str = "", sysroot: str = "") -> Table:
    """The table of the file at ``path``.

    With ``places`` it has source lines and inlined functions, where there is debug information
    of sensible size.  ``cache`` is a folder for finished tables, empty for none.  Raises
    :class:`~pystap.debuginfo.elf.ElfError` and OSError for a file that cannot be used.
    """
    with Elf(path) as elf:
        if elf.machine_name not in _ALSO_RUN:
            elf.require_machine()
        debug = _debug_file(path, sysroot)
        name = _kept_name(elf, debug, places) if cache else ""
        kept = _load(cache, name) if name else None
        if kept is not None:
            return kept
        table = _make(elf, debug if places else None, debug)
    if name:
        _store(cache, name, table)
    return table


def _make(elf: Elf, lines_of: Dwarf | None, debug: Dwarf | None) -> Table:
    from pystap.debuginfo.callframes import read_rows
    from pystap.debuginfo.demangle import demangle
    from pystap.debuginfo.libdw import DwarfError
    from pystap.debuginfo.sourceplaces import read_places

    symbols = list(_symbols(elf, debug))
    for symbol in symbols:
        symbol.name = demangle(symbol.name)
    try:
        places, inlined = read_places(lines_of, demangle) if lines_of is not None else ([], [])
    except DwarfError:
        places, inlined = [], []  # damaged: names are left
    return make_table(elf, read_rows(elf), symbols, places, inlined)


# ---- symbols


def _symbols(elf: Elf, debug: Dwarf | None) -> Iterator[Symbol]:
    """Functions of the file, of its separate debug information, and stubs that call libraries."""
    from pystap.debuginfo.plt import read_stubs

    yield from _functions(elf)
    if debug is not None and debug.path != elf.path:
        yield from _of_file(debug.path)
    section = elf.section(_MINI)
    if section is not None:
        yield from _of_mini(elf.section_bytes(section))
    for stub in read_stubs(elf) if elf.bits == 64 else ():
        yield Symbol(f"{stub.name}@plt", stub.address, 16, 0, STT_FUNC, 1)


def _functions(elf: Elf) -> Iterator[Symbol]:
    """Functions, and what assembler code labels in sections with code."""
    yield from elf.functions()
    code = {i for i, s in enumerate(elf.sections()) if s.flags & SHF_EXECINSTR}
    for symbol in elf.symbols(SHT_SYMTAB, (STT_NOTYPE,)):
        if symbol.section in code and not symbol.name.startswith((".L", "$")):
            yield symbol


def _of_file(path: str) -> list[Symbol]:
    """The functions of a file that is not needed; none if it is damaged."""
    try:
        with Elf(path) as elf:
            return list(_functions(elf))
    except (ElfError, OSError):
        return []


def _of_mini(raw: bytes) -> list[Symbol]:
    import lzma

    try:
        content = lzma.decompress(raw)
    except lzma.LZMAError:
        return []
    descriptor = os.memfd_create("symbols", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        return _of_file(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _debug_file(path: str, sysroot: str) -> Dwarf | None:
    """Debug information of the file, in itself or elsewhere, None if there is none to be used."""
    from pystap.debuginfo.debugfiles import DebugFiles, MissingDebugInfo
    from pystap.debuginfo.libdw import DwarfError

    try:
        dwarf = DebugFiles(sysroot=sysroot).of(path).dwarf
        with Elf(dwarf.path) as elf:
            section = elf.section(".debug_info") or elf.section(".zdebug_info")
            small = section is not None and section.size <= _MOST_DEBUG
    except (MissingDebugInfo, DwarfError, ElfError, OSError):
        return None
    return dwarf if small else None


# ---- on disk


def _kept_name(elf: Elf, debug: Dwarf | None, places: bool) -> str:
    """The name of the file a table is kept in: it says what the table was made of."""
    from _blake2 import blake2b

    own = elf.build_id() or (elf.path, _stamp(elf.path))
    other = (debug.path, _stamp(debug.path)) if debug is not None else None
    text = repr((_VERSION, own, other, places))
    return _KEPT + blake2b(text.encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()


def _stamp(path: str) -> tuple[int, ...]:
    """Identity of a file's content as far as stat(2) tells."""
    info = os.stat(path)
    return info.st_mtime_ns, info.st_size, info.st_ino, info.st_dev


def _load(cache: str, name: str) -> Table | None:
    try:
        with open(os.path.join(cache, name), "rb") as file:
            if os.fstat(file.fileno()).st_uid not in (0, os.geteuid()):
                return None
            flags, content = file.read(3), file.read()
    except OSError:
        return None
    if len(flags) < 3 or not content:
        return None
    if flags[2:] == b"z":
        import zlib

        try:
            content = zlib.decompress(content)
        except zlib.error:
            return None
    return Table(content, flags[:1] == b"u", flags[1:2] == b"s")


def _store(cache: str, name: str, table: Table) -> None:
    """Keep a table; that it cannot be kept is no error."""
    import contextlib

    from pystap.wholefile import write_whole

    flags = (b"u" if table.unwinds else b"-") + (b"s" if table.symbols else b"-")
    content = table.content
    large = len(content) > _LARGE
    if large:
        import zlib

        content = zlib.compress(content, 1)
    with contextlib.suppress(OSError):
        write_whole(os.path.join(cache, name), flags, b"z" if large else b"-", content)
