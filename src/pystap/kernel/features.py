"""What the running kernel can do, found out by trying; versions are never compared.

A probe loads, and where that matters attaches, a program of a few instructions.  Nothing stays
behind.  Names of features:

====================== =============================================================
bpf                    bpf(2) exists and this process may use it
mmapable_array         array maps that can be mapped
ring_buffer            BPF ring buffers
syscall_program        sleepable SYSCALL programs, run by BPF_PROG_TEST_RUN
bpf_loop               the helper, with a callback
for_each_map_elem      the helper, with a callback
raw_tracepoint         raw tracepoint programs
raw_tracepoint_cookie  ... with an attach cookie
tp_btf                 BTF-typed raw tracepoint programs
tp_btf_cookie          ... with an attach cookie
fentry, fexit          function entry and exit trampolines
fentry_cookie          ... with an attach cookie
perf_clock             programs on the software clock
perf_cookie            perf links with an attach cookie
kprobe, uprobe         through their PMUs, with a perf link
sleepable_uprobe       ... with a program that may wait for memory to come in
kprobe_multi           links to many functions (loads on some kernels that cannot attach it)
uprobe_multi           links to many places of a file
uprobe_multi_pid       ... in all threads of one process
uprobe_session         ... to entries and returns, with a word for each call
netfilter              packet programs, with a tracing program at their entry
kfunc:NAME             the kernel function NAME in BTF
====================== =============================================================
"""

from __future__ import annotations

import errno
import os
import struct

from pystap.kernel import bpf, links, maps, perf, programs
from pystap.kernel.btfwriter import (
    INT_SIGNED,
    KIND_FUNC,
    KIND_TYPEDEF,
    BtfWriter,
    pack_func_info,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pystap.debuginfo.btf import Btf
    from pystap.kernel.bpf import Handle

_GET_ATTACH_COOKIE, _FOR_EACH_MAP_ELEM, _LOOP = 174, 164, 181
#: exists wherever BPF tracing does; the kernel calls it in BPF self-tests only
_TEST_FUNCTION = "bpf_fentry_test1"
#: on every kernel, and rare
_TRACEPOINT = "sched_process_exit"
_KFUNC = "kfunc:"
#: functions of the kernel that programs at entries and returns call
SESSION_FUNCTIONS = ("bpf_session_is_return", "bpf_session_cookie")


class Features:
    """Answers :meth:`has`, each feature probed once.

    ``memo`` is a file that keeps answers between runs for the same kernel build; it is used only
    when probing is not cut short by missing privilege.  ``btf`` gives the kernel's BTF when a
    probe needs it.
    """

    def __init__(
        self, memo: Path | None = None, btf: Callable[[], Btf] | None = None, key: str = ""
    ) -> None:
        self._memo = memo
        self._open_btf = btf
        self._btf: Btf | None = None
        self._known: dict[str, bool] = {}
        self._key = key
        self._loaded = memo is None
        #: why the memo could not be written, if it could not
        self.memo_error: OSError | None = None
        #: the refusal met by each feature probed in vain in this process
        self.errors: dict[str, OSError] = {}

    def has(self, name: str) -> bool:
        """Whether the kernel has a feature; ValueError for a name that is none."""
        if not name.startswith(_KFUNC) and name not in _PROBES:
            raise ValueError(f"no feature is called {name}")
        if not self._loaded:
            self._load()
        if name not in self._known:
            self._known[name] = self._probe(name)
            self._save()
        return self._known[name]

    def report(self) -> dict[str, bool]:
        """All features, in the order of the module text."""
        return {name: self.has(name) for name in _PROBES}

    def btf(self) -> Btf:
        """The kernel's BTF; :class:`pystap.debuginfo.btf.BtfMissing` if it has none."""
        if self._btf is None:
            if self._open_btf is not None:
                self._btf = self._open_btf()
            else:
                from pystap.debuginfo.btf import Btf

                self._btf = Btf.open()
        return self._btf

    def type_id(self, name: str, kind: int) -> int | None:
        """A BTF type by name, or None if there is none or no BTF."""
        from pystap.debuginfo.btf import BtfMissing

        try:
            return self.btf().find(name, kind)
        except BtfMissing:
            return None

    def _probe(self, name: str) -> bool:
        if name.startswith(_KFUNC):
            return self.type_id(name[len(_KFUNC) :], KIND_FUNC) is not None
        try:
            return _PROBES[name](self)
        except OSError as error:  # whatever the reason: it cannot be used
            self.errors[name] = error
            return False

    def _load(self) -> None:
        self._loaded = True
        if not _may_remember():
            self._memo = None
        if self._memo is None:
            return
        self._key = self._key or _kernel_key()
        try:
            with open(self._memo, encoding="utf-8", errors="replace") as file:
                key, *lines = file.read().split("\n")
        except FileNotFoundError:
            return
        except OSError as error:
            self.memo_error = error
            return
        if key == self._key:
            pairs = (line.rpartition("=") for line in lines)
            self._known = {name: value == "1" for name, _, value in pairs if value in ("0", "1")}

    def _save(self) -> None:
        if self._memo is None:
            return
        from pystap.wholefile import write_whole

        lines = [self._key, *(f"{name}={int(value)}" for name, value in self._known.items())]
        try:
            write_whole(self._memo, ("\n".join(lines) + "\n").encode())
        except OSError as error:
            self.memo_error = error
            self._memo = None


def _kernel_key() -> str:
    from pystap.kernel.cpu import kernel_key
    from pystap.kernel.privilege import read_privilege

    return f"{kernel_key()} lockdown={read_privilege().lockdown}"


def _may_remember() -> bool:
    """Answers got without privilege say nothing about the kernel."""
    from pystap.kernel.privilege import read_privilege

    return not read_privilege().missing_for_tracing()


# ---------------------------------------------------------------- tiny programs


def _insn(code: int, dst: int = 0, src: int = 0, imm: int = 0) -> bytes:
    return struct.pack("=BBhi", code, (src << 4 | dst), 0, imm)


def _mov(register: int, value: int) -> bytes:
    return _insn(0xB7, register, imm=value)


def _wide(register: int, source: int, value: int) -> bytes:
    return _insn(0x18, register, source, value) + _insn(0)


_RETURN_0 = _mov(0, 0) + _insn(0x95)
_READ_COOKIE = _insn(0x85, imm=_GET_ATTACH_COOKIE) + _RETURN_0


def _load(kind: int, code: bytes = _RETURN_0, attach_type: int = 0, btf_id: int = 0) -> Handle:
    flags = bpf.F_SLEEPABLE if kind == bpf.PROG_TYPE_SYSCALL else 0
    return programs.load_program(
        kind, code, flags=flags, expected_attach_type=attach_type, attach_btf_id=btf_id
    )


def _with_callback(helper: int, arguments: bytes) -> bool:
    """Load and run a program that calls ``helper`` with the callback in r2."""
    start = len(arguments) // 8 + 2 + 3
    call = _wide(2, 4, start - len(arguments) // 8 - 1) + _insn(0x85, imm=helper)
    code = arguments + call + _RETURN_0 + _RETURN_0
    types = BtfWriter()
    integer = types.integer("int", 4, INT_SIGNED)
    proto = types.prototype(integer, [("context", types.pointer(0))])
    functions = [(0, types.function("main", proto)), (start, types.function("each", proto))]
    with (
        programs.load_btf(types.blob()) as btf,
        programs.load_program(
            bpf.PROG_TYPE_SYSCALL,
            code,
            flags=bpf.F_SLEEPABLE,
            btf_fd=btf.fd,
            func_info=pack_func_info(functions),
        ) as program,
    ):
        return programs.run_program(program.fd)[0] == 0


# ---------------------------------------------------------------- one probe a feature


def _bpf(_: Features) -> bool:
    with maps.create_map(bpf.MAP_TYPE_ARRAY, 4, 8, 1):
        return True


def _mmapable_array(_: Features) -> bool:
    with (
        maps.create_map(bpf.MAP_TYPE_ARRAY, 4, 8, 1, flags=bpf.F_MMAPABLE) as array,
        array.mmap() as shared,
    ):
        return len(shared.view) > 0


def _ring_buffer(_: Features) -> bool:
    from pystap.kernel.syscalls import PAGE_SIZE

    with maps.create_map(bpf.MAP_TYPE_RINGBUF, 0, 0, PAGE_SIZE):
        return True


def _syscall_program(_: Features) -> bool:
    with _load(bpf.PROG_TYPE_SYSCALL) as program:
        return programs.run_program(program.fd)[0] == 0


def _bpf_loop(_: Features) -> bool:
    return _with_callback(_LOOP, _mov(1, 1) + _mov(3, 0) + _mov(4, 0))


def _for_each_map_elem(_: Features) -> bool:
    with maps.create_map(bpf.MAP_TYPE_ARRAY, 4, 8, 1) as array:
        arguments = _wide(1, 1, array.fd) + _mov(3, 0) + _mov(4, 0)
        return _with_callback(_FOR_EACH_MAP_ELEM, arguments)


def _raw_tracepoint(_: Features) -> bool:
    with (
        _load(bpf.PROG_TYPE_RAW_TRACEPOINT) as program,
        links.attach_raw_tracepoint(program.fd, _TRACEPOINT),
    ):
        return True


def _raw_tracepoint_cookie(_: Features) -> bool:
    with (
        _load(bpf.PROG_TYPE_RAW_TRACEPOINT, _READ_COOKIE) as program,
        links.attach_raw_tracepoint(program.fd, _TRACEPOINT, cookie=1),
    ):
        return True


def _tracing(
    features: Features, name: str, kind: int, attach_type: int, code: bytes = _RETURN_0
) -> bool:
    type_id = features.type_id(name, kind)
    if type_id is None:
        return False
    cookie = 1 if code is _READ_COOKIE else 0
    with (
        _load(bpf.PROG_TYPE_TRACING, code, attach_type, type_id) as program,
        links.attach_tracing(program.fd, attach_type, cookie),
    ):
        return True


def _tp_btf(features: Features) -> bool:
    return _tracing(features, f"btf_trace_{_TRACEPOINT}", KIND_TYPEDEF, bpf.TRACE_RAW_TP)


def _tp_btf_cookie(features: Features) -> bool:
    name = f"btf_trace_{_TRACEPOINT}"
    return _tracing(features, name, KIND_TYPEDEF, bpf.TRACE_RAW_TP, _READ_COOKIE)


def _fentry(features: Features) -> bool:
    return _tracing(features, _TEST_FUNCTION, KIND_FUNC, bpf.TRACE_FENTRY)


def _fexit(features: Features) -> bool:
    return _tracing(features, _TEST_FUNCTION, KIND_FUNC, bpf.TRACE_FEXIT)


def _fentry_cookie(features: Features) -> bool:
    return _tracing(features, _TEST_FUNCTION, KIND_FUNC, bpf.TRACE_FENTRY, _READ_COOKIE)


def _netfilter(_: Features) -> bool:
    from pystap.kernel.netfilter import load_passing_program

    host, function = load_passing_program()
    with (
        host,
        programs.load_program(
            bpf.PROG_TYPE_TRACING,
            _RETURN_0,
            expected_attach_type=bpf.TRACE_FENTRY,
            attach_btf_id=function,
            attach_btf_fd=host.fd,
        ) as program,
        links.attach_tracing(program.fd, bpf.TRACE_FENTRY),
    ):
        return True


def _perf_clock(_: Features) -> bool:
    return _perf(bpf.PROG_TYPE_PERF_EVENT, lambda: perf.open_clock(_a_cpu(), period=10**9))


def _perf_cookie(_: Features) -> bool:
    with (
        _load(bpf.PROG_TYPE_PERF_EVENT, _READ_COOKIE) as program,
        perf.open_clock(_a_cpu(), period=10**9) as event,
        links.attach_perf_event(program.fd, event.fd, cookie=1),
    ):
        return True


def _kprobe(_: Features) -> bool:
    return _perf(bpf.PROG_TYPE_KPROBE, lambda: perf.open_kprobe(_TEST_FUNCTION))


def _uprobe(_: Features) -> bool:
    path, offset = _own_entry()
    return _perf(bpf.PROG_TYPE_KPROBE, lambda: perf.open_uprobe(path, offset, pid=os.getpid()))


def _sleepable_uprobe(_: Features) -> bool:
    path, offset = _own_entry()
    with (
        programs.load_program(bpf.PROG_TYPE_KPROBE, _RETURN_0, flags=bpf.F_SLEEPABLE) as program,
        perf.open_uprobe(path, offset, pid=os.getpid()) as event,
        links.attach_perf_event(program.fd, event.fd),
    ):
        return True


def _perf(kind: int, open_event: Callable[[], perf.PerfEvent]) -> bool:
    with (
        _load(kind) as program,
        open_event() as event,
        links.attach_perf_event(program.fd, event.fd),
    ):
        return True


def _kprobe_multi(_: Features) -> bool:
    with (
        _load(bpf.PROG_TYPE_KPROBE, attach_type=bpf.TRACE_KPROBE_MULTI) as program,
        links.attach_kprobe_multi(program.fd, symbols=[_TEST_FUNCTION], cookies=[1]),
    ):
        return True


def _uprobe_multi(_: Features) -> bool:
    path, offset = _own_entry()
    with (
        _load(bpf.PROG_TYPE_KPROBE, attach_type=bpf.TRACE_UPROBE_MULTI) as program,
        links.attach_uprobe_multi(program.fd, path, [offset], pid=os.getpid()),
    ):
        return True


def _uprobe_session(features: Features) -> bool:
    """The functions that tell which of both it is, and where the word is, take no arguments."""
    wanted = [features.type_id(name, KIND_FUNC) for name in SESSION_FUNCTIONS]
    path, offset = _own_entry()
    code = b"".join(_insn(0x85, src=2, imm=number or 0) for number in wanted)
    with (
        _load(bpf.PROG_TYPE_KPROBE, code + _RETURN_0, bpf.TRACE_UPROBE_SESSION) as program,
        links.attach_uprobe_multi(program.fd, path, [offset], pid=os.getpid(), session=True),
    ):
        return None not in wanted


def _uprobe_multi_pid(_: Features) -> bool:
    """Kernels that looked at one thread only took a process id below 0 for one that is gone."""
    path, offset = _own_entry()
    with _load(bpf.PROG_TYPE_KPROBE, attach_type=bpf.TRACE_UPROBE_MULTI) as program:
        try:
            links.attach_uprobe_multi(program.fd, path, [offset], pid=-1).close()
        except OSError as error:
            return error.errno == errno.EINVAL
    return False


def _a_cpu() -> int:
    from pystap.kernel.cpu import online_cpus

    return online_cpus()[0]


def _own_entry() -> tuple[str, int]:
    """This program's file and the offset of its entry point, which never runs again."""
    from pystap.debuginfo.elf import Elf, ElfError

    path = os.path.realpath("/proc/self/exe")
    try:
        with Elf(path) as elf:
            return path, elf.file_offset(elf.entry) or 0
    except ElfError as error:
        raise OSError(errno.ENOEXEC, str(error)) from None


_PROBES: dict[str, Callable[[Features], bool]] = {
    "bpf": _bpf,
    "mmapable_array": _mmapable_array,
    "ring_buffer": _ring_buffer,
    "syscall_program": _syscall_program,
    "bpf_loop": _bpf_loop,
    "for_each_map_elem": _for_each_map_elem,
    "raw_tracepoint": _raw_tracepoint,
    "raw_tracepoint_cookie": _raw_tracepoint_cookie,
    "tp_btf": _tp_btf,
    "tp_btf_cookie": _tp_btf_cookie,
    "fentry": _fentry,
    "fexit": _fexit,
    "fentry_cookie": _fentry_cookie,
    "perf_clock": _perf_clock,
    "perf_cookie": _perf_cookie,
    "kprobe": _kprobe,
    "uprobe": _uprobe,
    "sleepable_uprobe": _sleepable_uprobe,
    "kprobe_multi": _kprobe_multi,
    "uprobe_multi": _uprobe_multi,
    "netfilter": _netfilter,
    "uprobe_multi_pid": _uprobe_multi_pid,
    "uprobe_session": _uprobe_session,
}
