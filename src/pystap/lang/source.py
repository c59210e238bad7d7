"""Source buffers and positions.

Text is held as ``str`` with one character per byte (latin-1), so that positions are byte
positions and bytes above 0x7f reach the output unchanged.
"""

from __future__ import annotations

from bisect import bisect_right

from pystap.typing import Literal

SourceKind = Literal["user", "tapset", "macro-library", "synthetic"]


class Source:
    """One input buffer: a script file, ``<input>`` for ``-e`` and stdin, or a tapset file.

    ``name`` is what messages show; ``kind`` tells user scripts from library files.
    """

    __slots__ = ("_starts", "kind", "name", "text")

    def __init__(self, name: str, text: str, kind: SourceKind = "user") -> None:
        self.name = name
        self.text = text
        self.kind: SourceKind = kind
        self._starts: list[int] | None = None

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of a byte offset."""
        starts = self._line_starts()
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Text of line ``number`` (from 1) without its newline."""
        starts = self._line_starts()
        if not 1 <= number <= len(starts):
            return ""
        begin = starts[number - 1]
        end = self.text.find("\n", begin)
        return self.text[begin:] if end < 0 else self.text[begin:end]

    def root_offset(self, offset: int) -> tuple[Source, int]:
        """The buffer that holds the real text, and the offset there."""
        return self, offset

    def _line_starts(self) -> list[int]:
        if self._starts is None:
            starts = [0]
            find = self.text.find
            at = find("\n")
            while at >= 0:
                starts.append(at + 1)
                at = find("\n", at + 1)
            self._starts = starts
        return self._starts


class PastedSource(Source):
    """A command-line argument pasted over ``$N``, and the script text it runs into.

    ``origin`` is the script; ``begin`` and ``end`` are where ``$N`` starts and ends in it; the
    first ``length`` characters of ``text`` are the argument's.  Positions are those of the
    script: everything in the argument is at its ``$N``.
    """

    __slots__ = ("begin", "end", "length", "origin")

    def __init__(self, origin: Source, begin: int, end: int, argument: str, rest: str) -> None:
        super().__init__(origin.name, argument + rest, origin.kind)
        self.origin = origin
        self.begin = begin
        self.end = end
        self.length = len(argument)

    def root_offset(self, offset: int) -> tuple[Source, int]:
        """The script and the offset there."""
        if offset < self.length:
            return self.origin, self.begin
        return self.origin, offset - self.length + self.end

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column in the script."""
        source, offset = self.root_offset(offset)
        return source.position(offset)

    def line(self, number: int) -> str:
        """A line of the script."""
        return self.origin.line(number)
