"""Regular expressions as tables that every runtime can walk.

A search finds the leftmost match, and of those the longest.  Two kinds of tables:
:class:`Dfa` only tells whether there is a match, :class:`TaggedDfa` also where its groups are.
"""

from __future__ import annotations

from pystap.ir.regex.syntax import RegexError
from pystap.records import dataclass
from pystap.typing import Final

DEAD: Final = 0  # no match can follow (or, once one was seen, no longer one)
MATCHED: Final = 1  # Dfa only: there is a match, whatever follows

HERE: Final = -1  # register source: the present offset in the subject
UNSET: Final = -2  # register source: no offset

__all__ = ["DEAD", "HERE", "MATCHED", "UNSET", "Dfa", "RegexError", "TaggedDfa", "compile_regex"]


@dataclass(slots=True)
class Dfa:
    """Whether a string holds a match.

    ``state = start``; for each byte ``state = table[state * classes + class_of[byte]]``; stop at
    DEAD (no match) and MATCHED (match).  At the end of the string there is a match when
    ``at_end[state]`` is set.
    """

    class_of: bytes  # class of each byte value
    classes: int
    start: int
    table: tuple[int, ...]
    at_end: tuple[bool, ...]

    @property
    def states(self) -> int:
        """Number of states, DEAD and MATCHED included."""
        return len(self.at_end)


Move = tuple[int, int]  # register and its source: a register, HERE or UNSET


@dataclass(slots=True)
class TaggedDfa:
    """Where the leftmost longest match and its groups are.

    ``moves[n]`` is a list of register assignments to be done in order; list 0 is empty.  Walk:
    ``state = start`` and do ``moves[start_moves]`` at offset 0.  Then at every state: when
    ``accept[state]`` is not negative there is a match so far, do ``moves[accept[state]]``; at
    the end of the string do the same with ``at_end[state]`` and stop; otherwise take a byte:
    with ``cell = state * classes + class_of[byte]`` do ``moves[actions[cell]]`` at the offset
    behind the byte and go to ``table[cell]``, stopping at DEAD.  The last match seen is the
    result: registers ``2 * g`` and ``2 * g + 1`` hold begin and end of group ``g`` (group 0 is
    the whole match), UNSET when the group took no part.
    """

    class_of: bytes
    classes: int
    groups: int  # the whole match included
    registers: int
    start: int
    start_moves: int
    table: tuple[int, ...]
    actions: tuple[int, ...]
    accept: tuple[int, ...]
    at_end: tuple[int, ...]
    moves: tuple[tuple[Move, ...], ...]

    @property
    def states(self) -> int:
        """Number of states, DEAD included."""
        return len(self.accept)


def compile_regex(pattern: str, captures: bool) -> tuple[Dfa | TaggedDfa, int]:
    """The tables of a pattern and the number of its groups, the whole match included.

    Raises :class:`RegexError` for a malformed pattern or one whose tables grow too big.
    """
    from pystap.ir.regex.nfa import build_nfa
    from pystap.ir.regex.syntax import parse_regex

    tree, groups = parse_regex(pattern)
    nfa = build_nfa(tree, groups, captures)
    if captures:
        from pystap.ir.regex.tagged import build_tagged

        return build_tagged(nfa, groups), groups
    from pystap.ir.regex.plain import build_plain

    return build_plain(nfa), groups
