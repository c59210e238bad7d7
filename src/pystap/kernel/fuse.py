"""A file system in user space: mounting one, and the requests of the kernel's FUSE protocol.

Facts: numbers and layouts of ``<linux/fuse.h>``; mount options of fuse(4) and mount.fuse(8).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from pystap.records import dataclass

_DEVICE = "/dev/fuse"
_MAJOR, _MINOR = 7, 31
_MOST_WRITTEN = 128 << 10
#: the kernel wants room for its largest request: a write and its headers
_ROOM = _MOST_WRITTEN + 4096

# enum fuse_opcode
LOOKUP, FORGET, GETATTR, SETATTR = 1, 2, 3, 4
OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH = 14, 15, 16, 17, 18, 20, 25
INIT, OPENDIR, READDIR, RELEASEDIR, ACCESS, INTERRUPT = 26, 27, 28, 29, 34, 36
DESTROY, BATCH_FORGET = 38, 42
#: MKNOD, MKDIR, UNLINK, RMDIR, RENAME, SYMLINK, LINK, CREATE, RENAME2: what changes a directory
CHANGES = (8, 9, 10, 11, 12, 6, 13, 35, 45)
#: requests that get no answer
_SILENT = (FORGET, BATCH_FORGET, INTERRUPT, DESTROY)

_DIRECT_IO = 1 << 0  # FOPEN_DIRECT_IO: sizes are not believed, nothing is cached
_NODE_ROOT = 1
ROOT = _NODE_ROOT

_IN = struct.Struct("=IIQQIIII")
_OUT = struct.Struct("=IiQ")
_ATTR = struct.Struct("=6Q10I")
_ENTRY = struct.Struct("=4Q2I")
_DIRENT = struct.Struct("=QQII")
_INIT_OUT = struct.Struct("=IIIIHHII36x")
_MNT_DETACH, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 2, 4, 8

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Node:
    """A file or directory: its type and permission bits, its owner, and when it was made."""

    number: int
    mode: int
    uid: int = 0
    gid: int = 0
    made: int = 0


class Request:
    """A request of the kernel: opcode, node it is about, file handle, offset, size and data.

    ``data`` is a name with its NUL for ``LOOKUP``, else what is written.
    """

    __slots__ = ("data", "handle", "node", "offset", "opcode", "size", "unique")

    def __init__(self, raw: bytes) -> None:
        length, self.opcode, self.unique, self.node = _IN.unpack_from(raw)[:4]
        body = raw[_IN.size : length]
        self.handle = self.offset = self.size = 0
        self.data = body
        if self.opcode in (READ, WRITE, READDIR):
            self.handle, self.offset, self.size = struct.unpack_from("=QQI", body)
            self.data = body[40:]
        elif self.opcode in (RELEASE, RELEASEDIR, FLUSH):
            (self.handle,) = struct.unpack_from("=Q", body)


class FileSystem:
    """A mounted file system; its requests are read from the descriptor ``fd``."""

    __slots__ = ("_path", "fd")

    def __init__(self, path: str, name: str) -> None:
        """Mount over the directory ``path``; ``name`` is shown as the device.

        Raises OSError where the kernel has no FUSE or this process may not mount.
        """
        self._path = path
        self.fd = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        options = f"fd={self.fd},rootmode=40755,user_id=0,group_id=0,allow_other"
        options += ",default_permissions"
        try:
            _mount(name, path, "fuse", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, options)
        except OSError:
            os.close(self.fd)
            raise

    def next(self) -> Request | None:
        """The next request that is about files, None when there is none (yet, or any more).

        What the protocol itself asks is answered here.
        """
        while True:
            try:
                raw = os.read(self.fd, _ROOM)
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno == errno.ENOENT:
                    continue  # its process gave it up meanwhile
                if error.errno in (errno.EAGAIN, errno.ENODEV):  # ENODEV: unmounted
                    return None
                raise
            request = Request(raw)
            if request.opcode == INIT:
                self._initialise(request)
            elif request.opcode not in _SILENT:
                return request

    def answer(self, request: Request, data: bytes = b"") -> None:
        """Success, with what the request asked for."""
        self._write(_OUT.pack(_OUT.size + len(data), 0, request.unique) + data)

    def refuse(self, request: Request, error: int) -> None:
        """Failure with an errno value."""
        self._write(_OUT.pack(_OUT.size, -error, request.unique))

    def close(self) -> None:
        """Unmount; whoever has files open gets errors from now on."""
        if self.fd >= 0:
            unmount(self._path)
            os.close(self.fd)
            self.fd = -1

    def _initialise(self, request: Request) -> None:
        major, minor, readahead, _ = struct.unpack_from("=IIII", request.data)
        if major < _MAJOR:
            self.refuse(request, errno.EPROTO)
            return
        values = (_MAJOR, min(minor, _MINOR), readahead, 0, 0, 0, _MOST_WRITTEN, 1)
        self.answer(request, _INIT_OUT.pack(*values))

    def _write(self, data: bytes) -> None:
        try:
            os.write(self.fd, data)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # nobody waits any more
                raise


def unmount(path: str) -> None:
    """Take what is mounted at ``path`` away, even if it is in use."""
    if _libc.umount2(os.fsencode(path), _MNT_DETACH) < 0:
        error = ctypes.get_errno()
        if error not in (errno.EINVAL, errno.ENOENT):  # not mounted
            raise OSError(error, os.strerror(error), path)


def attributes(node: Node) -> bytes:
    """The answer to ``GETATTR`` and ``SETATTR``; never cached."""
    return struct.pack("=QII", 0, 0, 0) + _attributes(node)


def entry(node: Node) -> bytes:
    """The answer to ``LOOKUP``; never cached."""
    return _ENTRY.pack(node.number, 0, 0, 0, 0, 0) + _attributes(node)


def opened(handle: int, *, directory: bool = False) -> bytes:
    """The answer to ``OPEN`` and ``OPENDIR``."""
    return struct.pack("=QII", handle, 0 if directory else _DIRECT_IO, 0)


def written(size: int) -> bytes:
    """The answer to ``WRITE``."""
    return struct.pack("=II", size, 0)


def statistics() -> bytes:
    """The answer to ``STATFS``: nothing to be had."""
    return struct.pack("=5Q4I24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0)


def directory(entries: list[tuple[str, Node]], offset: int, room: int) -> bytes:
    """The answer to ``READDIR``: entries from number ``offset`` on, as far as there is room."""
    data = b""
    for at in range(offset, len(entries)):
        name, node = entries[at]
        text = os.fsencode(name)
        one = _DIRENT.pack(node.number, at + 1, len(text), node.mode >> 12) + text
        one += bytes(-len(one) % 8)
        if len(data) + len(one) > room:
            break
        data += one
    return data


def _attributes(node: Node) -> bytes:
    times = (node.made,) * 3
    return _ATTR.pack(
        *(node.number, 0, 0, *times, 0, 0, 0),
        *(node.mode, 1, node.uid, node.gid, 0, 4096, 0),
    )


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    texts = [os.fsencode(text) for text in (source, target, kind)]
    data = os.fsencode(options)
    if _libc.mount(*texts, ctypes.c_ulong(flags), data) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), target)
