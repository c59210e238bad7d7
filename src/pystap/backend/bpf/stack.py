"""What a linked program takes of what the kernel limits: stack, functions, maps.

The limits are the kernel's (kernel/bpf/verifier.c, check_max_stack_depth): a program, the
functions it calls and the callbacks it passes may be eight deep and use 512 bytes together.
A program has up to 256 functions (BPF_MAX_SUBPROGS) and 64 maps (MAX_USED_MAPS).
"""

from __future__ import annotations

import struct

from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.backend.llvm.object import LinkedProgram

MOST_FRAMES: Final = 8
MOST_BYTES: Final = 512
MOST_FUNCTIONS: Final = 256
MOST_MAPS: Final = 64

_INSN: Final = struct.Struct("<BBhi")
_CALL, _LD_IMM64, _MOV_REGISTER, _ADD_IMMEDIATE = 0x85, 0x18, 0xBF, 0x07
_PSEUDO_CALL, _PSEUDO_FUNC = 1, 4
_FRAME_POINTER: Final = 10
_LOADS, _STORES_IMMEDIATE, _STORES = 1, 2, 3  # instruction classes
_ROUNDING: Final = 16  # of each frame (older kernels: 32, and they say so themselves)


class Extent(NamedTuple):
    """The deepest chain of frames, the most bytes of any chain; how many functions and maps."""

    frames: int
    bytes: int
    functions: int = 1
    maps: int = 0

    @property
    def fits(self) -> bool:
        """Whether the kernel can take it."""
        return (
            self.frames <= MOST_FRAMES
            and self.bytes <= MOST_BYTES
            and self.functions <= MOST_FUNCTIONS
            and self.maps <= MOST_MAPS
        )


class Misfit(NamedTuple):
    """A program, by the index of its first probe, that needs more than it may have."""

    probe: int
    extent: Extent


def extent(code: LinkedProgram) -> Extent:
    """What a program needs, its first function being the entry."""
    starts = [at for at, _ in code.functions]
    order = sorted(starts)
    ends = dict(zip(order, [*order[1:], len(code.insns) // 8]))
    own = {at: _scan(code.insns, at, ends[at]) for at in starts}
    known: dict[int, Extent] = {}

    def below(at: int) -> Extent:
        if at not in known:
            known[at] = Extent(0, 0)  # were it met again: the linker makes no cycles
            depth, callees = own[at]
            inner = [below(callee) for callee in callees]
            frames = 1 + max((e.frames for e in inner), default=0)
            known[at] = Extent(frames, depth + max((e.bytes for e in inner), default=0))
        return known[at]

    maps = len({number for _, number in code.fixups})
    return below(starts[0])._replace(functions=len(starts), maps=maps)


def _scan(insns: bytes, start: int, end: int) -> tuple[int, set[int]]:
    """Bytes of the frame of the function from ``start`` to ``end``, and where its callees are."""
    deepest = 0
    callees: set[int] = set()
    frame_register = -1  # holds the frame pointer since the instruction before
    for at, insn in enumerate(_INSN.iter_unpack(insns[start * 8 : end * 8]), start):
        opcode, registers, offset, immediate = insn
        target, source = registers & 15, registers >> 4
        if opcode == _ADD_IMMEDIATE and target == frame_register:
            deepest = min(deepest, immediate)
        frame_register = -1
        if opcode == _MOV_REGISTER and source == _FRAME_POINTER:
            frame_register = target
        if (opcode, source) in ((_CALL, _PSEUDO_CALL), (_LD_IMM64, _PSEUDO_FUNC)):
            callees.add(at + immediate + 1)
        # The register with the address: the source of a load, the target of a store.
        base = {_LOADS: source, _STORES_IMMEDIATE: target, _STORES: target}.get(opcode & 7)
        if base == _FRAME_POINTER:
            deepest = min(deepest, offset)
    return -(deepest // _ROUNDING) * _ROUNDING, callees
