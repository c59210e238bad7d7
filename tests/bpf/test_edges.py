"""No call falls into the head of a loop: kernel 6.1 takes that for a loop without end."""

from __future__ import annotations

import struct

from pystap.backend.bpf.edges import separate_calls
from pystap.backend.llvm.object import LinkedProgram

_INSN = struct.Struct("<BBhi")
_MOV, _ADD, _JA, _JLT, _CALL, _EXIT, _WIDE = 0xB7, 0x07, 0x05, 0xA5, 0x85, 0x95, 0x18


def program(*insns: tuple[int, int, int, int], **parts: object) -> LinkedProgram:
    """A program of (opcode, registers, offset, immediate)."""
    given = {"functions": ((0, "main"),), "fixups": (), "magic_calls": (), **parts}
    return LinkedProgram(b"".join(_INSN.pack(*insn) for insn in insns), **given)  # type: ignore[arg-type]


def decoded(code: LinkedProgram) -> list[tuple[int, ...]]:
    return list(_INSN.iter_unpack(code.insns))


def test_a_jump_comes_between_and_distances_follow() -> None:
    code = program(
        (_JA, 0, 3, 0),  # over the call, to the head
        (_WIDE, 0x42, 0, 7),  # a callback at 9
        (0, 0, 0, 0),
        (_CALL, 0, 0, 5),
        (_ADD, 1, 0, 1),  # the head
        (_CALL, 0x10, 0, 3),  # a function at 9
        (_JLT, 1, -3, 8),
        (_WIDE, 0x11, 0, 0),
        (0, 0, 0, 0),
        (_EXIT, 0, 0, 0),
        functions=((0, "main"), (9, "other")),
        fixups=((7, 3),),
        magic_calls=((5, 1 << 30),),
    )
    made = separate_calls(code)
    assert decoded(made) == [
        (_JA, 0, 4, 0),
        (_WIDE, 0x42, 0, 8),
        (0, 0, 0, 0),
        (_CALL, 0, 0, 5),
        (_JA, 0, 0, 0),
        (_ADD, 1, 0, 1),
        (_CALL, 0x10, 0, 3),
        (_JLT, 1, -3, 8),
        (_WIDE, 0x11, 0, 0),
        (0, 0, 0, 0),
        (_EXIT, 0, 0, 0),
    ]
    assert made.functions == ((0, "main"), (10, "other"))
    assert made.fixups == ((8, 3),)
    assert made.magic_calls == ((6, 1 << 30),)


def test_other_programs_stay_as_they_are() -> None:
    code = program((_CALL, 0, 0, 5), (_MOV, 0, 0, 0), (_EXIT, 0, 0, 0))
    assert separate_calls(code) is code
