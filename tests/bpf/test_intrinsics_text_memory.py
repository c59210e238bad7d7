"""Text in memory as C literals: the kernel and the interpreter give the same."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystap.backend.bpf.facts import running_kernel
from pystap.backend.reference import Environment, Task
from pystap.backend.reference.memory import Memory

from .build import arith, intrinsic
from .twin import Twin

PAGE = mmap.PAGESIZE
TEXTS = [b"", b"hello", b'a"b\n\xff\x01', b"x" * 600, b"\0\0after", b"1234567\x009"]
SIZES = [0, -1, 1, 2, 5, 6, 7, 510, 511, 512, 513, 100_000, -(1 << 63)]
ROOMS = [0, -1, 1, 4, 5, 7, 509, 510, 511, 512, 100_000]

libc = ctypes.CDLL(None, use_errno=True)


class Pages:
    """A page of this process that can be read, in front of one that cannot."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 2 * PAGE)
        self.view = ctypes.c_char.from_buffer(self.memory)
        self.address = ctypes.addressof(self.view)
        second = ctypes.c_void_p(self.address + PAGE)
        assert libc.mprotect(second, ctypes.c_size_t(PAGE), 0) == 0

    def put(self, data: bytes, at: int) -> int:
        """Write bytes; their address."""
        self.memory[at : at + len(data)] = data
        return self.address + at

    def environment(self) -> Environment:
        """What the interpreter sees: the same page."""
        return Environment(user=Memory({self.address: self.memory[:PAGE]}))

    def close(self) -> None:
        del self.view
        self.memory.close()


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    made = Pages()
    yield made
    made.close()


@pytest.mark.parametrize("name", ["user_string_quoted", "user_buffer_quoted"])
def test_user_memory(name: str, pages: Pages) -> None:
    make = lambda *args: intrinsic(name, *args)  # noqa: E731
    with Twin(make, "nnn", environment=pages.environment) as twin:
        assert twin.verified() < 20_000
        for text in TEXTS:
            address = pages.put(text + b"\0", 100)
            for size in SIZES:
                twin.check(address, size, 0)
            for room in ROOMS:
                twin.check(address, 0, room)
                twin.check(address, 5, room)
        assert twin.check(0, 5, 0) == "NULL"
        assert twin.check(pages.address + PAGE, 5, 0) == f"{pages.address + PAGE:#x}"
        assert twin.check(-4096, 5, 0) == "0xfffffffffffff000"


@pytest.mark.parametrize("name", ["user_string_quoted", "user_buffer_quoted"])
def test_the_end_of_readable_memory(name: str, pages: Pages) -> None:
    """Not a byte more is read than the result depends on."""
    make = lambda *args: intrinsic(name, *args)  # noqa: E731
    with Twin(make, "nnn", environment=pages.environment) as twin:
        for text in (b"hello", b"hello\0"):
            address = pages.put(text, PAGE - len(text))
            for size in (0, 1, 3, 4, 5, 6, 7):
                twin.check(address, size, 0)


def test_kernel_memory() -> None:
    """The name of the current task in its task_struct."""
    comm = Path("/proc/thread-self/comm").read_text().rstrip("\n")
    offset = running_kernel().offset("task_struct", "comm")
    data = comm.encode("latin-1").ljust(16, b"\0")
    task = Task()

    def environment() -> Environment:
        return Environment(task=task, kernel=Memory({task.address + offset: data}))

    def make(size: object, room: object) -> list[object]:
        address = arith(intrinsic("task_current"), "+", offset)
        return [
            intrinsic("kernel_string_quoted", address, size, room),
            intrinsic("kernel_buffer_quoted", address, intrinsic("strlen", "x" * 16), room),
            intrinsic("kernel_string_quoted", 0, size, room),
            intrinsic("kernel_string_quoted", 16, size, room),
            intrinsic("kernel_buffer_quoted", 16, size, room),
        ]

    with Twin(make, "nn", environment=environment) as twin:  # type: ignore[arg-type]
        assert comm in twin.check(0, 0)
        for size in (1, len(comm) - 1, len(comm), len(comm) + 1):
            for room in (0, 3, 100):
                twin.check(size, room)


@pytest.mark.parametrize("limit", [2, 6, 7, 20])
def test_short_strings(limit: int, pages: Pages) -> None:
    make = lambda a, n, room: [  # noqa: E731
        intrinsic("user_string_quoted", a, n, room),
        intrinsic("user_buffer_quoted", a, n, room),
    ]
    with Twin(make, "nnn", environment=pages.environment, maxstringlen=limit) as twin:
        for text in (b"", b"a", b"hello world, hello world", b"\xff\xff\xff\xff"):
            address = pages.put(text + b"\0", 100)
            for size in (0, 1, 3, 18, 19, 20, 100):
                for room in (0, 1, 13, 14, 15):
                    twin.check(address, size, room)
        twin.check(0, 0, 0)
        twin.check(pages.address + PAGE, 0, 0)
