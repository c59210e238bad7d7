"""Shapes of control flow that some kernels refuse before they verify anything."""

from __future__ import annotations

import struct

import pytest

from pystap.backend.bpf.compile import compile_module
from pystap.backend.bpf.facts import running_kernel

from .test_budgets import module_of

_JUMP, _JUMP32 = 5, 6  # classes
_ALWAYS, _CALL, _EXIT = 0x00, 0x80, 0x90  # operations
_PSEUDO_CALL = 1


def successors(code: bytes, at: int) -> list[tuple[int, bool]]:
    """Where control goes from an instruction, and whether by a jump."""
    opcode, registers, offset, imm = struct.unpack_from("<BBhi", code, at * 8)
    operation = opcode & 0xF0
    if opcode & 7 not in (_JUMP, _JUMP32):
        return [(at + 1, False)]
    if operation == _EXIT:
        return []
    if operation == _CALL:
        own = [(at + imm + 1, False)] if registers >> 4 == _PSEUDO_CALL else []
        return [(at + 1, False), *own]
    taken = [(at + offset + 1, True)]
    return taken if operation == _ALWAYS else [(at + 1, True), *taken]


def loops_closed_without_jump(code: bytes) -> list[tuple[int, int]]:
    """Edges back to where a walk through the program is, other than jumps: check_cfg() of
    Linux 6.1 refuses them."""
    found = []
    walk, entered, left = [(0, iter(successors(code, 0)))], {0}, set()
    while walk:
        at, rest = walk[-1]
        for to, jumps in rest:
            if to not in entered:
                entered.add(to)
                walk.append((to, iter(successors(code, to))))
                break
            if to not in left and not jumps:
                found.append((at, to))
        else:
            left.add(at)
            walk.pop()
    return found


@pytest.mark.parametrize(
    "script",
    [
        'probe begin { s = "abc" println(s < "abd", s <= "abc", s > "abb", s >= "b", s == "a") }',
        "global a[2] probe oneshot { try { for (i = 0; i < 9; i++) a[i]++ } catch (m) "
        '{ printf("%d %s\\n", i, m) } println(a[1]) }',
        "global a[2] probe oneshot { try { for (i = 0; i < 9; i++) a[i] <<< i } catch (m) "
        "{ println(m) } println(@count(a[1])) }",
    ],
    ids=["comparisons", "increment", "sample"],
)
def test_loops_are_closed_by_jumps(script: str) -> None:
    artifact = compile_module(module_of(script), running_kernel())
    for program in artifact.programs:
        assert loops_closed_without_jump(program.insns) == []


def test_loop_closed_without_jump_is_found() -> None:
    """``goto B; A: r0 = 0; B: if r0 == 0 goto A; exit``, with A falling through to B."""
    code = b"".join(
        struct.pack("<BBhi", *insn)
        for insn in [(0x05, 0, 1, 0), (0xB7, 0, 0, 0), (0x15, 0, -2, 0), (0x95, 0, 0, 0)]
    )
    assert loops_closed_without_jump(code) == [(1, 2)]
