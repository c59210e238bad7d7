"""Tables of programs for a module whose script asks for user-space stacks or symbols."""

from __future__ import annotations

import ctypes
import os
import re
import struct

from pystap.session import cache
from pystap.session.target import split
from pystap.session.userobjects import Note, UserObjects, Wanted
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.staprun.request import Request

_IDENTIFY, _ENTER = 0x5301, 0x5302  # requests of ioctl(2), as in the module's kernel_objects.h
_IDENTITY: Final = struct.Struct("<3Q")  # address, inode, device
_ENTRY: Final = struct.Struct("<4Q")  # inode, device, address and size of the table
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


class ModuleTables:
    """See :class:`pystap.session.userobjects.Tables`: the file ``objects`` of a module."""

    def __init__(self, directory: str) -> None:
        """Raises FileNotFoundError for a module that wants no tables."""
        self._fd = os.open(f"{directory}/objects", os.O_RDWR | os.O_CLOEXEC)

    def identify(self, address: int) -> tuple[int, int] | None:
        """Inode and device of what this process has mapped at an address."""
        from fcntl import ioctl

        words = bytearray(_IDENTITY.pack(address, 0, 0))
        try:
            ioctl(self._fd, _IDENTIFY, words)
        except FileNotFoundError:
            return None
        _, inode, device = _IDENTITY.unpack(words)
        return inode, device

    def enter(self, name: tuple[int, int], content: bytes) -> None:
        """Add a table, if there is none of the file.  Raises OSError."""
        from contextlib import suppress
        from fcntl import ioctl

        room = ctypes.create_string_buffer(content, len(content))
        with suppress(FileExistsError):
            ioctl(self._fd, _ENTER, _ENTRY.pack(*name, ctypes.addressof(room), len(content)))

    def unknown(self) -> list[Note]:
        """The files without a table that stacks have led through."""
        notes = []
        for text in self._rows().get("unknown", ()):
            inode, device, pid, address, path = text.split(b" ", 4)
            name = (int(inode), int(device))
            notes.append(Note(name, int(pid), int(address), os.fsdecode(path)))
        return notes

    def wanted(self, request: Request) -> Wanted:
        """What the module and the command line say."""
        rows = self._rows()
        stacks, places, libraries = (
            rows[word][0] == b"1" for word in ("stacks", "places", "libraries")
        )
        return Wanted(
            [os.fsdecode(path) for path in rows.get("named", ())],
            libraries,
            split(request.command)[0] if request.command is not None else "",
            request.target,
            cache.directory(),
            probed=[os.fsdecode(path) for path in rows.get("probed", ())],
            stacks=stacks,
            places=places,
        )

    def close(self) -> None:
        """The module keeps its tables."""
        os.close(self._fd)

    def _rows(self) -> dict[str, list[bytes]]:
        """What the file tells: the texts behind each word."""
        found: dict[str, list[bytes]] = {}
        with open(f"/proc/self/fd/{self._fd}", "rb") as file:
            for line in file.read().splitlines():
                word, _, text = line.partition(b" ")
                plain = _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), text)
                found.setdefault(word.decode("ascii"), []).append(plain)
        return found


def objects_of(
    directory: str, request: Request, complain: Callable[[str], None]
) -> UserObjects | None:
    """The tables of a module with its files in a directory; None where it wants none."""
    try:
        tables = ModuleTables(directory)
    except FileNotFoundError:
        return None
    return UserObjects(tables, tables.wanted(request), complain)
