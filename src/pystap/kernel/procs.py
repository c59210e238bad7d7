"""Readers of /proc for processes.

Paths are as Python gives file names (``open`` takes them), other text is one character per byte.

Processes vanish while they are looked at: a function about one process raises
ProcessLookupError then, the iterators leave it out.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pystap.typing import TypeVar

    T = TypeVar("T")

_DELETED = " (deleted)"


class ProcessStat:
    """Parts of /proc/PID/stat; ``start_time`` is in clock ticks (1/100 s) since boot."""

    __slots__ = ("comm", "parent", "pid", "session", "start_time", "state")

    def __init__(
        self, pid: int, comm: str, state: str, parent: int, session: int, start_time: int
    ) -> None:
        self.pid = pid
        self.comm = comm
        self.state = state
        self.parent = parent
        self.session = session
        self.start_time = start_time


class Executable:
    """The program a process runs.

    ``path`` is as seen from the process' mount namespace; ``deleted`` tells that the file is no
    longer there.  ``link`` (``/proc/PID/exe``) opens the file in either case.
    """

    __slots__ = ("deleted", "link", "path")

    def __init__(self, path: str, deleted: bool, link: str) -> None:
        self.path = path
        self.deleted = deleted
        self.link = link


class MapEntry:
    """A line of /proc/PID/maps; ``path`` is empty for anonymous memory."""

    __slots__ = ("deleted", "device", "end", "inode", "offset", "path", "permissions", "start")

    def __init__(
        self, start: int, end: int, permissions: str, offset: int, device: str, inode: int
    ) -> None:
        self.start = start
        self.end = end
        self.permissions = permissions
        self.offset = offset
        self.device = device
        self.inode = inode
        self.path = ""
        self.deleted = False

    @property
    def executable(self) -> bool:
        """Whether code can run there."""
        return "x" in self.permissions

    def __repr__(self) -> str:
        return f"MapEntry({self.start:#x}-{self.end:#x} {self.permissions} {self.path!r})"


def pids() -> list[int]:
    """Numbers of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def threads(pid: int) -> list[int]:
    """Thread ids of a process."""
    return _looked_up(pid, lambda: [int(name) for name in os.listdir(f"/proc/{pid}/task")])


def comm(pid: int) -> str:
    """The short name of a process, at most 15 characters."""
    return _read(pid, "comm").removesuffix("\n")


def command_line(pid: int) -> list[str]:
    """The arguments of a process; empty for kernel threads and zombies."""
    text = _read(pid, "cmdline")
    return text.removesuffix("\0").split("\0") if text else []


def stat(pid: int) -> ProcessStat:
    """Identity and start of a process."""
    text = _read(pid, "stat")
    # the name may hold anything, parentheses and spaces included: it ends at the last one
    opening, closing = text.index("("), text.rindex(")")
    state, parent, _, session, *rest = text[closing + 2 :].split(" ")
    name = text[opening + 1 : closing]
    return ProcessStat(pid, name, state, int(parent), int(session), int(rest[15]))


def executable(pid: int) -> Executable | None:
    """The program of a process; None for a kernel thread or a zombie.

    Raises PermissionError where the kernel hides it.
    """
    link = f"/proc/{pid}/exe"
    try:
        path = os.readlink(link)
    except FileNotFoundError:
        if os.path.isdir(f"/proc/{pid}"):
            return None
        raise ProcessLookupError(f"no process {pid}") from None
    except ProcessLookupError:
        raise ProcessLookupError(f"no process {pid}") from None
    deleted = False
    if path.endswith(_DELETED):
        # a living file may really be called so
        deleted = _looked_up(pid, lambda: os.stat(link).st_nlink) == 0
        path = path.removesuffix(_DELETED) if deleted else path
    return Executable(path, deleted, link)


def executables() -> Iterator[tuple[int, Executable]]:
    """All processes whose program can be seen."""
    for pid in pids():
        try:
            found = executable(pid)
        except (ProcessLookupError, PermissionError):
            continue
        if found is not None:
            yield pid, found


def maps(pid: int) -> list[MapEntry]:
    """The memory map of a process in order of addresses; empty for kernel threads."""
    # not splitlines: bytes of a path may look like other line ends
    return [_map_entry(pid, line) for line in _read(pid, "maps").split("\n") if line]


def file_identity(path: str) -> tuple[int, int]:
    """Numbers of a file's inode and of its device (dev_t of the kernel: major << 20 | minor), as
    a ``struct file`` shows both to the kernel; stat(2) may tell others.

    Raises OSError for a file that cannot be looked at.
    """
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        number = os.fstat(descriptor).st_dev
        device = os.major(number) << 20 | os.minor(number)
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
            lines = [line.partition(":") for line in file]
    finally:
        os.close(descriptor)
    found = {name: text.strip() for name, _, text in lines}
    # A file of another mount namespace is on no mount of ours: what stat(2) says must do.
    return int(found["ino"]), _mounted_device(found["mnt_id"]) or device


def _mounted_device(mount: str) -> int:
    """Device of a mounted file system, 0 for a mount that is not in our namespace."""
    with open("/proc/self/mountinfo", encoding="latin-1", newline="\n") as file:
        for line in file:
            number, _, device, _ = line.split(" ", 3)
            if number == mount:
                major, _, minor = device.partition(":")
                return int(major) << 20 | int(minor)
    return 0


def _map_entry(pid: int, line: str) -> MapEntry:
    """``7f00-7f10 r-xp 00001000 fe:00 1234    /usr/lib/x.so (deleted)``"""
    span, permissions, offset, device, inode, *path = line.split(None, 5)
    start, _, end = span.partition("-")
    entry = MapEntry(
        int(start, 16), int(end, 16), permissions, int(offset, 16), device, int(inode)
    )
    if path:
        text = path[0].replace("\\012", "\n")  # as the kernel writes a newline
        entry.path = os.fsdecode(text.encode("latin-1"))
        if entry.path.endswith(_DELETED) and not _is_file(pid, entry):
            entry.path = entry.path.removesuffix(_DELETED)
            entry.deleted = True
    return entry


def _is_file(pid: int, entry: MapEntry) -> bool:
    """Whether the path names the mapped file just as it is, `` (deleted)`` being part of it."""
    try:
        return os.stat(f"/proc/{pid}/root{entry.path}").st_ino == entry.inode
    except OSError:
        return False


def _read(pid: int, name: str) -> str:
    def read() -> str:
        with open(f"/proc/{pid}/{name}", encoding="latin-1", newline="") as file:
            return file.read()

    return _looked_up(pid, read)


def _looked_up(pid: int, action: Callable[[], T]) -> T:
    try:
        return action()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"no process {pid}") from None
