"""System calls written as text, for the tests of their decoders.

``openat -100 "/etc/passwd" 0x80000 0``: numbers as they are; ``"..."`` is the address of that
string, ``q:1,2`` of 64-bit numbers, ``x:0200`` of bytes, ``p:"a","b"`` of a list of strings with
a null at its end; ``fault`` is an address nothing can be read at.
"""

from __future__ import annotations

import re
import struct

from pystap.backend.reference.text import quoted
from pystap.probes.syscall_table import syscalls

FAULT = 0xDEAD0000
_LIMIT = 512
_WORD = re.compile(r'p:(?:"[^"]*",?)*|q:[-\w,]*|x:[0-9a-f]*|"(?:[^"\\]|\\.)*"|\S+')
_STRING = re.compile(r'"([^"]*)"')


class Memory:
    """Objects one behind the other, each on a page of its own."""

    def __init__(self, base: int = 0x10000) -> None:
        self._base = base
        self._objects: dict[int, bytes] = {}

    def put(self, data: bytes) -> int:
        """Place an object; its address."""
        address = self._base + 0x1000 * len(self._objects)
        self._objects[address] = data
        return address

    def read(self, address: int, size: int) -> bytes | None:
        """As pystap.probes.syscall_decode.UserMemory."""
        start = address & ~0xFFF
        data = self._objects.get(start, b"")[address - start :]
        return data[:size] if len(data) >= size else None

    def string_quoted(self, address: int, most: int, room: int) -> str:
        """Likewise."""
        if address == 0:
            return "NULL"
        start = address & ~0xFFF
        data = self._objects.get(start)
        if data is None:
            return f"{address:#x}"
        text = data[address - start :].split(b"\0", 1)[0].decode("latin-1")
        most = most if 0 < most < _LIMIT - 1 else _LIMIT - 1
        return quoted(text[:most], room, _LIMIT, cut=len(text) > most)

    def buffer_quoted(self, address: int, size: int, room: int) -> str:
        """Likewise."""
        data = self.read(address, size)
        if data is None:
            return "NULL" if address == 0 else f"{address:#x}"
        return quoted(data.decode("latin-1"), room, _LIMIT)


def parse_call(line: str, memory: Memory) -> tuple[int, list[int]]:
    """Number and six arguments of a call; what they point to is put into memory."""
    name, *words = _WORD.findall(line)
    numbers = {call.name: call.number for call in syscalls()}
    number = numbers[name] if name in numbers else int(name, 0)
    args = [_argument(word, memory) for word in words]
    return number, args + [0] * (6 - len(args))


def _argument(word: str, memory: Memory) -> int:
    if word == "fault":
        return FAULT
    if word.startswith('"'):
        return memory.put(_bytes(word) + b"\0")
    if word.startswith("q:"):
        numbers = [int(n, 0) & (1 << 64) - 1 for n in word[2:].split(",")]
        return memory.put(struct.pack(f"<{len(numbers)}Q", *numbers))
    if word.startswith("x:"):
        return memory.put(bytes.fromhex(word[2:]))
    if word.startswith("p:"):
        strings = [memory.put(s.encode("latin-1") + b"\0") for s in _STRING.findall(word)]
        return memory.put(struct.pack(f"<{len(strings) + 1}Q", *strings, 0))
    base = 8 if re.fullmatch("0[0-7]+", word) else 0
    return int(word, base) & (1 << 64) - 1


def _bytes(word: str) -> bytes:
    return word[1:-1].encode("latin-1").decode("unicode_escape").encode("latin-1")
