"""Where the debug information of a program is: in itself, beside it, below /usr/lib/debug.

The places are those of ``SYSTEMTAP_DEBUGINFO_PATH``: elements between colons, of which absolute
ones are trees that hold ``.build-id/xx/yyyy.debug`` and copies of the program's path, relative
ones are folders beside the program, and an empty one is the program's folder.  A leading ``+`` or
``-`` of an element turns the check of the file's checksum on or off.  After those, servers named
by ``DEBUGINFOD_URLS`` are asked (:mod:`pystap.debuginfo.debuginfod`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from pystap.debuginfo.elf import ET_EXEC, Elf, ElfError
from pystap.debuginfo.libdw import DwarfError
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.debuginfo.dwarf import Dwarf
    from pystap.debuginfo.kernelimage import KernelImage
    from pystap.probes.target import Space

DEFAULT_PATH: Final = "+:.debug:/usr/lib/debug:build"
_ALTERNATE: Final = ".gnu_debugaltlink"


class DebugInfo:
    """The debug information of one program or library, or of the kernel or a module of it.

    ``path`` is the program's, ``moves`` tells whether it is loaded at an address of its own
    choice, ``space`` which memory its addresses are about; ``image`` is there for the kernel.
    """

    __slots__ = ("build_id", "dwarf", "image", "moves", "names", "path", "space", "types")

    def __init__(
        self,
        path: str,
        moves: bool,
        build_id: str,
        dwarf: Dwarf,
        cache: str,
        space: Space = "user",
    ) -> None:
        from pystap.debuginfo.dwarfindex import Names
        from pystap.debuginfo.dwarftypes import DwarfTypes

        self.path = path
        self.moves = moves
        self.build_id = build_id
        self.dwarf = dwarf
        self.names = Names(dwarf, build_id, cache)
        self.types = DwarfTypes(dwarf, self.names)
        self.space: Space = space
        self.image: KernelImage | None = None


class MissingDebugInfo(Exception):  # noqa: N818 - the state of a file
    """A program has none; ``looked`` are the places, ``build_id`` what would be searched for."""

    def __init__(self, path: str, build_id: str, looked: list[str]) -> None:
        super().__init__(f"no debug information for {path}")
        self.path = path
        self.build_id = build_id
        self.looked = looked


class DebugFiles:
    """Debug information by program, each opened once.

    ``cache`` is a folder for indexes, empty for none; ``note`` takes messages about progress.
    """

    __slots__ = ("_cache", "_found", "_note", "_sysroot", "files")

    def __init__(
        self, cache: str = "", sysroot: str = "", note: Callable[[str], None] | None = None
    ) -> None:
        self._cache = cache
        self._sysroot = sysroot
        self._note = note
        self._found: dict[str, DebugInfo | MissingDebugInfo | DwarfError] = {}
        self.files: dict[str, None] = {}

    def of(self, path: str) -> DebugInfo:
        """The debug information of the program at ``path``.

        Raises :class:`MissingDebugInfo`, and :class:`DwarfError` when it cannot be used.
        """
        known = self._found.get(path)
        if known is None:
            try:
                known = self._open(path)
            except (MissingDebugInfo, DwarfError) as problem:
                known = problem
            self._found[path] = known
        if isinstance(known, Exception):
            raise known
        return known

    def save(self) -> None:
        """Keep on disk what was found by name."""
        for info in self._found.values():
            if isinstance(info, DebugInfo):
                info.names.save()

    def _open(self, path: str) -> DebugInfo:
        try:
            with Elf(path) as elf:
                build_id = elf.build_id() or ""
                moves = elf.kind != ET_EXEC
                own = elf.section(".debug_info") or elf.section(".zdebug_info")
                link = elf.debug_link()
        except (ElfError, OSError) as problem:
            raise DwarfError(str(problem)) from None
        looked: list[str] = []
        found = path if own else self._separate(path, build_id, link, looked)
        if found is None:
            raise MissingDebugInfo(path, build_id, looked)
        return self.opened(found, path, moves, build_id)

    def opened(
        self, found: str, path: str, moves: bool, build_id: str, space: Space = "user"
    ) -> DebugInfo:
        """The debug information in a file that was ``found``, of the program at ``path``.

        Raises :class:`DwarfError`.
        """
        from pystap.debuginfo.dwarf import Dwarf

        try:
            dwarf = Dwarf(found, path)
        except OSError as problem:
            raise DwarfError(f"{found}: {problem.strerror}") from None
        self.files.setdefault(found)
        self._open_alternate(dwarf)
        info = DebugInfo(path, moves, build_id, dwarf, self._cache, space)
        self._found.setdefault(found, info)
        return info

    def _separate(
        self, path: str, build_id: str, link: tuple[str, int] | None, looked: list[str]
    ) -> str | None:
        checksum = link[1] if link else None
        candidates = self._candidates(path, build_id, link)
        found = self.search(((c, checksum if check else None) for c, check in candidates),
                            build_id, looked)  # fmt: skip
        return found or self.download(build_id, "debuginfo", looked)

    def search(
        self, candidates: Iterable[tuple[str, int | None]], build_id: str, looked: list[str]
    ) -> str | None:
        """The first file that belongs to a build id, else has the checksum that is with it.

        What is looked at is added to ``looked``.
        """
        for candidate, checksum in candidates:
            if candidate in looked:
                continue
            looked.append(candidate)
            self.files.setdefault(candidate)
            if _fits(candidate, build_id, checksum):
                return candidate
        return None

    def _candidates(
        self, path: str, build_id: str, link: tuple[str, int] | None
    ) -> Iterator[tuple[str, bool]]:
        folder = os.path.dirname(os.path.realpath(path))
        for element, _ in elements():
            if element == "build":  # the tree a kernel was built in
                continue
            tree = element if element.startswith("/") else ""
            if tree and len(build_id) > 2:
                tail = f".build-id/{build_id[:2]}/{build_id[2:]}.debug"
                yield f"{self._sysroot}{tree}/{tail}", False
        if link is None:
            return
        for element, check in elements():
            if element.startswith("/"):
                yield f"{self._sysroot}{element}{folder}/{link[0]}", check
                yield f"{self._sysroot}{element}/{link[0]}", check
            elif element != "build":
                yield os.path.join(folder, element, link[0]), check

    def _open_alternate(self, dwarf: Dwarf) -> None:
        """Open what dwz(1) moved to a file shared by several."""
        from pystap.debuginfo.dwarf import Dwarf

        with Elf(dwarf.path) as elf:
            section = elf.section(_ALTERNATE)
            raw = elf.section_bytes(section) if section is not None else b""
        if not raw:
            return
        name, _, identity = raw.partition(b"\0")
        build_id, file = identity.hex(), name.decode("latin-1")
        looked = [os.path.join(os.path.dirname(dwarf.path), file)]
        for element, _ in elements():
            if element.startswith("/"):
                tail = f".build-id/{build_id[:2]}/{build_id[2:]}.debug"
                looked.append(f"{self._sysroot}{element}/{tail}")
        found = next((path for path in looked if _fits(path, build_id, None)), None)
        found = found or self.download(build_id, "debuginfo", looked)
        if found is None:
            raise DwarfError(
                f"{dwarf.path}: its second part (dwz) is missing; looked for {', '.join(looked)}"
            )
        self.files.setdefault(found)
        dwarf.set_alternate(Dwarf(found))

    def download(self, build_id: str, what: str, looked: list[str]) -> str | None:
        """What a server has for a build id; None without servers."""
        if not build_id or not os.environ.get("DEBUGINFOD_URLS", "").strip():
            return None
        from pystap.debuginfo.debuginfod import download

        return download(build_id, what, looked, self._note)


def elements() -> Iterator[tuple[str, bool]]:
    """The elements of the search path, each with whether checksums are compared."""
    check = True
    for element in os.environ.get("SYSTEMTAP_DEBUGINFO_PATH", DEFAULT_PATH).split(":"):
        if element[:1] in ("+", "-"):
            check = element[0] == "+"
            element = element[1:]
        yield element.rstrip("/"), check


def _fits(path: str, build_id: str, checksum: int | None) -> bool:
    """Whether a file belongs to a program: by build id, or by checksum where there is none."""
    try:
        with Elf(path) as elf:
            own = elf.build_id() or ""
    except (ElfError, OSError):
        return False
    if build_id and own:
        return own == build_id
    return checksum is None or _checksum(path) == checksum


def _checksum(path: str) -> int:
    from zlib import crc32

    value = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            value = crc32(block, value)
    return value
