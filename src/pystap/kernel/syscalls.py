"""Raw system calls that the C library does not wrap, and shared memory by address.

Facts: system call numbers are those of ``<asm/unistd.h>`` of each architecture.
"""

from __future__ import annotations

import ctypes
import mmap as _mmap
import os

#: machine name of uname(2) -> (bpf, perf_event_open)
_NUMBERS = {
    "x86_64": (321, 298),
    "aarch64": (280, 241),
    "riscv64": (280, 241),
    "loongarch64": (280, 241),
    "ppc64le": (361, 319),
    "ppc64": (361, 319),
    "s390x": (351, 331),
}
_BPF, _PERF_EVENT_OPEN = _NUMBERS.get(os.uname().machine, (-1, -1))

PAGE_SIZE = _mmap.PAGESIZE
_MAP_FAILED = ctypes.c_void_p(-1).value
_PYBUF_READ, _PYBUF_WRITE = 0x100, 0x200

Buffer = ctypes.Array[ctypes.c_char]

_libc = ctypes.CDLL(None, use_errno=True)
# Variadic C function: without argtypes ctypes would pass 32-bit integers.  Indexing gives a
# fresh function object each time, so each use has its own signature.
_syscall_bpf = _libc["syscall"]
_syscall_bpf.restype = ctypes.c_long
_syscall_bpf.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_ulong]
_syscall_perf = _libc["syscall"]
_syscall_perf.restype = ctypes.c_long
_syscall_perf.argtypes = [
    ctypes.c_long,
    ctypes.c_void_p,
    ctypes.c_long,
    ctypes.c_long,
    ctypes.c_long,
    ctypes.c_long,
]
_libc_mmap = _libc["mmap"]
_libc_mmap.restype = ctypes.c_void_p
_libc_mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_libc_munmap = _libc["munmap"]
_libc_munmap.restype = ctypes.c_int
_libc_munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_view_of_memory = ctypes.pythonapi["PyMemoryView_FromMemory"]
_view_of_memory.restype = ctypes.py_object
_view_of_memory.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]


def buffer(data: bytes) -> Buffer:
    """A mutable C buffer holding ``data`` and nothing else (no terminating zero)."""
    return ctypes.create_string_buffer(data, len(data))


def address_of(data: Buffer | None) -> int:
    """Address of a C buffer; 0 for none.  The caller keeps the buffer alive."""
    return 0 if data is None else ctypes.addressof(data)


def bpf_syscall(command: int, attr: Buffer) -> tuple[int, int]:
    """bpf(2): the result and errno (0 on success)."""
    result: int = _syscall_bpf(_BPF, command, attr, ctypes.sizeof(attr))
    return result, ctypes.get_errno() if result < 0 else 0


def perf_event_open_syscall(
    attr: Buffer, pid: int, cpu: int, group_fd: int, flags: int
) -> tuple[int, int]:
    """perf_event_open(2): the result and errno (0 on success)."""
    result: int = _syscall_perf(_PERF_EVENT_OPEN, attr, pid, cpu, group_fd, flags)
    return result, ctypes.get_errno() if result < 0 else 0


class Mapping:
    """Shared memory of a file descriptor, at a known ``address`` for native code.

    ``view`` is a byte memoryview over it, writable when the mapping is.  After :meth:`close`
    neither the address nor any slice of the view may be used.
    """

    __slots__ = ("address", "length", "view")

    def __init__(self, fd: int, length: int, offset: int = 0, writable: bool = False) -> None:
        """Map ``length`` bytes from ``offset`` (a multiple of the page size), or raise OSError."""
        protection = _mmap.PROT_READ | (_mmap.PROT_WRITE if writable else 0)
        address = _libc_mmap(None, length, protection, _mmap.MAP_SHARED, fd, offset)
        if address is None or address == _MAP_FAILED:
            error = ctypes.get_errno()
            raise OSError(error, f"mmap of {length} bytes: {os.strerror(error)}")
        self.address: int = address
        self.length = length
        view: memoryview = _view_of_memory(
            address, length, _PYBUF_WRITE if writable else _PYBUF_READ
        )
        self.view = view

    def close(self) -> None:
        """Unmap; closing twice is harmless."""
        if self.address:
            self.view.release()
            _libc_munmap(self.address, self.length)
            self.address = 0

    def __enter__(self) -> Mapping:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
