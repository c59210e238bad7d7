"""The bpf(2) system call: errors, attribute packing and constants.

Maps are in :mod:`pystap.kernel.maps`, programs in :mod:`pystap.kernel.programs`, attachments in
:mod:`pystap.kernel.links`.  Layouts and numbers are those of ``<linux/bpf.h>``; integers are in
native byte order.
"""

from __future__ import annotations

import os
import struct

from pystap.kernel.syscalls import Buffer, address_of, bpf_syscall, buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystap.typing import Self

# enum bpf_cmd
MAP_CREATE = 0
MAP_LOOKUP_ELEM = 1
MAP_UPDATE_ELEM = 2
MAP_DELETE_ELEM = 3
MAP_GET_NEXT_KEY = 4
PROG_LOAD = 5
PROG_TEST_RUN = 10
OBJ_GET_INFO_BY_FD = 15
RAW_TRACEPOINT_OPEN = 17
BTF_LOAD = 18
BTF_GET_FD_BY_ID = 19
MAP_LOOKUP_AND_DELETE_ELEM = 21
MAP_FREEZE = 22
BTF_GET_NEXT_ID = 23
MAP_LOOKUP_BATCH = 24
LINK_CREATE = 28
ENABLE_STATS = 32
ITER_CREATE = 33

COMMAND_NAMES = {
    MAP_CREATE: "BPF_MAP_CREATE",
    MAP_LOOKUP_ELEM: "BPF_MAP_LOOKUP_ELEM",
    MAP_UPDATE_ELEM: "BPF_MAP_UPDATE_ELEM",
    MAP_DELETE_ELEM: "BPF_MAP_DELETE_ELEM",
    MAP_GET_NEXT_KEY: "BPF_MAP_GET_NEXT_KEY",
    PROG_LOAD: "BPF_PROG_LOAD",
    PROG_TEST_RUN: "BPF_PROG_TEST_RUN",
    OBJ_GET_INFO_BY_FD: "BPF_OBJ_GET_INFO_BY_FD",
    RAW_TRACEPOINT_OPEN: "BPF_RAW_TRACEPOINT_OPEN",
    BTF_LOAD: "BPF_BTF_LOAD",
    BTF_GET_FD_BY_ID: "BPF_BTF_GET_FD_BY_ID",
    MAP_LOOKUP_AND_DELETE_ELEM: "BPF_MAP_LOOKUP_AND_DELETE_ELEM",
    MAP_FREEZE: "BPF_MAP_FREEZE",
    BTF_GET_NEXT_ID: "BPF_BTF_GET_NEXT_ID",
    MAP_LOOKUP_BATCH: "BPF_MAP_LOOKUP_BATCH",
    LINK_CREATE: "BPF_LINK_CREATE",
    ENABLE_STATS: "BPF_ENABLE_STATS",
    ITER_CREATE: "BPF_ITER_CREATE",
}

# enum bpf_map_type
MAP_TYPE_HASH = 1
MAP_TYPE_ARRAY = 2
MAP_TYPE_PROG_ARRAY = 3
MAP_TYPE_PERF_EVENT_ARRAY = 4
MAP_TYPE_PERCPU_HASH = 5
MAP_TYPE_PERCPU_ARRAY = 6
MAP_TYPE_STACK_TRACE = 7
MAP_TYPE_LRU_HASH = 9
MAP_TYPE_LRU_PERCPU_HASH = 10
MAP_TYPE_ARRAY_OF_MAPS = 12
MAP_TYPE_HASH_OF_MAPS = 13
MAP_TYPE_QUEUE = 22
MAP_TYPE_STACK = 23
MAP_TYPE_RINGBUF = 27
MAP_TYPE_TASK_STORAGE = 29

# map_flags
F_NO_PREALLOC = 1 << 0
F_RDONLY = 1 << 3
F_WRONLY = 1 << 4
F_RDONLY_PROG = 1 << 7
F_MMAPABLE = 1 << 10
F_INNER_MAP = 1 << 12

# flags of BPF_MAP_UPDATE_ELEM
ANY = 0
NOEXIST = 1
EXIST = 2

# enum bpf_prog_type
PROG_TYPE_KPROBE = 2
PROG_TYPE_TRACEPOINT = 5
PROG_TYPE_PERF_EVENT = 7
PROG_TYPE_RAW_TRACEPOINT = 17
PROG_TYPE_TRACING = 26
PROG_TYPE_LSM = 29
PROG_TYPE_SYSCALL = 31

# prog_flags
F_SLEEPABLE = 1 << 4

# enum bpf_attach_type
TRACE_RAW_TP = 23
TRACE_FENTRY = 24
TRACE_FEXIT = 25
LSM_MAC = 27
TRACE_ITER = 28
PERF_EVENT = 41
TRACE_KPROBE_MULTI = 42
TRACE_UPROBE_MULTI = 48
TRACE_UPROBE_SESSION = 57

# flags of kprobe_multi and uprobe_multi links
F_MULTI_RETURN = 1 << 0

#: the kernel's ENOTSUPP, which has no name in user space
ENOTSUPP = 524

OBJECT_NAME_LENGTH = 15


class BpfError(OSError):
    """A failed kernel request.

    ``command`` names the request (``BPF_PROG_LOAD``), ``detail`` holds the verifier's or the BTF
    checker's log when there is one, else an empty string; ``errno`` is as for any OSError.
    """

    def __init__(self, error: int, command: str, detail: str = "") -> None:
        reason = "operation not supported" if error == ENOTSUPP else os.strerror(error)
        super().__init__(error, f"{command}: {reason}")
        self.command = command
        self.detail = detail


def bpf(command: int, attr: Buffer) -> int:
    """Call bpf(2) with a packed attribute; the result, or :class:`BpfError`."""
    result, error = bpf_syscall(command, attr)
    if result < 0:
        raise BpfError(error, COMMAND_NAMES.get(command, f"bpf command {command}"))
    return result


def pack(layout: str, *values: int | bytes) -> Buffer:
    """An attribute buffer from a struct layout (without the byte-order character)."""
    return buffer(struct.pack("=" + layout, *values))


def object_name(name: str) -> bytes:
    """``name`` as the kernel takes it: at most 15 of ``[A-Za-z0-9_.]``, others become ``_``."""
    allowed = "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name)
    return allowed[:OBJECT_NAME_LENGTH].encode("ascii")


def object_info(fd: int, size: int) -> bytes:
    """Up to ``size`` bytes of the kernel's information about a map, program, link or BTF fd.

    Fields the running kernel does not know read as zero.
    """
    info = buffer(bytes(size))
    bpf(OBJ_GET_INFO_BY_FD, pack("IIQ", fd, size, address_of(info)))
    return info.raw


def enable_run_statistics() -> int:
    """Make the kernel time every program run for as long as the returned fd stays open."""
    return bpf(ENABLE_STATS, pack("I", 0))


class Handle:
    """Owner of one kernel file descriptor; ``close`` (or ``with``) gives it back.

    There is no finaliser: an object that is dropped keeps its descriptor until the process ends,
    so that forgetting a reference never detaches a probe.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        """The descriptor, for select and friends."""
        return self.fd

    def close(self) -> None:
        """Close the descriptor; closing twice is harmless."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
