"""BPF programs: loading with the verifier's log, running by BPF_PROG_TEST_RUN, information."""

from __future__ import annotations

import errno
import struct

from pystap.kernel.bpf import (
    BTF_GET_FD_BY_ID,
    BTF_GET_NEXT_ID,
    BTF_LOAD,
    OBJ_GET_INFO_BY_FD,
    PROG_LOAD,
    PROG_TEST_RUN,
    BpfError,
    Handle,
    bpf,
    object_info,
    object_name,
    pack,
)
from pystap.kernel.syscalls import Buffer, address_of, bpf_syscall, buffer

_FIRST_LOG = 1 << 18
_LARGEST_LOG = 1 << 24
#: the verifier gives up with EAGAIN when a signal arrives; libbpf, too, tries five times
_LOAD_ATTEMPTS = 5
_LOAD_LAYOUT = struct.Struct("=IIQQIIQII16sIIIIQIIQIIIIQQII")
_LOG_SLOT = struct.Struct("=IIQ")
_LOG_OFFSET = 24
_NO_LOG = (0, 0, 0)
_FUNC_INFO_RECORD, _LINE_INFO_RECORD = 8, 16
_INFO_SIZE = 232


class Program(Handle):
    """A loaded program.  ``log`` is the verifier's log if one was asked for, else empty;
    ``host`` the program whose entry this one is for, if it is one of ours."""

    __slots__ = ("host", "kind", "log")

    def __init__(self, fd: int, kind: int, log: str = "") -> None:
        super().__init__(fd)
        self.kind = kind
        self.log = log
        self.host: Program | None = None

    def close(self) -> None:
        """Close the descriptors."""
        super().close()
        if self.host is not None:
            self.host.close()


class ProgramInfo:
    """What the kernel tells about a program; sizes in bytes, ``run_time`` in nanoseconds.

    ``run_time`` and ``run_count`` stay 0 unless run statistics are enabled
    (:func:`pystap.kernel.bpf.enable_run_statistics`).
    """

    __slots__ = (
        "jited_size",
        "kind",
        "name",
        "program_id",
        "recursion_misses",
        "run_count",
        "run_time",
        "verified_instructions",
        "xlated_size",
    )

    def __init__(self, raw: bytes) -> None:
        self.kind, self.program_id = struct.unpack_from("=II", raw, 0)
        self.jited_size, self.xlated_size = struct.unpack_from("=II", raw, 16)
        self.name: str = raw[64:80].rstrip(b"\0").decode("latin-1")
        self.run_time, self.run_count, self.recursion_misses = struct.unpack_from("=QQQ", raw, 192)
        (self.verified_instructions,) = struct.unpack_from("=I", raw, 216)


def program_info(fd: int) -> ProgramInfo:
    """Information about the program behind ``fd``."""
    return ProgramInfo(object_info(fd, _INFO_SIZE))


def load_program(
    kind: int,
    instructions: bytes,
    *,
    name: str = "",
    license_name: str = "GPL",
    flags: int = 0,
    expected_attach_type: int = 0,
    attach_btf_id: int = 0,
    attach_btf_fd: int = 0,
    btf_fd: int = 0,
    func_info: bytes = b"",
    line_info: bytes = b"",
    fd_array: bytes = b"",
    log_level: int = 0,
) -> Program:
    """Verify and load one program.

    ``instructions`` are packed ``struct bpf_insn``; ``func_info`` and ``line_info`` packed
    records of the BTF behind ``btf_fd``.  ``attach_btf_id`` is a type id in the kernel's BTF, or
    in the module BTF object behind ``attach_btf_fd``; ``fd_array`` packed int32 descriptors that
    instructions refer to by index.  With ``log_level`` 0 the log is fetched by a second attempt,
    on failure only.  Raises :class:`BpfError` with the log in ``detail``; the log is cut at
    16 MiB.
    """
    code, terms = buffer(instructions), buffer(license_name.encode("ascii") + b"\0")
    functions, lines, fds = (buffer(x) if x else None for x in (func_info, line_info, fd_array))
    packed = _LOAD_LAYOUT.pack(
        kind, len(instructions) // 8, address_of(code), address_of(terms),
        *_NO_LOG, 0, flags, object_name(name), 0, expected_attach_type, btf_fd,
        _FUNC_INFO_RECORD if func_info else 0,
        address_of(functions), len(func_info) // _FUNC_INFO_RECORD,
        _LINE_INFO_RECORD if line_info else 0,
        address_of(lines), len(line_info) // _LINE_INFO_RECORD,
        attach_btf_id, attach_btf_fd, 0, address_of(fds), 0, 0, 0,
    )  # fmt: skip
    attr = buffer(packed)
    if log_level == 0:
        fd, _ = _attempt_load(attr)
        if fd >= 0:
            return Program(fd, kind)
    fd, error, log = _load_with_log(attr, log_level or 1)
    if fd < 0:
        raise BpfError(error, "BPF_PROG_LOAD", log)
    return Program(fd, kind, log)


def _attempt_load(attr: Buffer) -> tuple[int, int]:
    for _ in range(_LOAD_ATTEMPTS - 1):
        fd, error = bpf_syscall(PROG_LOAD, attr)
        if fd >= 0 or error != errno.EAGAIN:
            return fd, error
    return bpf_syscall(PROG_LOAD, attr)


def _load_with_log(attr: Buffer, level: int) -> tuple[int, int, str]:
    """Load with a log buffer that grows until the log fits: fd, errno, log."""
    size = _FIRST_LOG
    while True:
        log = buffer(bytes(size))
        _LOG_SLOT.pack_into(attr, _LOG_OFFSET, level, size, address_of(log))
        fd, error = _attempt_load(attr)
        if fd >= 0 or error != errno.ENOSPC or size >= _LARGEST_LOG:
            return fd, error, log.value.decode("latin-1")
        size *= 8


class TestRun:
    """A prepared BPF_PROG_TEST_RUN of one program: cheap to repeat.

    ``context`` is a writable view of the program's context.  A SYSCALL program reads and writes
    it; a raw tracepoint program reads it as 64-bit arguments.
    """

    __slots__ = ("_attr", "_context", "context")
    __test__ = False  # not a test case, whatever its name

    def __init__(self, program_fd: int, context_size: int = 0, flags: int = 0, cpu: int = 0):
        """``flags`` may ask a raw tracepoint program to run on ``cpu`` (1)."""
        self._context = buffer(bytes(context_size)) if context_size else None
        self.context = memoryview(self._context or bytearray()).cast("B")
        self._attr = pack(
            "IIIIQQIIIIQQIII4x",
            *(program_fd, 0, 0, 0, 0, 0, 0, 0, context_size, 0),
            *(address_of(self._context), 0, flags, cpu, 0),
        )

    def run(self) -> int:
        """Run the program once; its return value as unsigned 32 bits, or :class:`BpfError`.

        A run that a signal kept from starting is started again.
        """
        attr = self._attr
        while True:
            result, error = bpf_syscall(PROG_TEST_RUN, attr)
            if result >= 0:
                value: int = struct.unpack_from("=I", attr, 4)[0]
                return value
            if error != errno.EINTR:
                raise BpfError(error, "BPF_PROG_TEST_RUN")


def run_program(program_fd: int, context: bytes = b"") -> tuple[int, bytes]:
    """Run a program once on ``context``: its return value and the context afterwards."""
    prepared = TestRun(program_fd, len(context))
    prepared.context[:] = context
    return prepared.run(), bytes(prepared.context)


def load_btf(blob: bytes) -> Handle:
    """Load BTF; the handle's ``fd`` is the ``btf_fd`` of maps and programs.

    Raises :class:`BpfError` with the kernel's complaint in ``detail``.
    """
    data = buffer(blob)
    try:
        return Handle(bpf(BTF_LOAD, pack("QQIII", address_of(data), 0, len(blob), 0, 0)))
    except BpfError as first:
        log = buffer(bytes(_FIRST_LOG))
        attr = pack("QQIII", address_of(data), address_of(log), len(blob), _FIRST_LOG, 1)
        try:
            return Handle(bpf(BTF_LOAD, attr))
        except BpfError as error:
            detail = log.value.decode("latin-1")
            raise BpfError(error.errno or 0, error.command, detail) from first


def kernel_btf_object(name: str) -> Handle | None:
    """The kernel's own BTF of a module (or ``vmlinux``), for ``attach_btf_fd``; None if none."""
    number = 0
    while True:
        attr = pack("III", number, 0, 0)
        try:
            bpf(BTF_GET_NEXT_ID, attr)
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        number = struct.unpack_from("=I", attr, 4)[0]
        try:
            handle = Handle(bpf(BTF_GET_FD_BY_ID, pack("III", number, 0, 0)))
        except BpfError as error:
            if error.errno == errno.ENOENT:
                continue  # unloaded meanwhile
            raise
        if _btf_object_name(handle.fd) == name:
            return handle
        handle.close()


def _btf_object_name(fd: int) -> str:
    """The name of a BTF object of the kernel, empty for one loaded by a program."""
    name = buffer(bytes(64))
    info = buffer(struct.pack("=QIIQII", 0, 0, 0, address_of(name), len(name), 0))
    bpf(OBJ_GET_INFO_BY_FD, pack("IIQ", fd, len(info), address_of(info)))
    from_kernel = struct.unpack_from("=I", info, 28)[0]
    return name.value.decode("latin-1") if from_kernel else ""
