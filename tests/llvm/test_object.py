"""Linking BPF programs: calls, callbacks, read-only data, map placeholders; run in the kernel."""

from __future__ import annotations

import struct

import pytest

from pystap.backend.llvm import binding
from pystap.backend.llvm.builder import FunctionBuilder, Module
from pystap.backend.llvm.object import MAGIC_CALL, RODATA, BpfObject, ElfObject, LinkError
from pystap.kernel.maps import create_map

from .machines import ARRAY, build, load, rodata_map, run_bpf

LOOKUP, BPF_LOOP = 1, 181
TEXT = b"read-only data of a program"


def compiled(m: Module) -> BpfObject:
    return BpfObject(binding.compile_object(m.text()))


def add_callback(m: Module) -> None:
    """A callback that adds its index to the word its context points to."""
    with m.function("step", "i64", [("i64", "i"), ("ptr", "ctx")], linkage="internal") as b:
        word = b.load("ptr", b.args[1])
        b.atomic_rmw("add", word, b.args[0], order="monotonic")
        b.ret(0)


def looping(b: FunctionBuilder) -> None:
    """ctx[0] = sum of 0..9, counted in map 3; ctx[1] = a byte of read-only data."""
    add_callback(b.m)
    key = b.alloca("i32")
    b.store(0, key, ty="i32")
    value = b.helper(LOOKUP, "ptr", b.map_fd(3), key)
    with b.if_(value.eq(0)):
        b.ret(1)
    context = b.alloca("ptr")
    b.store(value, context)
    b.helper(BPF_LOOP, "i64", b.const("i32", 10), b.symbol("step"), context, 0)
    b.store(b.load("i64", b.map_value(3, 8)) + 1, b.map_value(3, 8))
    b.store(b.load("i64", value), b.args[0])
    index = b.barrier(b.load("i64", b.args[0], 8)) & 15
    b.store(b.load("i8", b.at(b.data(TEXT), index)).zext("i64"), b.args[0], 8)
    b.ret(0)


def test_callback_map_and_read_only_data_run() -> None:
    with create_map(ARRAY, 4, 16, 1) as counts:
        result, words = run_bpf(build("bpf", looping), [0, 5], {3: counts.fd})
        assert (result, words) == (0, [45, TEXT[5]])
        assert counts.lookup(bytes(4)) == struct.pack("<QQ", 45, 1)


def test_the_linked_program_tells_what_to_patch() -> None:
    obj = compiled(build("bpf", looping))
    program = obj.link("f")
    assert [name for _, name in program.functions] == ["f", "step"]
    assert program.functions[0][0] == 0
    assert {placeholder for _, placeholder in program.fixups} == {RODATA, 3}
    assert TEXT in obj.rodata
    code = program.patched({3: 0x1234, RODATA: 0x77})
    for index, placeholder in program.fixups:
        opcode, registers, _, imm = struct.unpack_from("<BBhi", code, index * 8)
        assert opcode == 0x18
        assert registers >> 4 in (1, 2)
        assert imm == (0x77 if placeholder == RODATA else 0x1234)
    with pytest.raises(KeyError):
        program.patched({3: 1})


def test_shared_functions_are_linked_into_each_program() -> None:
    m = Module("bpf")
    with m.function("both", "i64", [("i64", "x")], attrs=["noinline"]) as b:
        b.ret(b.args[0] * 3)
    for name in ("one", "two"):
        with m.function(name, "i64", [("ptr", "ctx")]) as b:
            b.ret(b.call("both", b.load("i64", b.args[0])) + len(name))
    obj = compiled(m)
    assert sorted(obj.function_names()) == ["both", "one", "two"]
    for name in ("one", "two"):
        program = obj.link(name)
        assert [n for _, n in program.functions] == [name, "both"]
        load(program, {}).close()


def test_functions_of_one_section_are_told_apart() -> None:
    m = Module("bpf")
    with m.function("leaf", "i64", [("i64", "x")], attrs=["noinline"], section="s") as b:
        b.ret(b.args[0] + 1)
    with m.function("f", "i64", [("ptr", "ctx")], section="s") as b:
        b.ret(b.call("leaf", b.call("leaf", b.load("i64", b.args[0]))))
    assert run_bpf(m, [40])[0] == 42


def test_calls_to_magic_numbers_are_listed() -> None:
    def body(b: FunctionBuilder) -> None:
        b.helper(MAGIC_CALL + 7, "void")
        b.ret(b.helper(5, "i64"))

    program = compiled(build("bpf", body)).link("f")
    (index, number), *rest = program.magic_calls
    assert (number, rest) == (MAGIC_CALL + 7, [])
    assert struct.unpack_from("<B3xi", program.insns, index * 8) == (0x85, MAGIC_CALL + 7)


def test_pure_helpers_are_called_for_their_result_only() -> None:
    def body(b: FunctionBuilder) -> None:
        b.helper(MAGIC_CALL + 7, "i64", pure=True)
        b.helper(MAGIC_CALL + 8, "i64")
        b.ret(b.helper(MAGIC_CALL + 9, "i64", pure=True))

    program = compiled(build("bpf", body)).link("f")
    numbers = [number - MAGIC_CALL for _, number in program.magic_calls]
    assert numbers == [8, 9]


def test_errors_name_the_symbol() -> None:
    obj = compiled(build("bpf", looping))
    with pytest.raises(LinkError, match="no function g"):
        obj.link("g")

    def calls_out(b: FunctionBuilder) -> None:
        b.m.declare("outside", "i64", ["i64"])
        b.ret(b.call("outside", 1))

    with pytest.raises(LinkError, match="f: outside is not defined"):
        compiled(build("bpf", calls_out)).link("f")


def test_writable_data_is_refused() -> None:
    m = build("bpf", lambda b: b.ret(b.load("i64", b.symbol("word"))))
    text = m.text().replace(b"\nattributes", b"\n@word = global i64 5\nattributes")
    with pytest.raises(LinkError, match="reference to word: only read-only data"):
        BpfObject(binding.compile_object(text)).link("f")


def test_other_files_are_refused() -> None:
    with pytest.raises(LinkError, match="not a 64-bit little-endian ELF"):
        ElfObject(b"#!/bin/sh\n" * 20)
    native = binding.compile_object(
        build("x86_64", lambda b: b.ret(0)).text(), binding.X86_TRIPLE, "x86-64"
    )
    with pytest.raises(LinkError, match="machine 62, not BPF"):
        BpfObject(native)


def test_rodata_map_may_be_empty() -> None:
    with rodata_map(b"") as handle:
        assert handle.fd > 0
