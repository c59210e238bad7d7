"""Debug information entries of a file, read through libdw on demand.

Nothing is read before it is asked for.  Addresses are those of the file (before it is loaded
somewhere else); the sections of relocatable files (modules of the kernel) are laid out one behind
the other: :mod:`pystap.debuginfo.relocated`.  Names are text with one character a byte.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

from pystap.debuginfo import dwarfconst as c
from pystap.debuginfo.elf import ET_REL, Elf
from pystap.debuginfo.libdw import (
    DieCallback,
    DwarfError,
    Library,
    OpsPointer,
    RawAttribute,
    RawBlock,
    RawDie,
    RawOp,
    library,
)
from pystap.typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from pystap.debuginfo.dwarflines import Lines
    from pystap.debuginfo.relocated import Relocated

_READ = 0
_ABSENT = (1 << 64) - 1


class Op(NamedTuple):
    """An operation of a location expression.

    ``value`` is what an operand refers to where that is no number: the bytes of an implicit
    value, the operations of an entry value, the base type of a typed operation.
    """

    code: int
    number: int = 0
    number2: int = 0
    value: object = None


class Unit(NamedTuple):
    """A compilation unit: its entry, and where it is in ``.debug_info``."""

    die: Die
    start: int
    end: int
    split: bool  # its entries are in a .dwo file


class Die:
    """A debug information entry."""

    __slots__ = ("_tag", "file", "raw")

    def __init__(self, file: Dwarf, raw: RawDie) -> None:
        self.file = file
        self.raw = raw
        self._tag = -1

    @property
    def tag(self) -> int:
        """``DW_TAG_*``."""
        if self._tag < 0:
            self._tag = self.file.lib.dwarf_tag(self.raw)
        return self._tag

    @property
    def name(self) -> str:
        """``DW_AT_name``, also of the entry this one is an instance of; empty if none."""
        text: bytes | None = self.file.lib.dwarf_diename(self.raw)
        return text.decode("latin-1") if text else ""

    @property
    def offset(self) -> int:
        """Where it is in its section."""
        found: int = self.file.lib.dwarf_dieoffset(self.raw)
        return found

    @property
    def key(self) -> int:
        """A number that no other entry of the file, or of those it refers to, has."""
        found: int = self.raw.addr
        return found

    def children(self) -> Iterator[Die]:
        """The entries directly below."""
        lib, file = self.file.lib, self.file
        raw = RawDie()
        if lib.dwarf_child(self.raw, raw) != 0:
            return
        while True:
            yield Die(file, raw)
            following = RawDie()
            if lib.dwarf_siblingof(raw, following) != 0:
                return
            raw = following

    def unit(self) -> Die:
        """The entry of its compilation unit."""
        raw = RawDie()
        if not self.file.lib.dwarf_diecu(self.raw, raw, None, None):
            raise self.file.error()
        return Die(self.file, raw)

    # ------------------------------------------------------------ attributes

    def attribute(self, name: int, own: bool = False) -> RawAttribute | None:
        """An attribute; unless ``own`` also of the entry this one completes."""
        found = RawAttribute()
        ask = self.file.lib.dwarf_attr if own else self.file.lib.dwarf_attr_integrate
        return found if ask(self.raw, name, found) else None

    def has(self, name: int, own: bool = False) -> bool:
        """Whether there is an attribute."""
        return self.attribute(name, own) is not None

    def flag(self, name: int, own: bool = False) -> bool:
        """A flag; false when absent.  With ``own`` not that of an entry this one completes."""
        found, value = self.attribute(name, own), ctypes.c_bool()
        return (
            found is not None
            and self.file.lib.dwarf_formflag(found, value) == 0
            and bool(value.value)
        )

    def unsigned(self, name: int) -> int | None:
        """A number; None when absent, or computed at run time."""
        found, value = self.attribute(name), ctypes.c_uint64()
        if found is None or self.file.lib.dwarf_formudata(found, value) != 0:
            return None
        return value.value

    def signed(self, name: int) -> int | None:
        """The same for numbers that may be negative."""
        found, value = self.attribute(name), ctypes.c_int64()
        if found is None or self.file.lib.dwarf_formsdata(found, value) != 0:
            return None
        return value.value

    def address(self, name: int) -> int | None:
        """An address."""
        found, value = self.attribute(name), ctypes.c_uint64()
        if found is None or self.file.lib.dwarf_formaddr(found, value) != 0:
            return None
        return value.value

    def text(self, name: int) -> str | None:
        """A string."""
        found = self.attribute(name)
        text: bytes | None = None if found is None else self.file.lib.dwarf_formstring(found)
        return None if text is None else text.decode("latin-1")

    def block(self, name: int) -> bytes | None:
        """Bytes."""
        found, block = self.attribute(name), RawBlock()
        if found is None or self.file.lib.dwarf_formblock(found, block) != 0:
            return None
        return ctypes.string_at(block.data, block.length)

    def reference(self, name: int, own: bool = False) -> Die | None:
        """The entry that an attribute refers to."""
        found, raw = self.attribute(name, own), RawDie()
        if found is None or not self.file.lib.dwarf_formref_die(found, raw):
            return None
        return Die(self.file, raw)

    def origin(self) -> Die:
        """The abstract entry this one is an instance of, or itself."""
        found = self.reference(c.AT_ABSTRACT_ORIGIN, own=True)
        return self if found is None else found.origin()

    def declared(self) -> tuple[str, int]:
        """Source file and line of the declaration; empty and 0 when not told."""
        from pystap.debuginfo.dwarflines import normal_path

        line = ctypes.c_int()
        file: bytes | None = self.file.lib.dwarf_decl_file(self.raw)
        if self.file.lib.dwarf_decl_line(self.raw, line) != 0:
            line.value = 0
        return normal_path((file or b"").decode("latin-1")), line.value

    def type(self) -> Die | None:
        """The entry of its type; None is ``void``."""
        return self.reference(c.AT_TYPE)

    # ------------------------------------------------------------ code

    def contains(self, pc: int) -> bool:
        """Whether an address is in its code."""
        return bool(self.file.lib.dwarf_haspc(self.raw, pc) == 1)

    def ranges(self) -> list[tuple[int, int]]:
        """Pieces of code: first address and the one behind."""
        base, start, end = (ctypes.c_uint64() for _ in range(3))
        found: list[tuple[int, int]] = []
        at = 0
        while True:
            at = self.file.lib.dwarf_ranges(self.raw, at, base, start, end)
            if at <= 0:
                return found
            if start.value < end.value:
                found.append((start.value, end.value))

    def entry_pc(self) -> int | None:
        """The address of its first instruction; None for one without code."""
        value = ctypes.c_uint64()
        if self.file.lib.dwarf_entrypc(self.raw, value) == 0 and value.value != _ABSENT:
            return value.value
        if not self.has(c.AT_RANGES, own=True):
            return None
        pieces = self.ranges()  # of a function in several pieces the first is the one entered
        return pieces[0][0] if pieces else None

    def breakpoints(self) -> list[int]:
        """Where the prologue is over, by the line table; empty when that cannot be told."""
        places = ctypes.POINTER(ctypes.c_uint64)()
        count = self.file.lib.dwarf_entry_breakpoints(self.raw, places)
        found = [places[i] for i in range(max(count, 0))]
        if count > 0:
            self.file.lib.free(places)
        return found

    def scopes(self) -> list[Die]:
        """What this entry is in, from inside outwards, up to its unit."""
        raw = ctypes.POINTER(RawDie)()
        count = self.file.lib.dwarf_getscopes_die(self.raw, ctypes.byref(raw))
        found = [Die(self.file, RawDie.from_buffer_copy(raw[i])) for i in range(1, count)]
        if count > 0:
            self.file.lib.free(raw)
        return found

    def inlined(self) -> list[Die]:
        """Where this function was inlined, in its own unit."""
        found: list[Die] = []

        def visit(raw: ctypes._Pointer[RawDie], _data: object) -> int:
            found.append(Die(self.file, RawDie.from_buffer_copy(raw.contents)))
            return 0

        self.file.lib.dwarf_func_inline_instances(self.raw, DieCallback(visit), None)
        return found

    def functions(self) -> list[Die]:
        """The functions directly below a unit, declarations among them, in one call of libdw."""
        found: list[Die] = []

        def visit(raw: ctypes._Pointer[RawDie], _data: object) -> int:
            found.append(Die(self.file, RawDie.from_buffer_copy(raw.contents)))
            return 0

        self.file.lib.dwarf_getfuncs(self.raw, DieCallback(visit), None, 0)
        return found

    def function_names(self) -> list[tuple[bytes, int]]:
        """Their names and offsets only."""
        found: list[tuple[bytes, int]] = []
        name, offset = self.file.lib.dwarf_diename, self.file.lib.dwarf_dieoffset

        def visit(raw: ctypes._Pointer[RawDie], _data: object) -> int:
            found.append((name(raw) or b"", offset(raw)))
            return 0

        self.file.lib.dwarf_getfuncs(self.raw, DieCallback(visit), None, 0)
        return found

    # ------------------------------------------------------------ locations

    def location(self, name: int, pc: int) -> list[Op] | None:
        """The expression of a location attribute that holds at ``pc``.

        None: there is no such attribute, or it says nothing about ``pc``.
        """
        found = self.attribute(name)
        if found is None:
            return None
        ops, count = OpsPointer(), ctypes.c_size_t()
        known = self.file.lib.dwarf_getlocation_addr(found, pc, ops, count, 1)
        if known < 0:
            raise self.file.error()
        return self.file.ops(found, ops, count.value) if known else None

    def is_list(self, name: int) -> bool:
        """Whether a location attribute says different things for different addresses."""
        found = self.attribute(name)
        if found is None:
            return False
        block = RawBlock()
        return bool(self.file.lib.dwarf_formblock(found, block) != 0)


class Dwarf:
    """The debug information of one file.  ``close`` it, or use it in ``with``.

    Entries must not be used when it is closed.
    """

    __slots__ = (
        "_cfi", "_code", "_code_fd", "_fd", "_handle", "_lines", "_units", "alternate",
        "code_path", "lib", "path", "pieces", "relocated",
    )  # fmt: skip

    def __init__(self, path: str, code_path: str = "") -> None:
        """Open; :class:`DwarfError` if the file has no debug information, OSError.

        ``code_path`` is the file with the code where the debug information was split off it: the
        unwind tables stayed there.
        """
        self.lib: Library = library()
        self.path = path
        self.code_path = code_path or path
        self._code: int | None = None
        self._code_fd = -1
        self.alternate: Dwarf | None = None
        self._units: list[Unit] | None = None
        self._lines: dict[int, Lines] = {}
        #: code of the functions of units, by unit: see pystap.debuginfo.dwarfscopes
        self.pieces: dict[int, list[tuple[int, int, Die]]] = {}
        self._cfi: dict[str, int | None] = {}
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        #: the layout of a relocatable file, else None
        self.relocated: Relocated | None = None
        if _is_relocatable(self._fd) and _is_to_be_filled_in(path):
            from pystap.debuginfo.relocated import Relocated

            try:
                self.relocated = Relocated(path)
            finally:
                os.close(self._fd)
                self._fd = -1
            self._fd = self.relocated.fd
            self._handle = self.relocated.dwarf
            return
        self._handle = self.lib.dwarf_begin(self._fd, _READ)
        if not self._handle:
            os.close(self._fd)
            self._fd = -1
            raise DwarfError(f"{path}: {self.lib.problem()}")

    def close(self) -> None:
        """Release everything; closing twice is harmless."""
        if self._fd < 0:
            return
        cfi = self._cfi.get("eh_frame")
        if cfi:
            self.lib.dwarf_cfi_end(cfi)
        if self._code:
            self.lib.elf_end(self._code)
            os.close(self._code_fd)
        if self.relocated is not None:
            self.relocated.close()
        else:
            self.lib.dwarf_end(self._handle)
            os.close(self._fd)
        self._fd = -1
        if self.alternate is not None:
            self.alternate.close()

    def __enter__(self) -> Dwarf:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def error(self) -> DwarfError:
        """The error for what libdw complains of."""
        return DwarfError(f"{self.path}: {self.lib.problem()}")

    def set_alternate(self, other: Dwarf) -> None:
        """Use ``other`` for what dwz(1) moved out of this file."""
        self.alternate = other
        self.lib.dwarf_setalt(self._handle, other._handle)

    # ------------------------------------------------------------ units and entries

    def units(self) -> list[Unit]:
        """All compilation units; partial ones are among them."""
        if self._units is None:
            self._units = list(self._find_units())
        return self._units

    def _find_units(self) -> Iterator[Unit]:
        lib = self.lib
        unit, version, kind = ctypes.c_void_p(), ctypes.c_uint16(), ctypes.c_uint8()
        found: list[tuple[Die, int, bool]] = []
        while True:
            raw, below = RawDie(), RawDie()
            state = lib.dwarf_get_units(self._handle, unit, unit, version, kind, raw, below)
            if state < 0:
                raise self.error()
            if state > 0:
                break
            split = kind.value == c.UT_SKELETON
            die = Die(self, below if split and below.addr else raw)
            found.append((die, Die(self, raw).offset, split))
        for index, (die, start, split) in enumerate(found):
            end = found[index + 1][1] if index + 1 < len(found) else 1 << 62
            yield Unit(die, start, end, split)

    def die(self, offset: int) -> Die:
        """The entry at an offset of ``.debug_info``."""
        raw = RawDie()
        if not self.lib.dwarf_offdie(self._handle, offset, raw):
            raise self.error()
        return Die(self, raw)

    def unit_at(self, pc: int) -> Die | None:
        """The compilation unit of an address."""
        raw = RawDie()
        if self.lib.dwarf_addrdie(self._handle, pc, raw):
            return Die(self, raw)
        for unit in self.units():  # no .debug_aranges, or incomplete ones
            if unit.die.contains(pc):
                return unit.die
        return None

    def lines(self, unit: Die) -> Lines:
        """The line table of a compilation unit."""
        from pystap.debuginfo.dwarflines import read_lines

        known = self._lines.get(unit.key)
        if known is None:
            known = self._lines[unit.key] = read_lines(unit)
        return known

    # ------------------------------------------------------------ expressions

    def frame_cfa(self, pc: int) -> list[Op] | None:
        """How the canonical frame address is computed at ``pc``, by the unwind tables."""
        for section in ("eh_frame", "debug_frame"):
            cfi = self._call_frames(section)
            frame = ctypes.c_void_p()
            if not cfi or self.lib.dwarf_cfi_addrframe(cfi, pc, frame) != 0:
                continue
            ops, count = OpsPointer(), ctypes.c_size_t()
            try:
                if self.lib.dwarf_frame_cfa(frame, ops, count) == 0 and count.value:
                    return self.ops(None, ops, count.value)
            finally:
                self.lib.free(frame)
        return None

    def _call_frames(self, section: str) -> int | None:
        if section not in self._cfi:
            if section == "eh_frame":
                elf = self._code_elf()
                cfi = self.lib.dwarf_getcfi_elf(elf) if elf else None
            else:
                cfi = self.lib.dwarf_getcfi(self._handle)
            self._cfi[section] = cfi
        return self._cfi[section]

    def _code_elf(self) -> int | None:
        """libelf's handle of the file with the code."""
        if self.code_path == self.path or self.relocated is not None:
            handle: int | None = self.lib.dwarf_getelf(self._handle)
            return handle
        if self._code is None:
            self._code_fd = os.open(self.code_path, os.O_RDONLY | os.O_CLOEXEC)
            self._code = self.lib.elf_begin(self._code_fd)
        return self._code

    def ops(self, attribute: RawAttribute | None, ops: Any, count: int) -> list[Op]:
        """libdw's expression as values."""
        return [self._op(attribute, ops[i]) for i in range(count)]

    def _op(self, attribute: RawAttribute | None, raw: RawOp) -> Op:
        code: int = raw.atom
        value: object = None
        if code == c.OP_IMPLICIT_VALUE:
            block = RawBlock()
            if self.lib.dwarf_getlocation_implicit_value(attribute, raw, block) != 0:
                raise self.error()
            value = ctypes.string_at(block.data, block.length)
        elif code in (c.OP_ENTRY_VALUE, c.OP_GNU_ENTRY_VALUE):
            value = self._entry_ops(attribute, raw)
        elif code in _TYPED:
            die = RawDie()
            if self.lib.dwarf_getlocation_die(attribute, raw, die) == 0:
                value = Die(self, die)
        elif code in _INDEXED:
            value = self._indexed(attribute, raw)
        return Op(code, raw.number, raw.number2, value)

    def _entry_ops(self, attribute: RawAttribute | None, raw: RawOp) -> list[Op]:
        inner, ops, count = RawAttribute(), OpsPointer(), ctypes.c_size_t()
        if (
            self.lib.dwarf_getlocation_attr(attribute, raw, inner) != 0
            or self.lib.dwarf_getlocation(inner, ops, count) != 0
        ):
            raise self.error()
        return self.ops(inner, ops, count.value)

    def _indexed(self, attribute: RawAttribute | None, raw: RawOp) -> int:
        """What an index into ``.debug_addr`` stands for."""
        inner, value = RawAttribute(), ctypes.c_uint64()
        if self.lib.dwarf_getlocation_attr(attribute, raw, inner) != 0:
            raise self.error()
        if self.lib.dwarf_formaddr(inner, value) != 0:
            raise self.error()
        return value.value


def _is_relocatable(fd: int) -> bool:
    """Whether a file is an ELF file of type ET_REL."""
    head = os.pread(fd, 18, 0)
    order: Literal["little", "big"] = "little" if head[5:6] == b"\1" else "big"
    return head[:4] == b"\x7fELF" and int.from_bytes(head[16:18], order) == ET_REL


def _is_to_be_filled_in(path: str) -> bool:
    """Whether debug information has places without values; that which dwz(1) shares has none."""
    with Elf(path) as elf:
        return any(section.name.startswith(".rela.debug_") for section in elf.sections())


_TYPED = frozenset(
    (
        c.OP_CONVERT, c.OP_GNU_CONVERT, c.OP_REINTERPRET, c.OP_GNU_REINTERPRET,
        c.OP_REGVAL_TYPE, c.OP_GNU_REGVAL_TYPE, c.OP_DEREF_TYPE, c.OP_GNU_DEREF_TYPE,
        c.OP_CONST_TYPE, c.OP_GNU_CONST_TYPE,
    )
)  # fmt: skip
_INDEXED = frozenset((c.OP_ADDRX, c.OP_CONSTX, c.OP_GNU_ADDR_INDEX, c.OP_GNU_CONST_INDEX))
