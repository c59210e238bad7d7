"""Calls that fall into the head of a loop, which older kernels (6.1) take for a loop without end.

Their check of the control flow lets only a jump close a loop (``push_insn`` in the kernel's
verifier.c: ``loop_ok`` is false for the instruction behind a call).  A jump to the next one, put
between the two, makes the difference.
"""

from __future__ import annotations

import struct
from bisect import bisect_left

from pystap.backend.llvm.object import LinkedProgram
from pystap.typing import Final

_JUMP_TO_NEXT: Final = struct.pack("<BBhi", 0x05, 0, 0, 0)
_CLASS: Final = 0x07
_JUMPS: Final = (0x05, 0x06)  # BPF_JMP, BPF_JMP32
_CALL, _EXIT, _WIDE_LOAD = 0x85, 0x95, 0x18
_PSEUDO_CALL, _PSEUDO_FUNC = 1, 4
_INSN: Final = struct.Struct("<BBhi")


def separate_calls(code: LinkedProgram) -> LinkedProgram:
    """The program with a jump between each such call and the loop behind it."""
    decoded = list(_INSN.iter_unpack(code.insns))
    heads = {
        at + off + 1 for at, (op, _, off, _) in enumerate(decoded) if _is_jump(op) and off < 0
    }
    places = [at + 1 for at, insn in enumerate(decoded) if insn[0] == _CALL and at + 1 in heads]
    if not places:
        return code
    out = bytearray()
    waiting = iter([*places, -1])
    place = next(waiting)
    for at, insn in enumerate(decoded):
        if at == place:
            out += _JUMP_TO_NEXT
            place = next(waiting)
        out += _moved(places, at, *insn)
    return LinkedProgram(
        bytes(out),
        tuple((_new(places, at), name) for at, name in code.functions),
        tuple((_new(places, at), placeholder) for at, placeholder in code.fixups),
        tuple((_new(places, at), number) for at, number in code.magic_calls),
    )


def _is_jump(op: int) -> bool:
    return op & _CLASS in _JUMPS and op not in (_CALL, _EXIT)


def _new(places: list[int], at: int) -> int:
    """Where an instruction is afterwards; jumps to it skip the one put before it."""
    return at + bisect_left(places, at + 1)


def _moved(places: list[int], at: int, op: int, registers: int, off: int, imm: int) -> bytes:
    """An instruction with its distances as they are afterwards."""
    here = _new(places, at)
    if _is_jump(op):
        off = _new(places, at + off + 1) - here - 1
    elif (op == _CALL and registers >> 4 == _PSEUDO_CALL) or (
        op == _WIDE_LOAD and registers >> 4 == _PSEUDO_FUNC
    ):
        imm = _new(places, at + imm + 1) - here - 1
    return _INSN.pack(op, registers, off, imm)
