"""The entry points of elfutils' libdw, called through ctypes.

ctypes and not cffi: the project uses it already, so nothing is to be installed or imported
besides the library itself, and declaring the functions costs 0.3 ms where cffi first parses C
declarations.  A call costs some 0.4 µs either way; what visits very many entries is one call
into libdw with a callback (:func:`Library.dwarf_getfuncs`).

Layouts are those of ``elfutils/libdw.h``, ``libdwfl.h``, ``libelf.h`` and ``elf.h``, which have
kept them since their first releases.
"""

from __future__ import annotations

import ctypes

from pystap.typing import Any, Final

_SONAMES: Final = ("libdw.so.1", "libdw.so")
_LIBELF: Final = ("libelf.so.1", "libelf.so")
_EV_CURRENT: Final = 1
_ELF_C_READ: Final = 1

_PTR = ctypes.c_void_p
_INT = ctypes.c_int
_SIZE = ctypes.c_size_t
_U64 = ctypes.c_uint64
_STR = ctypes.c_char_p


class RawDie(ctypes.Structure):
    """``Dwarf_Die``."""

    _fields_ = (("addr", _PTR), ("cu", _PTR), ("abbrev", _PTR), ("padding", ctypes.c_long))


class RawAttribute(ctypes.Structure):
    """``Dwarf_Attribute``."""

    _fields_ = (("code", ctypes.c_uint), ("form", ctypes.c_uint), ("valp", _PTR), ("cu", _PTR))


class RawOp(ctypes.Structure):
    """``Dwarf_Op``: an operation of a location expression."""

    _fields_ = (("atom", ctypes.c_uint8), ("number", _U64), ("number2", _U64), ("offset", _U64))


class RawBlock(ctypes.Structure):
    """``Dwarf_Block``."""

    _fields_ = (("length", _U64), ("data", _PTR))


class RawSectionData(ctypes.Structure):
    """``Elf_Data``: the bytes of a section."""

    _fields_ = (
        ("data", _PTR), ("type", _INT), ("version", ctypes.c_uint), ("size", _SIZE),
        ("offset", ctypes.c_int64), ("align", _SIZE),
    )  # fmt: skip


class RawSection(ctypes.Structure):
    """``Elf64_Shdr``: the header of a section."""

    _fields_ = (
        ("name", ctypes.c_uint32), ("type", ctypes.c_uint32), ("flags", _U64), ("address", _U64),
        ("offset", _U64), ("size", _U64), ("link", ctypes.c_uint32), ("info", ctypes.c_uint32),
        ("align", _U64), ("entry_size", _U64),
    )  # fmt: skip


class RawCallbacks(ctypes.Structure):
    """``Dwfl_Callbacks``."""

    _fields_ = tuple(
        (name, _PTR) for name in ("find_elf", "find_debuginfo", "section_address", "path")
    )


_DIE = ctypes.POINTER(RawDie)
_ATTRIBUTE = ctypes.POINTER(RawAttribute)
_OPS = ctypes.POINTER(RawOp)
OpsPointer = _OPS
_U64_OUT = ctypes.POINTER(_U64)
_INT_OUT = ctypes.POINTER(_INT)
_BOOL_OUT = ctypes.POINTER(ctypes.c_bool)
_PTR_OUT = ctypes.POINTER(_PTR)
_SIZE_OUT = ctypes.POINTER(_SIZE)
DieCallback = ctypes.CFUNCTYPE(_INT, _DIE, _PTR)
# int (Dwfl_Module *, void **, const char *, Dwarf_Addr, const char *, const char *, GElf_Word,
#      char **): the separate debug information of a module
FindDebugInfo = ctypes.CFUNCTYPE(_INT, _PTR, _PTR, _STR, _U64, _STR, _STR, ctypes.c_uint32, _PTR)

# name: (result, arguments)
_PROTOTYPES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "dwarf_begin": (_PTR, (_INT, _INT)),
    "dwarf_end": (_INT, (_PTR,)),
    "dwarf_getelf": (_PTR, (_PTR,)),
    "dwarf_setalt": (None, (_PTR, _PTR)),
    "dwarf_errmsg": (_STR, (_INT,)),
    "dwarf_get_units": (
        _INT,
        (_PTR, _PTR, _PTR_OUT, ctypes.POINTER(ctypes.c_uint16), ctypes.POINTER(ctypes.c_uint8),
         _DIE, _DIE),
    ),
    "dwarf_offdie": (_PTR, (_PTR, _U64, _DIE)),
    "dwarf_diecu": (_PTR, (_DIE, _DIE, _PTR, _PTR)),
    "dwarf_cu_getdwarf": (_PTR, (_PTR,)),
    "dwarf_addrdie": (_PTR, (_PTR, _U64, _DIE)),
    "dwarf_child": (_INT, (_DIE, _DIE)),
    "dwarf_siblingof": (_INT, (_DIE, _DIE)),
    "dwarf_tag": (_INT, (_DIE,)),
    "dwarf_diename": (_STR, (_DIE,)),
    "dwarf_dieoffset": (_U64, (_DIE,)),
    "dwarf_getscopes_die": (_INT, (_DIE, ctypes.POINTER(_DIE))),
    "dwarf_haspc": (_INT, (_DIE, _U64)),
    "dwarf_lowpc": (_INT, (_DIE, _U64_OUT)),
    "dwarf_entrypc": (_INT, (_DIE, _U64_OUT)),
    "dwarf_ranges": (ctypes.c_ssize_t, (_DIE, ctypes.c_ssize_t, _U64_OUT, _U64_OUT, _U64_OUT)),
    "dwarf_entry_breakpoints": (_INT, (_DIE, ctypes.POINTER(_U64_OUT))),
    "dwarf_func_inline_instances": (_INT, (_DIE, DieCallback, _PTR)),
    "dwarf_getfuncs": (ctypes.c_ssize_t, (_DIE, DieCallback, _PTR, ctypes.c_ssize_t)),
    "dwarf_attr": (_PTR, (_DIE, ctypes.c_uint, _ATTRIBUTE)),
    "dwarf_attr_integrate": (_PTR, (_DIE, ctypes.c_uint, _ATTRIBUTE)),
    "dwarf_formudata": (_INT, (_ATTRIBUTE, _U64_OUT)),
    "dwarf_formsdata": (_INT, (_ATTRIBUTE, ctypes.POINTER(ctypes.c_int64))),
    "dwarf_formstring": (_STR, (_ATTRIBUTE,)),
    "dwarf_formflag": (_INT, (_ATTRIBUTE, _BOOL_OUT)),
    "dwarf_formaddr": (_INT, (_ATTRIBUTE, _U64_OUT)),
    "dwarf_formref_die": (_PTR, (_ATTRIBUTE, _DIE)),
    "dwarf_formblock": (_INT, (_ATTRIBUTE, ctypes.POINTER(RawBlock))),
    "dwarf_getlocation_addr": (
        _INT, (_ATTRIBUTE, _U64, ctypes.POINTER(_OPS), _SIZE_OUT, _SIZE),
    ),
    "dwarf_getlocation_attr": (_INT, (_ATTRIBUTE, _OPS, _ATTRIBUTE)),
    "dwarf_getlocation": (_INT, (_ATTRIBUTE, ctypes.POINTER(_OPS), _SIZE_OUT)),
    "dwarf_getlocation_implicit_value": (
        _INT, (_ATTRIBUTE, _OPS, ctypes.POINTER(RawBlock)),
    ),
    "dwarf_getlocation_die": (_INT, (_ATTRIBUTE, _OPS, _DIE)),
    "dwarf_getcfi": (_PTR, (_PTR,)),
    "dwarf_getcfi_elf": (_PTR, (_PTR,)),
    "dwarf_cfi_end": (_INT, (_PTR,)),
    "dwarf_cfi_addrframe": (_INT, (_PTR, _U64, _PTR_OUT)),
    "dwarf_frame_cfa": (_INT, (_PTR, ctypes.POINTER(_OPS), _SIZE_OUT)),
    "dwarf_getsrclines": (_INT, (_DIE, _PTR_OUT, _SIZE_OUT)),
    "dwarf_onesrcline": (_PTR, (_PTR, _SIZE)),
    "dwarf_lineaddr": (_INT, (_PTR, _U64_OUT)),
    "dwarf_lineno": (_INT, (_PTR, _INT_OUT)),
    "dwarf_linesrc": (_STR, (_PTR, _PTR, _PTR)),
    "dwarf_linebeginstatement": (_INT, (_PTR, _BOOL_OUT)),
    "dwarf_lineendsequence": (_INT, (_PTR, _BOOL_OUT)),
    "dwarf_decl_file": (_STR, (_DIE,)),
    "dwarf_decl_line": (_INT, (_DIE, _INT_OUT)),
    "dwarf_getsrcfiles": (_INT, (_DIE, _PTR_OUT, _SIZE_OUT)),
    "dwarf_filesrc": (_STR, (_PTR, _SIZE, _PTR, _PTR)),
    "dwfl_begin": (_PTR, (ctypes.POINTER(RawCallbacks),)),
    "dwfl_end": (None, (_PTR,)),
    "dwfl_errmsg": (_STR, (_INT,)),
    "dwfl_report_begin": (None, (_PTR,)),
    "dwfl_report_offline": (_PTR, (_PTR, _STR, _STR, _INT)),
    "dwfl_report_end": (_INT, (_PTR, _PTR, _PTR)),
    "dwfl_module_getdwarf": (_PTR, (_PTR, _U64_OUT)),
    "dwfl_module_getelf": (_PTR, (_PTR, _U64_OUT)),
    "dwfl_offline_section_address": (
        _INT, (_PTR, _PTR, _STR, _U64, _STR, ctypes.c_uint32, _PTR, _U64_OUT),
    ),
}  # fmt: skip


_LIBELF_PROTOTYPES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "elf_version": (ctypes.c_uint, (ctypes.c_uint,)),
    "elf_begin": (_PTR, (_INT, _INT, _PTR)),
    "elf_end": (_INT, (_PTR,)),
    "elf_getscn": (_PTR, (_PTR, _SIZE)),
    "gelf_getshdr": (_PTR, (_PTR, ctypes.POINTER(RawSection))),
    "elf_getdata": (ctypes.POINTER(RawSectionData), (_PTR, _PTR)),
}


class DwarfError(Exception):
    """libdw is missing, or a file's debug information is damaged or of an unknown kind."""


class Library:
    """The shared object; its functions are attributes under their own names."""

    def __init__(self) -> None:
        handle = _load(_SONAMES)
        for name, (result, arguments) in _PROTOTYPES.items():
            try:
                entry = getattr(handle, name)
            except AttributeError as error:
                raise DwarfError(f"this libdw is too old: it has no {name}") from error
            entry.restype = result
            entry.argtypes = arguments
            setattr(self, name, entry)
        self._libelf: Any = None
        self.free: Any = ctypes.CDLL(None).free
        self.free.argtypes = (_PTR,)
        self.free.restype = None

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def elf_begin(self, fd: int) -> int | None:
        """An ``Elf *`` of an open file, to be ended with :meth:`elf_end`; None if it is none."""
        handle: int | None = self._elf().elf_begin(fd, _ELF_C_READ, None)
        return handle

    def elf_end(self, handle: int) -> None:
        """Release what :meth:`elf_begin` gave."""
        self._elf().elf_end(handle)

    def section_address(self, handle: int, index: int) -> int:
        """The address of a section of an ``Elf *``."""
        header = RawSection()
        if not self._elf().gelf_getshdr(self._section(handle, index), header):
            raise DwarfError(f"section {index} cannot be read")
        address: int = header.address
        return address

    def section_bytes(self, handle: int, index: int) -> bytes:
        """The contents of a section of an ``Elf *`` as they are in memory, i.e. relocated."""
        found = self._elf().elf_getdata(self._section(handle, index), None)
        if not found or not found.contents.data:
            return b""
        return ctypes.string_at(found.contents.data, found.contents.size)

    def _section(self, handle: int, index: int) -> int:
        found: int | None = self._elf().elf_getscn(handle, index)
        if not found:
            raise DwarfError(f"there is no section {index}")
        return found

    def _elf(self) -> Any:
        """libelf, loaded when it is first needed."""
        if self._libelf is None:
            self._libelf = _load(_LIBELF)
            for name, (result, arguments) in _LIBELF_PROTOTYPES.items():
                entry = getattr(self._libelf, name)
                entry.restype = result
                entry.argtypes = arguments
            self._libelf.elf_version(_EV_CURRENT)
        return self._libelf

    def problem(self) -> str:
        """libdw's words for what went wrong last."""
        text: bytes | None = self.dwarf_errmsg(-1)
        return (text or b"unknown error").decode("latin-1")


def _load(names: tuple[str, ...]) -> ctypes.CDLL:
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise DwarfError("libdw is not installed: it is in the package libdw1 or elfutils-libs")


_library: Library | None = None


def library() -> Library:
    """libdw, loaded when it is first asked for.  Raises :class:`DwarfError`."""
    global _library
    if _library is None:
        _library = Library()
    return _library
