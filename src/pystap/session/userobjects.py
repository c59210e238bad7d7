"""The tables of programs and libraries that handlers unwind stacks and name addresses with.

They are made when the session begins, for the programs probed and the target with their
libraries, and those of ``-d`` and ``--ldd``, and later for other files that a stack led through.
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Thread

from pystap.debuginfo.elf import ElfError
from pystap.debuginfo.objecttable import VDSO_INODE, with_path
from pystap.kernel.syscalls import PAGE_SIZE, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from pystap.debuginfo.objecttable import Table

    class Tables(Protocol):
        """Where a runtime keeps tables, by inode and device of a file as mappings have them."""

        def identify(self, address: int) -> tuple[int, int] | None:
            """Inode and device of what this process has mapped at an address."""

        def enter(self, name: tuple[int, int], content: bytes) -> None:
            """Add a table.  Raises OSError."""

        def unknown(self) -> list[Note]:
            """The files without a table that stacks have led through."""

        def close(self) -> None:
            """Let go of the tables."""


_VDSO = (VDSO_INODE, 0)
_LARGE = 64 << 20  # bytes of a file that is not read while handlers wait to be heard


class Wanted:
    """What a session is to know.

    ``modules`` are the objects of ``-d``, with ``libraries`` (``--ldd``) also what programs are
    linked with; ``command`` is the program of ``-c`` and ``target`` the pid of target(), which
    counts with its libraries; ``cache`` is a folder.  ``probed`` are the files of probes;
    ``stacks`` and ``places`` tell whether scripts ask for stacks, and for source lines.
    """

    __slots__ = (
        "cache", "command", "libraries", "modules", "places", "probed", "stacks", "sysroot",
        "target",
    )  # fmt: skip

    def __init__(
        self,
        modules: list[str],
        libraries: bool,
        command: str = "",
        target: int = 0,
        cache: str = "",
        sysroot: str = "",
        probed: list[str] | None = None,
        stacks: bool = True,
        places: bool = False,
    ) -> None:
        self.modules = modules
        self.libraries = libraries
        self.command = command
        self.target = target
        self.cache = cache
        self.sysroot = sysroot
        self.probed = probed or []
        self.stacks = stacks
        self.places = places


class UserObjects:
    """The tables of a session.  ``complain`` takes warnings."""

    def __init__(self, tables: Tables, wanted: Wanted, complain: Callable[[str], None]) -> None:
        self._tables = tables
        self._wanted = wanted
        self._complain = complain
        self._known: set[tuple[int, int]] = set()
        self._empty: set[str] = set()  # paths of files that have no unwind data
        self._noted: dict[tuple[int, int], str] = {}  # paths of files found on the way
        self._counted = 0  # of those, when they were looked at last
        self._ready: list[tuple[tuple[int, int], bytes]] = []  # tables of them to be entered
        self._worker: Thread | None = None

    def begin(self) -> None:
        """Make the tables that are wanted."""
        self._add_vdso()
        for path in self._paths():
            self._add_file(path, os.path.realpath(path), explicit=True)
        if self._wanted.target:
            self._add_process(self._wanted.target)

    def close(self) -> None:
        """Let go of the tables."""
        self._tables.close()

    def _paths(self) -> list[str]:
        """The files to begin with, each once."""
        from pystap.debuginfo.libraries import linked

        wanted = self._wanted
        named = [wanted.sysroot + path for path in wanted.modules]
        roots = [wanted.command] if wanted.command else []
        roots += wanted.probed if wanted.libraries or wanted.stacks else []
        roots += named if wanted.libraries else []
        found = [*wanted.probed, *named, *roots]
        for root in roots:
            found += linked(root, wanted.sysroot)
        return list(dict.fromkeys(os.path.realpath(path) for path in found))

    # ---- one object

    def _add_file(self, path: str, shown: str, *, explicit: bool) -> None:
        """Make the table of a file, if it can be used.

        ``shown`` is the path in the output.  Of files that were asked for problems are told.
        """
        try:
            name = self._name_of(path)
            if name in self._known:
                return
            table = self._read(path, places=self._wanted.places)
            self._enter(name, with_path(table.content, os.fsencode(shown)))
        except (ElfError, OSError) as error:
            if explicit:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                self._complain(f"WARNING: no symbols or unwind data of '{path}': {reason}")
            return
        if not table.unwinds and self._wanted.stacks:
            self._empty.add(shown)

    def _read(self, path: str, *, places: bool) -> Table:
        from pystap.debuginfo.objectfile import object_table

        wanted = self._wanted
        return object_table(path, places=places, cache=wanted.cache, sysroot=wanted.sysroot)

    def _name_of(self, path: str) -> tuple[int, int]:
        """Inode and device of a file as mappings have them."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size == 0:
                raise ElfError(f"{path}: not an ELF file (empty)")
            with Mapping(descriptor, PAGE_SIZE) as mapping:
                name = self._tables.identify(mapping.address)
        finally:
            os.close(descriptor)
        if name is None:
            raise ElfError(f"{path}: the kernel does not tell which file it is")
        return name

    def _enter(self, name: tuple[int, int], content: bytes) -> None:
        self._tables.enter(name, content)
        self._known.add(name)

    def _add_vdso(self) -> None:
        """The code that the kernel maps into every process; read from our own."""
        from pystap.debuginfo.objectfile import object_table
        from pystap.kernel.procs import maps

        span = next((entry for entry in maps(os.getpid()) if entry.path == "[vdso]"), None)
        if span is None:
            return
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            memory.seek(span.start)
            content = memory.read(span.end - span.start)
        descriptor = os.memfd_create("vdso", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, content)
            table = object_table(f"/proc/self/fd/{descriptor}", places=False)
        except ElfError:
            return
        finally:
            os.close(descriptor)
        self._enter(_VDSO, with_path(table.content, b"[vdso]"))

    # ---- processes

    def _add_process(self, pid: int) -> None:
        """The files a process has mapped as code."""
        from pystap.kernel.procs import maps

        try:
            entries = maps(pid)
        except (ProcessLookupError, PermissionError):
            return
        for entry in entries:
            if entry.executable and entry.path.startswith("/"):
                # This way also when it was deleted, or is in another mount namespace.
                link = f"/proc/{pid}/map_files/{entry.start:x}-{entry.end:x}"
                self._add_file(link, entry.path, explicit=False)

    # ---- what was found on the way

    def look(self, counted: int) -> None:
        """Make tables of files that stacks have led through since, beside what else is done;
        ``counted`` is how many such files there have been in all."""
        while self._ready:
            name, content = self._ready.pop()
            if name not in self._known:
                with suppress(OSError):  # no room: it stays among those without data
                    self._enter(name, content)
        if counted == self._counted or (self._worker is not None and self._worker.is_alive()):
            return
        self._counted = counted
        fresh = [note for note in self._tables.unknown() if note.name not in self._noted]
        for note in fresh:
            self._noted[note.name] = note.path
        self._worker = Thread(target=self._read_noted, args=(fresh,), daemon=True)
        self._worker.start()

    def _read_noted(self, notes: list[Note]) -> None:
        """In a thread: read the files of notes, but not their lines, which may take long."""
        opened = []
        for note in notes:  # processes end: first all files are held
            descriptor, path = note.open()
            if path:
                self._noted[note.name] = path
            if descriptor >= 0:
                opened.append((note.name, descriptor, path))
        for name, descriptor, path in opened:
            try:
                if os.fstat(descriptor).st_size <= _LARGE:
                    table = self._read(f"/proc/self/fd/{descriptor}", places=False)
                    self._ready.append((name, with_path(table.content, os.fsencode(path))))
            except (ElfError, OSError):
                continue  # no program: it stays among those without data
            finally:
                os.close(descriptor)

    def warn(self) -> None:
        """Tell of files that stacks could not be unwound through for want of data."""
        noted = {name: path for name, path in self._noted.items() if name not in self._known}
        missing = set(noted.values()) - self._of_this_process(noted)
        for path in sorted(missing | self._empty):
            self._complain(
                f"WARNING: Missing unwind data for a module, rerun with 'stap -d {path}'"
            )

    def _of_this_process(self, noted: dict[tuple[int, int], str]) -> set[str]:
        """Those of some files that this program itself runs: the command of -c is a copy of it
        until it becomes what the user means."""
        from pystap.kernel.procs import maps

        own = {e.path for e in maps(os.getpid()) if e.executable and e.path.startswith("/")}
        last_parts = {os.path.basename(path) for path in noted.values()}
        names = {self._name_of(p) for p in own if os.path.basename(p) in last_parts}
        return {path for name, path in noted.items() if name in names and "/" not in path}


class Note:
    """What is noted of a file without table: which process has it mapped where, and the last
    part of its path."""

    __slots__ = ("address", "name", "path", "pid")

    def __init__(self, name: tuple[int, int], pid: int, address: int, path: str) -> None:
        self.name = name
        self.pid = pid
        self.address = address
        self.path = path

    def open(self) -> tuple[int, str]:
        """A descriptor of the file and its path; -1 and "" when the process has gone."""
        from pystap.kernel.procs import maps

        try:
            entry = next(e for e in maps(self.pid) if e.start <= self.address < e.end)
            link = f"/proc/{self.pid}/map_files/{entry.start:x}-{entry.end:x}"
            return os.open(link, os.O_RDONLY | os.O_CLOEXEC), entry.path
        except (OSError, StopIteration):
            return -1, ""
