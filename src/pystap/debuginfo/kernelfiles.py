"""Where the debug information of the kernel and of its modules is.

The places are those of ``SYSTEMTAP_DEBUGINFO_PATH`` (:mod:`pystap.debuginfo.debugfiles`): in its
trees ``.build-id/xx/yyyy.debug``, ``boot/vmlinux-RELEASE`` and ``lib/modules/RELEASE/vmlinux``,
for modules the copy of their path below ``/lib/modules/RELEASE``; then beside the kernel
(``/boot``, ``/lib/modules/RELEASE``), and for its element ``build`` the tree that the kernel was
built in.  With ``-r DIRECTORY`` that tree comes first.  Servers for debug information are asked
last, by build id.  A file counts only if it has the build id of what runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from pystap.debuginfo.debugfiles import DebugFiles, DebugInfo, MissingDebugInfo, elements
from pystap.debuginfo.elf import Elf, ElfError, build_id_of
from pystap.debuginfo.kernelimage import KernelImage
from pystap.debuginfo.libdw import DwarfError
from pystap.debuginfo.modulefile import (
    ModuleFile,
    module_file,
    module_folders,
    module_name,
    module_paths,
)
from pystap.debuginfo.packing import without_packing
from pystap.kernel.cpu import build_id_note

_INSTALLED = ("/usr/src/", "/usr/lib/modules/", "/lib/modules/")


class KernelFiles:
    """Debug information of one kernel and its modules, each opened once.

    ``build`` is the directory of ``-r``, empty for an installed kernel; ``running`` tells whether
    ``release`` is the kernel that runs, ``at_load`` whether addresses in memory are found when
    what was translated is loaded, ``sysroot`` where the files of its system are: those of a build
    directory that is installed (``/x/usr/src/...``) lie beside it (``/x/boot``).
    """

    def __init__(
        self,
        files: DebugFiles,
        release: str,
        build: str,
        sysroot: str,
        at_load: bool = False,
    ) -> None:
        self._files = files
        self.release = release
        self.build = build
        self.running = release == os.uname().release and not sysroot
        self.at_load = at_load
        self.sysroot = sysroot or _root_of(build, release)
        self._roots = (sysroot, self.sysroot) if sysroot != self.sysroot else (sysroot,)
        self._found: dict[str, KernelImage | Exception] = {}

    def kernel(self, local: bool = False) -> KernelImage:
        """The kernel's.  With ``local`` no server is asked.

        Raises :class:`MissingDebugInfo`, and :class:`DwarfError` when it cannot be used.
        """
        return self._remembered("", local)

    def module(self, name: str, local: bool = False) -> KernelImage:
        """That of a module, by its name or by the path of its file."""
        return self._remembered(name, local)

    def kernel_places(self) -> Iterator[str]:
        """Where the kernel's file may be, with debug information or without."""
        return self._places("", "", "")

    def started_files(self) -> Iterator[str]:
        """Where the file may be that is started."""
        if self.release:
            yield f"{self.sysroot}/boot/vmlinuz-{self.release}"
            yield from (f"{place}/vmlinuz" for place in module_folders(self.release, self.sysroot))

    def module_file(self, name: str) -> ModuleFile | None:
        """The file of a module by its name, None when it has none that can be read."""
        return module_file(name, self.release, self.sysroot)

    def modules(self) -> Iterator[str]:
        """The names of all modules of this kernel that have a file."""
        return map(module_name, module_paths(self.release, self.sysroot))

    def _remembered(self, name: str, local: bool) -> KernelImage:
        known = self._found.get(name)
        if known is None or (isinstance(known, MissingDebugInfo) and not local):
            try:
                known = self._open(name, local)
            except (MissingDebugInfo, DwarfError) as problem:
                known = problem
            self._found[name] = known
            if "/" in name:  # from now on what its name means, too
                self._found[module_name(name)] = known
        if isinstance(known, KernelImage):
            return known
        raise known

    def _open(self, name: str, local: bool) -> KernelImage:
        looked: list[str] = []
        path, build_id = self._code(name)
        candidates = ((place, None) for place in self._places(name, path, build_id))
        found = self._files.search(
            (c for c in candidates if _has_debug_info(c[0]) or not os.path.exists(c[0])),
            build_id, looked,
        )  # fmt: skip
        if found is None and not local:
            found = self._files.download(build_id, "debuginfo", looked)
        if found is None:
            raise MissingDebugInfo(path or name or f"kernel {self.release}", build_id, looked)
        info = self._opened(found, build_id)
        module = module_name(name) if name else ""
        depends_on = self._files.files.setdefault
        image = KernelImage(info, module, self.running, depends_on, self.at_load)
        info.image = image
        return image

    def _opened(self, found: str, build_id: str) -> DebugInfo:
        try:
            return self._files.opened(
                found, found, True, build_id or build_id_of(found) or "", "kernel"
            )
        except ElfError as problem:
            raise DwarfError(str(problem)) from None

    # ------------------------------------------------------------ the code

    def _code(self, name: str) -> tuple[str, str]:
        """The file of a module or the kernel, if there is one, and the build id of what runs."""
        if not name:
            return "", _note("/sys/kernel/notes") if self.running and not self.build else ""
        path = name if "/" in name else self._module_file(name)
        build_id = ""
        if self.running:
            build_id = _note(f"/sys/module/{module_name(name)}/notes/.note.gnu.build-id")
        return path, build_id or build_id_of(path) or ""

    def _module_file(self, name: str) -> str:
        """The file of a module by its name, empty when there is none."""
        wanted = name.replace("-", "_")
        paths = module_paths(self.release, self.sysroot)
        return next((path for path in paths if module_name(path) == wanted), "")

    # ------------------------------------------------------------ places

    def _places(self, name: str, path: str, build_id: str) -> Iterator[str]:
        if "/" in name:
            yield name
        if self.build:
            yield from self._built(path) if name else [os.path.join(self.build, "vmlinux")]
            if not self.release:
                return
        for element, _ in elements():
            if element.startswith("/"):
                for tree in (root + element for root in self._roots):
                    if len(build_id) > 2:
                        yield f"{tree}/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
                    yield from self._in_tree(tree, path) if name else self._kernels(tree)
            elif element == "build" and not name:
                yield f"{self._folder()}/build/vmlinux"
            elif not element and not name:
                yield f"{self._folder()}/vmlinux"
                yield f"{self.sysroot}/boot/vmlinux-{self.release}"
            elif not element and path:
                yield path

    def _folder(self) -> str:
        """The first directory of this kernel's modules."""
        return module_folders(self.release, self.sysroot)[0]

    def _kernels(self, tree: str) -> Iterator[str]:
        yield f"{tree}/boot/vmlinux-{self.release}"
        yield f"{tree}/lib/modules/{self.release}/vmlinux"
        yield f"{tree}/usr/lib/modules/{self.release}/vmlinux"

    def _in_tree(self, tree: str, path: str) -> Iterator[str]:
        """Copies of a module's path below a tree, with and without ``.debug``."""
        plain = without_packing(path.removeprefix(self.sysroot))
        for place in (plain, plain.removeprefix("/usr"), f"/usr{plain}") if plain else ():
            yield f"{tree}{place}"
            yield f"{tree}{place}.debug"

    def _built(self, path: str) -> Iterator[str]:
        """The file of a module in the tree it was built in."""
        _, kernel, below = path.partition("/kernel/")
        if kernel:
            yield os.path.join(self.build, without_packing(below))


def _root_of(build: str, release: str) -> str:
    """Where the system begins that a build directory and its kernel's modules are installed in."""
    path = os.path.realpath(build) if build and release else ""
    root = next((path[: path.index(at)] for at in _INSTALLED if at in path), "")
    return root if any(map(os.path.isdir, module_folders(release, root))) else ""


def release_of(chosen: str) -> tuple[str, str]:
    """Release and build directory that ``-r`` means; those of what runs when it is empty.

    The release is empty when a directory does not tell which kernel it is of.
    """
    if "/" not in chosen:
        return chosen or os.uname().release, ""
    return _header_release(chosen), chosen


def _header_release(build: str) -> str:
    """What modules built in a directory take for the kernel's release; some distributions have
    another text in include/config/kernel.release."""
    try:
        with open(os.path.join(build, "include/generated/utsrelease.h"), encoding="ascii") as file:
            for line in file:
                if line.startswith("#define UTS_RELEASE "):
                    return line.split('"')[1]
    except OSError:
        pass
    return ""


def _note(path: str) -> str:
    """The build id in a file of notes; empty when there is none."""
    try:
        with open(path, "rb") as file:
            return build_id_note(file.read(), "<") or ""
    except OSError:
        return ""


def _has_debug_info(path: str) -> bool:
    try:
        with Elf(path) as elf:
            return any(elf.section(name) is not None for name in (".debug_info", ".zdebug_info"))
    except (ElfError, OSError):
        return False
