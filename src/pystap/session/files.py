"""The files of a session: a small file system whose reads and writes run handlers.

SystemTap's module has them in /proc, where only the kernel itself can make files.  Here they are
in a directory of the session below :data:`BASE`, by the names the script gives them.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time

from pystap.backend.bpf.artifact import FILE_LENGTH, FILE_TEXT
from pystap.kernel import fuse
from pystap.kernel.fuse import FileSystem, Node, Request
from pystap.probes.attach import STANDARD_INPUT, ProcFile
from pystap.session.guard import Guard
from pystap.session.loader import FilesError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pystap.session.sources import Source

BASE = "/run/pystap"
_READ, _WRITE = 0o400, 0o200
_LAST_SECONDS = 0.3  # that files may stay open when the session ends


def make_sources(
    name: str,
    handlers: Sequence[tuple[ProcFile, Callable[[], None]]],
    memory: memoryview,
    most_text: int,
) -> tuple[list[Source], str]:
    """What serves the files of the session ``name``, and the directory of those it makes.

    For the other arguments see :class:`Files`.  Raises :class:`FilesError`.
    """
    sources: list[Source] = []
    typed = [run for where, run in handlers if where.path == STANDARD_INPUT]
    if typed:
        from pystap.session.standard_input import StandardInput

        sources.append(StandardInput(typed, memory))
    rest = [(where, run) for where, run in handlers if where.path != STANDARD_INPUT]
    if not rest:
        return sources, ""
    files = Files(name, rest, memory, most_text)
    return [*sources, files], files.directory


class Files:
    """The directory of a session.

    ``handlers`` are files with what runs their handlers; ``memory`` is the map of the text that
    handlers are handed or make, ``most_text`` what a string of the script holds.
    """

    def __init__(
        self,
        name: str,
        handlers: list[tuple[ProcFile, Callable[[], None]]],
        memory: memoryview,
        most_text: int,
    ) -> None:
        self.directory = f"{BASE}/{name}"
        self._tree = _Tree(handlers)
        self._memory = memory
        self._most_text = most_text
        self._texts: dict[int, bytes] = {}  # by handle: what a reader is being given
        self._handles = 0
        self._open: set[int] = set()
        self._system = _mounted(self.directory)
        self._guard = Guard(lambda: _take_away(self.directory))

    @property
    def fd(self) -> int:
        """A descriptor that is readable when there is something to serve."""
        return self._system.fd

    def serve(self) -> bool:
        """Answer what was asked meanwhile; there may be more later."""
        while (request := self._system.next()) is not None:
            try:
                answer = self._answer(request)
            except OSError as error:
                self._system.refuse(request, error.errno or errno.EIO)
            else:
                self._system.answer(request, answer)
        return True

    def close(self) -> None:
        """Take the directory away.

        Whoever has a file open (it may be what ended the session) gets a moment to close it.
        """
        deadline = time.monotonic() + _LAST_SECONDS
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        while self._open and time.monotonic() < deadline:
            poll.poll(_LAST_SECONDS * 1000)
            self.serve()
        self._system.close()
        _remove(self.directory)
        self._guard.close()

    def _answer(self, request: Request) -> bytes:
        node = self._tree.nodes.get(request.node)
        if node is None:
            raise OSError(errno.ENOENT, "no such file")
        match request.opcode:
            case fuse.LOOKUP:
                name = os.fsdecode(request.data.partition(b"\0")[0])
                return fuse.entry(self._tree.child(request.node, name))
            case fuse.GETATTR | fuse.SETATTR:
                return fuse.attributes(node)
            case fuse.OPEN | fuse.OPENDIR:
                self._handles += 1
                self._open.add(self._handles)
                return fuse.opened(self._handles, directory=request.opcode == fuse.OPENDIR)
            case fuse.READDIR:
                entries = self._tree.entries(request.node)
                return fuse.directory(entries, request.offset, request.size)
            case fuse.READ:
                return self._read(request)
            case fuse.WRITE:
                return fuse.written(self._write(request))
            case fuse.STATFS:
                return fuse.statistics()
            case fuse.RELEASE | fuse.RELEASEDIR:
                self._texts.pop(request.handle, None)
                self._open.discard(request.handle)
                return b""
            case fuse.FLUSH | fuse.FSYNC | fuse.ACCESS:
                return b""
        error = errno.EPERM if request.opcode in fuse.CHANGES else errno.ENOSYS
        raise OSError(error, "not offered")

    def _read(self, request: Request) -> bytes:
        """A part of the text, which the handler makes when its beginning is read."""
        where, run = self._tree.handler(request.node, "read")
        if request.offset == 0 or request.handle not in self._texts:
            self._memory[: FILE_TEXT + 1] = bytes(FILE_TEXT + 1)
            run()
            length = int.from_bytes(self._memory[FILE_LENGTH : FILE_LENGTH + 8], "little")
            length = min(length, where.maxsize or self._most_text - 1)
            self._texts[request.handle] = bytes(self._memory[FILE_TEXT : FILE_TEXT + length])
        text = self._texts[request.handle]
        return text[request.offset : request.offset + request.size]

    def _write(self, request: Request) -> int:
        """Hand what was written to the handler, in pieces that a string can hold."""
        _, run = self._tree.handler(request.node, "write")
        data = request.data[: request.size]
        most = self._most_text - 1
        for at in range(0, len(data), most):
            piece = data[at : at + most]
            self._memory[FILE_LENGTH : FILE_LENGTH + 8] = len(piece).to_bytes(8, "little")
            self._memory[FILE_TEXT : FILE_TEXT + len(piece) + 1] = piece + b"\0"
            run()
        return len(data)


class _Tree:
    """Files and directories by number, and what is behind the files."""

    def __init__(self, handlers: list[tuple[ProcFile, Callable[[], None]]]) -> None:
        self._made = int(time.time())
        self.nodes = {fuse.ROOT: self._node(fuse.ROOT, stat.S_IFDIR | 0o755)}
        self._children: dict[int, dict[str, int]] = {fuse.ROOT: {}}
        self._handlers: dict[tuple[int, str], tuple[ProcFile, Callable[[], None]]] = {}
        for where, run in handlers:
            number = self._place(where.path)
            mode = (_READ if where.edge == "read" else _WRITE) & ~where.umask
            self.nodes[number].mode |= mode
            self._handlers[number, where.edge] = where, run

    def child(self, number: int, name: str) -> Node:
        """A file of a directory; OSError when there is none."""
        found = self._children.get(number, {}).get(name)
        if found is None:
            raise OSError(errno.ENOENT, "no such file")
        return self.nodes[found]

    def entries(self, number: int) -> list[tuple[str, Node]]:
        """What is in a directory."""
        here = self.nodes[number]
        children = self._children.get(number, {})
        return [(".", here), ("..", here), *((n, self.nodes[i]) for n, i in children.items())]

    def handler(self, number: int, edge: str) -> tuple[ProcFile, Callable[[], None]]:
        """What is behind a file; OSError where it cannot be read or written."""
        found = self._handlers.get((number, edge))
        if found is None:
            raise OSError(errno.EACCES, "not for that")
        return found

    def _place(self, path: str) -> int:
        """The node of a file, with the directories that lead there."""
        *directories, name = path.split("/")
        here = fuse.ROOT
        for part in directories:
            here = self._make(here, part, stat.S_IFDIR | 0o755)
            self._children.setdefault(here, {})
        return self._make(here, name, stat.S_IFREG)

    def _make(self, parent: int, name: str, mode: int) -> int:
        names = self._children[parent]
        if name not in names:
            names[name] = len(self.nodes) + 1
            self.nodes[names[name]] = self._node(names[name], mode)
        elif stat.S_IFMT(self.nodes[names[name]].mode) != stat.S_IFMT(mode):
            raise FilesError(f"procfs file '{name}' is also a directory of others")
        return names[name]

    def _node(self, number: int, mode: int) -> Node:
        return Node(number, mode, os.getuid(), os.getgid(), self._made)


def _mounted(directory: str) -> FileSystem:
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        if not os.path.exists("/dev/fuse"):
            _load_fuse()
        return FileSystem(directory, "pystap")
    except OSError as error:
        _remove(directory)
        raise FilesError(
            f"cannot make the procfs files in {directory}: {error.strerror}: they need FUSE"
        ) from error


def _load_fuse() -> None:
    """Ask for the module that makes the device; without it opening the device tells."""
    import subprocess

    subprocess.run(["/sbin/modprobe", "-q", "fuse"], check=False, stderr=subprocess.DEVNULL)


def _remove(directory: str) -> None:
    """Remove the session's directory, and the one above when it was the last."""
    import contextlib

    for path in (directory, BASE):
        with contextlib.suppress(OSError):  # gone already, or others' are there
            os.rmdir(path)


def _take_away(directory: str) -> None:
    fuse.unmount(directory)
    _remove(directory)
