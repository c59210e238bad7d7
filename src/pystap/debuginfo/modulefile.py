"""The files of modules, and the functions and types in them, also of modules not loaded.

Facts: ``modules.dep`` of depmod(8) lists the files below /lib/modules/RELEASE; their names may
have ``-`` where the module's name has ``_``, and may end in ``.xz``, ``.zst`` or ``.gz``.
"""

from __future__ import annotations

import contextlib
import os

from pystap.debuginfo.btffile import BtfMissing
from pystap.debuginfo.elf import SHT_SYMTAB, STT_FUNC, Elf, ElfError
from pystap.debuginfo.packing import unpacked_file, without_packing
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pystap.debuginfo.btf import Btf

_ROOTS: Final = ("/lib/modules", "/usr/lib/modules")


class ModuleFile:
    """The file of a module; ``close`` gives back what it holds."""

    def __init__(self, name: str, path: str) -> None:
        """Raises OSError and :class:`ElfError` for a file that cannot be used."""
        self.name = name
        self._memory = -1
        try:
            if without_packing(path) != path:
                self._memory = os.memfd_create(name, os.MFD_CLOEXEC)
                os.write(self._memory, unpacked_file(path))
                path = f"/proc/self/fd/{self._memory}"
            self._elf = Elf(path)
        except (OSError, ElfError):
            self._close_memory()
            raise

    def functions(self) -> list[str]:
        """Names of its functions."""
        found = self._elf.symbols(SHT_SYMTAB, (STT_FUNC,))
        return sorted({symbol.name for symbol in found if symbol.name})

    def give_types(self, kernel: Btf) -> None:
        """Have the kernel's BTF know the types of this module, if the file tells them."""
        section = self._elf.section(".BTF")
        if section is None:
            return
        memory = os.memfd_create(self.name, os.MFD_CLOEXEC)
        os.write(memory, self._elf.section_bytes(section))
        with contextlib.suppress(BtfMissing):  # it was made for another kernel, or is empty
            kernel.add_module(self.name, f"/proc/self/fd/{memory}")
        os.close(memory)

    def close(self) -> None:
        """Close the file."""
        self._elf.close()
        self._close_memory()

    def _close_memory(self) -> None:
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1


def module_folders(release: str, sysroot: str = "") -> list[str]:
    """The directories where a kernel may have its modules."""
    return [f"{sysroot}{root}/{release}" for root in _ROOTS]


def module_paths(release: str, sysroot: str = "") -> Iterator[str]:
    """The files of all modules of a kernel."""
    for folder in module_folders(release, sysroot):
        path = os.path.join(folder, "modules.dep")
        try:
            with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                lines = file.readlines()
        except OSError:
            continue
        for line in lines:
            yield os.path.join(folder, line.partition(":")[0])
        return


def module_name(path: str) -> str:
    """The name that the kernel gives to a module of a file."""
    base = os.path.basename(without_packing(path))
    return base.removesuffix(".ko").replace("-", "_")


def module_file(name: str, release: str, sysroot: str = "") -> ModuleFile | None:
    """The file of a module of a kernel, None when it has none that can be read."""
    for path in module_paths(release, sysroot):
        if module_name(path) == name:
            try:
                return ModuleFile(name, path)
            except (OSError, ElfError):
                return None
    return None
