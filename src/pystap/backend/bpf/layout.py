"""Layout of the memory a handler works in: one context for each cpu and level.

A context begins with header words (offsets in bytes here), then come the areas the program uses
(output, string builder, error text ...) and last the frames of handlers and functions.  Frames
overlap like those of a stack would: a function's begins behind those of all its callers.
"""

from __future__ import annotations

from pystap.backend.bpf import artifact
from pystap.typing import Final

WORD: Final = 8
TOKEN: Final = "\x01"  # encloses names of numbers that are put in last; never in IR otherwise

BUSY: Final = artifact.CONTEXT_BUSY * WORD
SKIP_REENTRANT: Final = artifact.CONTEXT_SKIP_REENTRANT * WORD
SKIP_LOCK: Final = artifact.CONTEXT_SKIP_LOCK * WORD
ERRORS: Final = artifact.CONTEXT_ERRORS * WORD
ERROR: Final = 4 * WORD  # 0, message + 1, ERROR_IS_TEXT, or one of the uncatchable ones
ERROR_POS: Final = 5 * WORD
ERROR_VALUE: Final = 6 * WORD  # two longs for the message's directives
CALLS: Final = 8 * WORD  # call sites unwound so far
UNWIND: Final = 9 * WORD  # how a loop body or function ended: 0 or UNWIND_*
ACTIONS: Final = 10 * WORD
OUT: Final = 11 * WORD  # bytes of items in the output area, whose header is not counted
PROBE: Final = 12 * WORD  # index of the probe that fired
HELD: Final = 13 * WORD  # bit mask of the locks held
INDEX: Final = 14 * WORD  # of this context in its map
BUILD: Final = 15 * WORD  # bytes in the string builder
WAKE: Final = 16 * WORD  # not 0: wake the session with this output
SCRATCH: Final = 17 * WORD  # four words for the runtime functions
NESTING: Final = 21 * WORD  # calls that are active, counted in programs with recursion
FORGET: Final = 22 * WORD  # see Scope.forget
RESULT: Final = 23 * WORD  # what a security hook answers
CALL_TABLE: Final = 24 * WORD  # u32 positions of call sites
CALL_SLOTS: Final = 16
HEADER_SIZE: Final = CALL_TABLE + CALL_SLOTS * 4

ERROR_IS_TEXT: Final = 1 << 32  # the message is the text in the error area
ERROR_ABORT: Final = -1  # abort(): not catchable, no message
ERROR_SKIP: Final = -2  # a lock could not be had

MAX_ERRNO: Final = 4095  # <linux/err.h>

UNWIND_RETURN: Final = 1
UNWIND_NEXT: Final = 2


def round_up(size: int, unit: int = WORD) -> int:
    """The next multiple of ``unit``."""
    return -(-size // unit) * unit


def string_item_size(bound: int) -> int:
    """Most bytes of output that a string of at most ``bound`` bytes with its NUL takes.

    Its length comes first and the next value is aligned.  The verifier forgets that aligning down
    makes a number less, so there is room for that, too.
    """
    return round_up(4 + 7 + bound)


def encode(value: str, limit: int) -> bytes:
    """The bytes of a literal, cut to ``limit`` with the NUL, which is added."""
    data = value.encode("latin-1")[: limit - 1]
    return data.split(b"\0", 1)[0] + b"\0"


class Frame:
    """Slots of one handler or function: locals first, then temporaries, stack-like."""

    __slots__ = ("name", "size", "top")

    def __init__(self, name: str) -> None:
        self.name = name
        self.top = 0
        self.size = 0  # the most ever in use

    def allocate(self, size: int) -> int:
        """Offset of a new slot of ``size`` bytes, rounded up to words."""
        offset = self.top
        self.top += round_up(size)
        self.size = max(self.size, self.top)
        return offset

    @property
    def token(self) -> str:
        """What stands for the frame's offset in the context until frames are laid out."""
        return f"{TOKEN}frame.{self.name}{TOKEN}"


def place_frames(
    start: int, frames: dict[str, Frame], callees: dict[str, list[str]]
) -> tuple[dict[str, int], int]:
    """Offset of each frame, behind the frames of everything that can be active below it.

    ``callees`` are by frame name; the graph has no cycle.  Gives the offsets and the end of all.
    """
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name not in seen:
            seen.add(name)
            for callee in callees.get(name, ()):
                visit(callee)
            order.append(name)

    for name in frames:
        visit(name)
    placed = dict.fromkeys(frames, start)
    end = start
    for name in reversed(order):
        behind = placed[name] + frames[name].size
        end = max(end, behind)
        for callee in callees.get(name, ()):
            placed[callee] = max(placed[callee], behind)
    return placed, end
