"""Mapping native objects: all groups of sections, external symbols, refusals."""

from __future__ import annotations

import ctypes

import pytest

from pystap.backend.llvm import binding
from pystap.backend.llvm.builder import FunctionBuilder, Module
from pystap.backend.llvm.native import NativeCode, NativeError, supported

from .machines import build

WORD = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)


def compiled(m: Module) -> bytes:
    return binding.compile_object(m.text(), binding.X86_TRIPLE, "x86-64")


def test_code_reads_constants_and_writes_data() -> None:
    m = Module("x86_64")
    m.global_("counter", (40).to_bytes(8, "little"), constant=False)
    with m.function("bump", "i64", [("i64", "x")]) as b:
        counter = b.symbol("counter")
        b.store(b.load("i64", counter, volatile=True) + b.args[0], counter, volatile=True)
        b.ret(b.load("i64", counter, volatile=True))
    with m.function("pick", "i64", [("i64", "x")]) as b:
        table = b.data(b"".join((i * i).to_bytes(8, "little") for i in range(16)))
        b.ret(b.load("i64", b.at(table, 0, b.args[0] & 15, scale=8)))
    code = NativeCode(compiled(m))
    bump, pick = code.function("bump", WORD), code.function("pick", WORD)
    assert [bump(1), bump(1), pick(7)] == [41, 42, 49]
    code.close()
    code.close()


def test_memory_is_never_writable_and_executable() -> None:
    code = NativeCode(compiled(build("x86_64", lambda b: b.ret(1))))
    address = code.address("f")
    with open("/proc/self/maps") as maps:
        for line in maps:
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            if begin <= address < end:
                assert line.split()[1] == "r-xp"
                break
        else:
            pytest.fail("the code is not mapped")
    code.close()


def calls_out(b: FunctionBuilder) -> None:
    b.m.declare("outside", "i64", ["i64"])
    b.ret(b.call("outside", 20) + 1)


def test_external_symbols_are_reached_anywhere() -> None:
    double = WORD(lambda x: 2 * x)
    address = ctypes.cast(double, ctypes.c_void_p).value or 0
    code = NativeCode(compiled(build("x86_64", calls_out)), {"outside": address})
    assert code.function("f", WORD)(0) == 41
    code.close()


def test_refusals() -> None:
    assert supported()
    with pytest.raises(NativeError, match="undefined symbol outside"):
        NativeCode(compiled(build("x86_64", calls_out)))
    with pytest.raises(NativeError, match="not a 64-bit little-endian ELF"):
        NativeCode(b"")
    with pytest.raises(NativeError, match="machine 247, not x86-64"):
        NativeCode(binding.compile_object(build("bpf", lambda b: b.ret(0)).text()))
    code = NativeCode(compiled(build("x86_64", lambda b: b.ret(0))))
    with pytest.raises(NativeError, match="does not define g"):
        code.address("g")
    code.close()
