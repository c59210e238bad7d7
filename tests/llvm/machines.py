"""Runs one generated function natively and in the kernel, on a context of 64-bit words."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence

from pystap.backend.llvm import binding
from pystap.backend.llvm.builder import FunctionBuilder, Module, Target
from pystap.backend.llvm.native import NativeCode
from pystap.backend.llvm.object import RODATA, BpfObject, LinkedProgram
from pystap.kernel.bpf import Handle
from pystap.kernel.btfwriter import LINKAGE_STATIC, BtfWriter, pack_func_info
from pystap.kernel.maps import create_map
from pystap.kernel.programs import Program, load_btf, load_program, run_program

ARRAY, SYSCALL, SLEEPABLE = 2, 31, 1 << 4

Body = Callable[[FunctionBuilder], None]


def build(target: Target, body: Body, name: str = "f") -> Module:
    """A module with one function ``i64 f(ptr ctx)``."""
    m = Module(target)
    with m.function(name, "i64", [("ptr", "ctx")]) as b:
        body(b)
    return m


def run_native(m: Module, words: Sequence[int], opt_level: int = 2) -> tuple[int, list[int]]:
    """Result (unsigned) of ``f`` and the words afterwards."""
    code = NativeCode(
        binding.compile_object(m.text(), binding.X86_TRIPLE, "x86-64", opt_level=opt_level)
    )
    try:
        function = code.function("f", ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p))
        memory = (ctypes.c_uint64 * len(words))(*words)
        return function(ctypes.addressof(memory)), list(memory)
    finally:
        code.close()


def load(program: LinkedProgram, fds: dict[int, int]) -> Program:
    """Load a linked program as SYSCALL program, with function information."""
    btf = BtfWriter()
    prototype = btf.prototype(btf.integer("long", 8))
    info = [
        (offset, btf.function(name, prototype, LINKAGE_STATIC))
        for offset, name in program.functions
    ]
    with load_btf(btf.blob()) as handle:
        return load_program(
            SYSCALL,
            bytes(program.patched(fds)),
            flags=SLEEPABLE,
            btf_fd=handle.fd,
            func_info=pack_func_info(info),
        )


def rodata_map(content: bytes) -> Handle:
    """A frozen array map with the object's read-only data."""
    map_ = create_map(ARRAY, 4, max(len(content), 1), 1, flags=1 << 7)
    map_.update(bytes(4), content or b"\0")
    map_.freeze()
    return map_


def run_bpf(
    m: Module, words: Sequence[int], fds: dict[int, int] | None = None
) -> tuple[int, list[int]]:
    """As :func:`run_native`, in the kernel; only the low 32 bits of the result are known."""
    return run_object(BpfObject(binding.compile_object(m.text())), words, fds)


def run_object(
    obj: BpfObject, words: Sequence[int], fds: dict[int, int] | None = None
) -> tuple[int, list[int]]:
    """The same with what was made of a module."""
    with (
        rodata_map(obj.rodata) as rodata,
        load(obj.link("f"), {RODATA: rodata.fd, **(fds or {})}) as program,
    ):
        result, context = run_program(program.fd, struct.pack(f"<{len(words)}Q", *words))
    return result, list(struct.unpack(f"<{len(words)}Q", context))
