"""The entry points of elfutils' libdw, called through ctypes.

ctypes and not cffi: the project uses it already, so nothing is to be installed or imported
besides the library itself, and declaring the functions costs 0.3 ms where cffi first parses C
declarations.  A call costs some 0.4 µs either way; what visits very many entries is one call
into libdw with a callback (:func:`Library.dwarf_func_inline_instances`).

Layouts are those of ``elfutils/libdw.h``, which has kept them since its first release.
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


_DIE = ctypes.POINTER(RawDie)
_ATTRIBUTE = ctypes.POINTER(RawAttribute)
_OPS = ctypes.POINTER(RawOp)
OpsPointer = _OPS
_U64_OUT = ctypes.POINTER(_U64)
_INT_OUT = ctypes.POINTER(_INT)
_BOOL_OUT = ctypes.POINTER(ctypes.c_bool)
_PTR_OUT = ctypes.POINTER(_PTR)
_SIZE_OUT = ctypes.POINTER(_SIZE)
InstanceCallback = ctypes.CFUNCTYPE(_INT, _DIE, _PTR)

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
    "dwarf_haspc": (_INT, (_DIE, _U64)),
    "dwarf_lowpc": (_INT, (_DIE, _U64_OUT)),
    "dwarf_entrypc": (_INT, (_DIE, _U64_OUT)),
    "dwarf_ranges": (ctypes.c_ssize_t, (_DIE, ctypes.c_ssize_t, _U64_OUT, _U64_OUT, _U64_OUT)),
    "dwarf_entry_breakpoints": (_INT, (_DIE, ctypes.POINTER(_U64_OUT))),
    "dwarf_func_inline_instances": (_INT, (_DIE, InstanceCallback, _PTR)),
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
}  # fmt: skip


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
        if self._libelf is None:
            self._libelf = _load(_LIBELF)
            self._libelf.elf_begin.restype = _PTR
            self._libelf.elf_begin.argtypes = (_INT, _INT, _PTR)
            self._libelf.elf_end.argtypes = (_PTR,)
            self._libelf.elf_version(_EV_CURRENT)
        handle: int | None = self._libelf.elf_begin(fd, _ELF_C_READ, None)
        return handle

    def elf_end(self, handle: int) -> None:
        """Release what :meth:`elf_begin` gave."""
        self._libelf.elf_end(handle)

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
