"""A few eBPF instruction encoders for hand-assembled test programs."""

from __future__ import annotations

import struct

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(11)
MAP_FD, MAP_VALUE, FUNC = 1, 2, 4


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", code, src << 4 | dst, off, imm)


def mov(dst: int, imm: int) -> bytes:
    return insn(0xB7, dst, imm=imm)


def mov_reg(dst: int, src: int) -> bytes:
    return insn(0xBF, dst, src)


def add(dst: int, imm: int) -> bytes:
    return insn(0x07, dst, imm=imm)


def add_reg(dst: int, src: int) -> bytes:
    return insn(0x0F, dst, src)


def load64(dst: int, src: int, off: int = 0) -> bytes:
    return insn(0x79, dst, src, off)


def store64(dst: int, off: int, src: int) -> bytes:
    return insn(0x7B, dst, src, off)


def store_imm64(dst: int, off: int, imm: int) -> bytes:
    return insn(0x7A, dst, 0, off, imm)


def atomic_add64(dst: int, off: int, src: int) -> bytes:
    return insn(0xDB, dst, src, off, 0)


def wide(dst: int, value: int, src: int = 0, high: int = 0) -> bytes:
    return insn(0x18, dst, src, 0, value) + insn(0, imm=high)


def jeq(dst: int, imm: int, off: int) -> bytes:
    return insn(0x15, dst, 0, off, imm)


def jne(dst: int, imm: int, off: int) -> bytes:
    return insn(0x55, dst, 0, off, imm)


def call(helper: int) -> bytes:
    return insn(0x85, imm=helper)


def call_local(off: int) -> bytes:
    return insn(0x85, src=1, imm=off)


EXIT = insn(0x95)
